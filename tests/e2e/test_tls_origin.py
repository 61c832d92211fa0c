"""TLS towards origins: names, trust, sessions, and what ends early."""

import socket
import ssl
import threading

import pytest

from harness import CLOSE, DEADLINE_S, Reply, eventually, fresh
from harness.certificates import Authority, self_signed
from harness.util import free_port
from harness.wire import Truncated

HOST = "localhost"
DISTRUST = "tls_certificate_error"
TRUSTING = "tls on; tls_ca $ca;"


class World:
    """The origin with TLS, and nodes before it."""

    def __init__(self, directory, start, origin):
        self.directory, self.run, self.origin = directory, start, origin
        self.authority = Authority(directory)
        self.asked = []  # names (SNI)
        self.show(self.authority.issue("server", "DNS:localhost,IP:127.0.0.1,DNS:app.example"))

    def show(self, certificate, **options):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.pem, certificate.key)
        context.sni_callback = lambda sock, name, context: self.asked.append(name)
        for name, value in options.items():
            setattr(context, name, value)
        self.origin.tls = context
        return context

    def node(self, lines="", server="127.0.0.1", trust=TRUSTING):
        text = f"{trust} {lines}"
        config = """
            cache { memory 64M; }
            origin app { server $server:$origin_port; $lines }
            site * { listen 127.0.0.1:$port; route * { origin app; } }
            admin { listen 127.0.0.1:$admin_port; }
            access_log $access_log json;
        """
        return self.run(config=config, server=server, lines=text, ca=self.authority.pem)


@pytest.fixture
def world(tmp_path, start, origin):
    return World(tmp_path, start, origin)


def fails(node, kind, reason):
    """A 502 that tells the kind, and a line in the log that tells the reason."""
    response = node.client.get("/")
    assert response.status == 502
    assert response["Proxy-Status"] == f"verge; error={kind}"
    eventually(lambda: [line for line in node.errors() if reason in line], reason)


# -- two servers, each with a fault of its own

@pytest.mark.parametrize("weight", [1, 2], ids=["asked last", "asked first"])
def test_a_server_that_is_not_running_hides_no_other_fault(world, weight):
    world.show(self_signed(world.directory, "stranger", "localhost"))
    node = world.node(f"server 127.0.0.1:{free_port()} weight={weight};")
    fails(node, DISTRUST, "is not trusted")


# -- what works

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("version", VERSIONS)
def test_versions(origin, world, version):
    origin.tls.minimum_version = origin.tls.maximum_version = version
    origin.on("/", fresh(b"body"))
    assert world.node().client.get("/").body == b"body"
    assert origin.sessions[0].version() == version.name.replace("_", ".")


def test_the_protocol_is_offered(origin, world):
    origin.tls.set_alpn_protocols(["h2", "http/1.1"])
    world.node().client.get("/")
    assert origin.sessions[0].selected_alpn_protocol() == "http/1.1"


@pytest.mark.parametrize("server, lines, asked", [
    ("localhost", "", "localhost"),
    ("127.0.0.1", "", None),
    ("127.0.0.1", "tls_name app.example;", "app.example"),
    ("127.0.0.1", "host app.example:8443;", "app.example"),
    ("127.0.0.1", "host other.example; tls_name app.example;", "app.example"),
    ("localhost", "host app.example; tls_name server;", "app.example")])
def test_the_name_that_is_asked_for(origin, world, server, lines, asked):
    origin.on("/", Reply(body=b"x"))
    assert world.node(lines, server).client.get("/").status == 200
    assert world.asked == [asked]


def test_connections_are_kept(origin, world):
    origin.on("/", Reply(body=b"body"))
    node = world.node()
    for _ in range(5):
        assert node.client.get("/").body == b"body"
    assert origin.connections == 1
    assert node.metric("verge_origin_connections_reused_total") == 4


@pytest.mark.parametrize("version", VERSIONS)
def test_sessions_are_resumed(origin, world, version):
    origin.tls.minimum_version = origin.tls.maximum_version = version
    origin.on("/", Reply(body=b"body"))
    node = world.node("keepalive 0;")
    for _ in range(5):
        assert node.client.get("/").body == b"body"
    assert origin.resumptions == [False] + [True] * 4
    assert node.metric("verge_origin_tls_handshakes_full_total") == 1
    assert node.metric("verge_origin_tls_handshakes_resumed_total") == 4


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [0, 1, 16384, 16385, 300_000, 5_000_000])
def test_bodies_come_through(origin, world, size, chunked):
    body = bytes(i * 7 % 251 for i in range(1000)) * (size // 1000 + 1)
    origin.on("/", Reply(body=body[:size], chunked=chunked))
    node = world.node()
    for _ in range(2):
        assert node.client.get("/").body == body[:size]
    assert origin.connections == 1


def test_a_head_and_its_body_in_pieces(origin, world):
    pieces = [b"HTTP/1.1 200 OK\r\nConte", b"nt-Length: 6\r\n\r", b"\nab", b"c", b"def"]
    origin.on("/", pieces)
    node = world.node()
    for _ in range(2):
        assert node.client.get("/").body == b"abcdef"


@pytest.mark.parametrize("pieces", [False, True])
def test_uploads_go_through(origin, world, pieces):
    body = b"0123456789" * 100_000
    origin.on("/", Reply(body=b"thanks"))
    sent = [body[i:i + 70_000] for i in range(0, len(body), 70_000)] if pieces else body
    assert world.node().client.request("POST", "/", body=sent).body == b"thanks"
    assert origin.last().body == body


def test_a_slow_client_holds_up_the_origin(origin, world):
    """Plaintext is read as it is wanted: the rest stays where it is."""
    origin.on("/", Reply(body=b"x" * 20_000_000))
    node = world.node()
    with node.client.connect(receive_buffer_bytes=4096) as slow:
        slow.request("GET", "/")
        slow.head()
        eventually(lambda: node.metric("verge_cache_bytes") > 500_000, "it comes")
        assert node.metric("verge_cache_bytes") < 8_000_000
        assert len(slow.stream.exactly(20_000_000)) == 20_000_000


def test_a_reload_keeps_connections_unless_trust_changes(origin, world, tmp_path):
    origin.on("/", Reply(body=b"body"))
    node = world.node()
    node.client.get("/")
    node.reload()
    node.client.get("/")
    assert origin.connections == 1
    other = Authority(tmp_path, "successor")
    node.reload(server="127.0.0.1", lines=TRUSTING, ca=other.pem)
    assert node.client.get("/").status == 502
    assert origin.connections == 2


def test_a_certificate_of_ones_own(origin, world):
    origin.on("/", Reply(body=b"body"))
    origin.tls.load_verify_locations(world.authority.pem)
    origin.tls.verify_mode = ssl.CERT_REQUIRED
    node = world.authority.issue("node", "DNS:node.example")
    shown = world.node(f"tls_certificate {node.pair};")
    assert shown.client.get("/").status == 200
    subject = origin.sessions[0].getpeercert()["subject"]
    assert subject == ((("commonName", "node"),),)
    assert world.node().client.get("/").status == 502


# -- what does not

def test_an_unknown_authority(origin, world):
    world.show(self_signed(world.directory, "alone", HOST))
    fails(world.node(server=HOST), DISTRUST,
          f"server localhost:{origin.port}: its certificate is not trusted: self signed")
    assert origin.count() == 0


def test_the_system_does_not_trust_it_either(world):
    fails(world.node(trust="tls on;"), DISTRUST, "unable to get local issuer certificate")


def test_a_certificate_that_has_expired(world):
    world.show(world.authority.issue("expired", "DNS:localhost", days=-1))
    fails(world.node(server=HOST), DISTRUST, "certificate has expired")


@pytest.mark.parametrize("server, names, why", [
    ("localhost", "DNS:other.example", "Hostname mismatch"),
    ("localhost", "DNS:*.localhost", "Hostname mismatch"),
    ("127.0.0.1", "DNS:127.0.0.1", "IP address mismatch"),
    ("127.0.0.1", "IP:127.0.0.2", "IP address mismatch")])
def test_another_name(world, server, names, why):
    world.show(world.authority.issue("other", names))
    fails(world.node(server=server), DISTRUST, why)


def test_without_verification_anybody_will_do(origin, world):
    origin.on("/", Reply(body=b"body"))
    world.show(self_signed(world.directory, "alone", "other.example"))
    node = world.node("tls_verify off;")
    assert node.client.get("/").body == b"body"


def test_a_server_that_speaks_no_tls(origin, world):
    origin.tls = None
    greeter = socket.create_server(("127.0.0.1", 0))

    def greet():
        sock, _ = greeter.accept()
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        sock.close()

    threading.Thread(target=greet, daemon=True).start()
    node = world.run(config="""
        origin app { server 127.0.0.1:$greeter; tls on; tls_verify off; }
        site * { listen 127.0.0.1:$port; route * { origin app; } }
        admin { listen 127.0.0.1:$admin_port; }
    """, greeter=greeter.getsockname()[1])
    fails(node, "tls_protocol_error", "TLS handshake failed: ")
    greeter.close()


def test_old_versions_only(origin, world):
    origin.tls.set_ciphers("ALL:@SECLEVEL=0")
    origin.tls.minimum_version = origin.tls.maximum_version = ssl.TLSVersion.TLSv1_1
    fails(world.node(), "tls_protocol_error", "TLS handshake failed: ")


def test_a_handshake_that_does_not_end(start, world):
    silent = socket.create_server(("127.0.0.1", 0))
    node = world.run(config="""
        origin app { server 127.0.0.1:$silent; tls on; tls_verify off; connect_timeout 100ms; }
        site * { listen 127.0.0.1:$port; route * { origin app; } }
        admin { listen 127.0.0.1:$admin_port; }
    """, silent=silent.getsockname()[1])
    response = node.client.get("/")
    assert response.status == 504 and "connection_timeout" in response["Proxy-Status"]
    silent.close()


def test_the_next_server_is_tried(origin, world):
    origin.on("/", Reply(body=b"body"))
    closing = socket.create_server(("127.0.0.1", 0))

    def close():
        sock, _ = closing.accept()
        sock.settimeout(DEADLINE_S)
        sock.recv(1)
        sock.close()

    threading.Thread(target=close, daemon=True).start()
    node = world.run(config="""
        origin app { server 127.0.0.1:$closing weight=1000; server 127.0.0.1:$origin_port;
                     tls on; tls_verify off; }
        site * { listen 127.0.0.1:$port; route * { origin app; } }
        admin { listen 127.0.0.1:$admin_port; }
    """, closing=closing.getsockname()[1])
    assert node.client.get("/").body == b"body"
    eventually(lambda: "TLS handshake failed: the connection ended" in "\n".join(node.errors()),
               "the log tells why the first one was not used")
    closing.close()


# -- ends

UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\nConnection: close\r\nCache-Control: max-age=60\r\n\r\n"


def announce(exchange):
    exchange.send(UNTIL_CLOSE + b"body")
    exchange.sock.unwrap().shutdown(socket.SHUT_RDWR)
    exchange.open = False


def test_an_end_that_is_announced(origin, world):
    origin.on("/", announce)
    node = world.node()
    assert node.client.get("/").body == b"body"
    assert node.client.get("/").hit


def test_an_end_that_is_not_announced_is_none(origin, world):
    """Anybody on the way could have cut the connection there."""
    origin.on("/", [UNTIL_CLOSE + b"body", CLOSE], fresh(b"whole"))
    node = world.node()
    with node.client.connect() as connection:
        connection.request("GET", "/")
        with pytest.raises(Truncated):
            connection.response()
    eventually(lambda: node.metric("verge_errors_total", error="response_incomplete") == 1,
               "it counts as incomplete")
    assert node.client.get("/").body == b"whole"


@pytest.mark.parametrize("steps", [
    [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", CLOSE],
    [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", CLOSE]])
def test_a_body_that_is_cut_short(origin, world, steps):
    origin.on("/", steps)
    node = world.node()
    with node.client.connect() as connection:
        connection.request("GET", "/")
        with pytest.raises(Truncated):
            connection.response()
    eventually(lambda: node.metric("verge_errors_total", error="response_incomplete") == 1,
               "it counts as incomplete")


def test_a_connection_that_went_stale_is_replaced(origin, world):
    origin.on("/", Reply(body=b"body"))
    node = world.node()
    node.client.get("/")
    origin.drop_connections()
    assert node.client.get("/").body == b"body"
    assert origin.connections == 2


def test_bytes_behind_a_response_end_the_connection(origin, world):
    origin.on("/", [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\n"
                    b"Content-Length: 1\r\n\r\nb"])
    node = world.node()
    for _ in range(2):
        assert node.client.get("/").body == b"a"
    assert origin.connections == 2
