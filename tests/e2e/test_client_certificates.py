"""Sites that ask clients for a certificate, and that nobody gets around it."""

import base64
import socket
import ssl

import pytest

from harness import DEADLINE_S, Reply, fresh
from harness.certificates import Authority, self_signed
from harness.client import trusting
from harness.h2 import H2Connection
from harness.h3 import H3Connection
from harness.util import free_port
from harness.wire import Stream

SITES = """
    cache { memory 64M; }
    origin app { server 127.0.0.1:$origin_port; }
    site open.example { listen 127.0.0.1:$port tls; certificate self_signed; $open
                        route * { origin app; } }
    site closed.example { listen 127.0.0.1:$port tls; certificate self_signed; $closed
                          route * { origin app; } }
    site other.example { listen 127.0.0.1:$port tls; certificate self_signed; $closed
                         route * { origin app; } }
    admin { listen 127.0.0.1:$admin_port; }
"""


class World:
    def __init__(self, directory, start):
        self.authority = Authority(directory)
        self.certificate = self.authority.issue("client", "DNS:client.example")
        self.stranger = self_signed(directory, "stranger", "client.example")
        self.expired = self.authority.issue("expired", "DNS:client.example", days=-1)
        self.start = start

    def node(self, closed="", opened=""):
        self.running = self.start(config=SITES, open=opened,
                                  closed=f"client_ca {self.authority.pem} {closed}")
        return self.running


@pytest.fixture
def world(tmp_path, start, origin):
    origin.on("/", fresh(b"body"))
    return World(tmp_path, start)


def ask(node, name, certificate=None, host=None, session=None, version=None, fields=()):
    """(status, fields of the response, session) of a request over a connection of its own."""
    context = trusting()
    if version:
        context.minimum_version = context.maximum_version = version
    if certificate:
        context.load_cert_chain(certificate.pem, certificate.key)
    if session:
        context = session[0]
    sock = socket.create_connection(("127.0.0.1", node.port), DEADLINE_S)
    with context.wrap_socket(sock, server_hostname=name,
                             session=session and session[1]) as tls:
        lines = [f"Host: {host or name}", *fields, "", ""]
        tls.sendall(("GET / HTTP/1.1\r\n" + "\r\n".join(lines)).encode())
        stream = Stream(tls)
        stream.buffer = tls.recv(65536)  # with TLS 1.3 an alert comes only now, and is raised
        status = int(stream.line().split()[1])
        return status, tls.session_reused, (context, tls.session)


VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_with_a_certificate_is_let_in(world, version):
    assert ask(world.node(";"), "closed.example", world.certificate, version=version)[0] == 200


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("which", [None, "stranger", "expired"])
def test_others_are_refused_in_the_handshake(origin, world, version, which):
    certificate = which and getattr(world, which)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        ask(world.node(";"), "closed.example", certificate, version=version)
    assert origin.count() == 0
    assert world.running.metric("verge_tls_handshakes_failed_total") == 1


def test_optional_lets_in_who_has_none_but_not_who_has_a_wrong_one(world):
    node = world.node("optional;")
    assert ask(node, "closed.example")[0] == 200
    assert ask(node, "closed.example", world.certificate)[0] == 200
    with pytest.raises((ssl.SSLError, ConnectionError)):
        ask(node, "closed.example", world.stranger)


@pytest.mark.parametrize("name, host, status", [
    ("open.example", "open.example", 200),
    ("open.example", "closed.example", 421),
    ("closed.example", "open.example", 421),
    ("closed.example", "other.example", 421),
    ("closed.example", "closed.example", 200),
    ("closed.example", "CLOSED.example:443", 200)])
def test_a_connection_is_good_for_its_own_site_only(world, name, host, status):
    assert ask(world.node(";"), name, world.certificate, host)[0] == status


@pytest.mark.parametrize("connect", [H2Connection, H3Connection])
@pytest.mark.parametrize("name, host, status", [
    ("open.example", "open.example", 200),
    ("open.example", "closed.example", 421),
    ("closed.example", "open.example", 421),
    ("closed.example", "other.example", 421),
    ("closed.example", "closed.example", 200)])
def test_a_coalesced_request_is_misdirected(world, connect, name, host, status):
    """Clients of HTTP/2 and 3 may ask one connection for whatever its certificate covers."""
    with connect(world.node("optional;").port, name=name) as connection:
        connection.request("GET", "/", [("Host", host)])
        assert connection.response().status == status


def test_without_tls_there_is_no_way_in(origin, start, world):
    node = start(config="""
        origin app { server 127.0.0.1:$origin_port; }
        site * { listen 127.0.0.1:$port; listen 127.0.0.1:$other tls; certificate self_signed;
                 client_ca $ca; route * { origin app; } }
        admin { listen 127.0.0.1:$admin_port; }
        trusted_proxy 127.0.0.1/32;
    """, other=free_port(), ca=world.authority.pem)
    assert node.client.get("/").status == 421
    assert node.client.get("/", [("X-Forwarded-Proto", "https")]).status == 421
    assert origin.count() == 0


def test_a_session_without_a_certificate_does_not_open_the_site(world):
    node = world.node(";")
    version = ssl.TLSVersion.TLSv1_2
    _, _, session = ask(node, "open.example", version=version)
    assert ask(node, "open.example", session=session)[1]
    with pytest.raises((ssl.SSLError, ConnectionError)):
        ask(node, "closed.example", session=session)


def test_a_session_resumes_with_its_certificate_until_the_roots_change(world, tmp_path):
    node = world.node(";", "")
    version = ssl.TLSVersion.TLSv1_2
    _, _, session = ask(node, "closed.example", world.certificate, version=version)
    status, reused, session = ask(node, "closed.example", session=session)
    assert (status, reused) == (200, True)
    assert not ask(node, "other.example", session=session)[1]
    node.reload(closed=f"client_ca {Authority(tmp_path, 'successor').pem};")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        ask(node, "closed.example", session=session)


def test_a_connection_of_before_the_roots_changed_is_misdirected(world, tmp_path):
    node = world.node(";")
    context = trusting()
    context.load_cert_chain(world.certificate.pem, world.certificate.key)
    sock = socket.create_connection(("127.0.0.1", node.port), DEADLINE_S)
    with context.wrap_socket(sock, server_hostname="closed.example") as tls:
        statuses = []
        for successor in (False, True):
            if successor:
                node.reload(closed=f"client_ca {Authority(tmp_path, 'successor').pem};")
            tls.sendall(b"GET / HTTP/1.1\r\nHost: closed.example\r\n\r\n")
            stream = Stream(tls)
            statuses.append(int(stream.line().split()[1]))
            stream.exactly(int(stream.fields().get("Content-Length")))
        assert statuses == [200, 421]


@pytest.mark.parametrize("resumed", [False, True])
def test_the_origin_is_shown_the_certificate(origin, world, resumed):
    origin.on("/", Reply(body=b"x"))
    node = world.node("optional; client_cert_header on;")
    forged = ["Client-Cert: :YQ==:", "client-cert: :YQ==:", "Client-Cert-Chain: :YQ==:"]
    _, _, session = ask(node, "closed.example", world.certificate, version=VERSIONS[0])
    if resumed:
        assert ask(node, "closed.example", session=session, fields=forged)[1]
    else:
        ask(node, "closed.example", world.certificate, fields=forged)
    der = ssl.PEM_cert_to_DER_cert(world.certificate.pem.read_text())
    assert origin.last().fields.all("Client-Cert") == [f":{base64.b64encode(der).decode()}:"]
    assert origin.last()["Client-Cert-Chain"] is None
    ask(node, "closed.example", fields=forged)
    assert origin.last()["Client-Cert"] is None


def test_without_the_directive_it_is_not_shown(origin, world):
    ask(world.node(";"), "closed.example", world.certificate, fields=["Client-Cert: :YQ==:"])
    assert origin.last()["Client-Cert"] is None
