"""TLS itself: names, versions, resumption, and what goes wrong. What HTTP does over it is everybody's."""

import os
import socket
import ssl
import subprocess
import time

import pytest

from harness import DEADLINE_S, Reply, eventually, fresh
from harness.certificates import RSA, self_signed
from harness.client import trusting
from harness.wire import Stream

NAMED = """
    origin app { server 127.0.0.1:$origin_port; }
    site a.example { listen 127.0.0.1:$port tls; certificate $directory/a.pem $directory/a.key;
                     route * { origin app; } }
    site *.b.example { listen 127.0.0.1:$port tls; certificate $directory/b.pem $directory/b.key;
                       route * { origin app; } }
    admin { listen 127.0.0.1:$admin_port; }
    access_log $directory/access.log json;
"""
PLAIN = """
    origin app { server 127.0.0.1:$origin_port; }
    site * { listen 127.0.0.1:$port tls; certificate self_signed; route * { origin app; } }
    admin { listen 127.0.0.1:$admin_port; }
"""


@pytest.fixture
def named(start, tmp_path):
    directory = tmp_path / "node0"
    config = NAMED.replace("$directory/a", f"{tmp_path}/a").replace("$directory/b", f"{tmp_path}/b")
    self_signed(tmp_path, "a", "a.example")
    self_signed(tmp_path, "b", "*.b.example")
    assert not directory.exists()
    return start(config=config)


def connect(node, name="a.example", context=None, session=None):
    sock = socket.create_connection(("127.0.0.1", node.port), DEADLINE_S)
    return (context or trusting()).wrap_socket(sock, server_hostname=name, session=session)


def get(sock, host="a.example"):
    sock.sendall(b"GET / HTTP/1.1\r\nHost: %s\r\n\r\n" % host.encode())
    stream = Stream(sock)
    line = stream.line()
    return line, stream.exactly(int(stream.fields().get("Content-Length")))


def pem(path):
    return ssl.PEM_cert_to_DER_cert(path.read_text())


@pytest.mark.parametrize("name, file", [
    ("a.example", "a"), ("A.Example", "a"), ("x.b.example", "b"), ("x.y.b.example", "b"), (None, "a")])
def test_the_name_chooses_the_certificate(named, tmp_path, name, file):
    with connect(named, name) as sock:
        assert sock.getpeercert(binary_form=True) == pem(tmp_path / f"{file}.pem")


def test_a_name_nobody_has_is_refused(named):
    with pytest.raises(ssl.SSLError, match="(?i)unrecognized.name"):
        connect(named, "c.example")
    assert named.metric("verge_tls_handshakes_failed_total") == 1


def test_the_certificate_can_be_verified(origin, named, tmp_path):
    origin.on("/", fresh(b"body"))
    context = ssl.create_default_context(cafile=tmp_path / "a.pem")
    with connect(named, "a.example", context) as sock:
        assert get(sock)[1] == b"body"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_versions(origin, start, version):
    origin.on("/", fresh(b"body"))
    context = trusting()
    context.minimum_version = context.maximum_version = version
    with connect(start(config=PLAIN), context=context) as sock:
        assert sock.version() == version.name.replace("_", ".")
        assert get(sock)[1] == b"body"


def test_an_old_version_is_refused(start):
    context = trusting()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        connect(start(config=PLAIN), context=context)


@pytest.mark.parametrize("offered, chosen", [(["http/1.1"], "http/1.1"), (["x", "http/1.1"], "http/1.1"), ([], None),
    (["http/1.0"], "http/1.0"), (["http/1.0", "http/1.1"], "http/1.1")])
def test_the_protocol_is_agreed_upon(start, offered, chosen):
    context = trusting()
    if offered:
        context.set_alpn_protocols(offered)
    else:
        context = ssl._create_unverified_context()
    with connect(start(config=PLAIN), context=context) as sock:
        assert sock.selected_alpn_protocol() == chosen


def test_a_protocol_nobody_speaks_is_refused(start):
    context = trusting()
    context.set_alpn_protocols(["x"])
    with pytest.raises((ssl.SSLError, ConnectionError)):
        connect(start(config=PLAIN), context=context)


def test_a_session_is_resumed_whichever_worker_answers(origin, start):
    origin.on("/", fresh(b"body"))
    node = start(config=PLAIN)
    context = trusting()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with connect(node, context=context) as sock:
        get(sock)
        session = sock.session
    for _ in range(10):
        with connect(node, context=context, session=session) as sock:
            assert sock.session_reused and get(sock)[1] == b"body"
    assert node.metric("verge_tls_handshakes_resumed_total") == 10


def test_the_origin_is_told_the_scheme(origin, start):
    origin.on("/", Reply(body=b"x"))
    with connect(start(config=PLAIN)) as sock:
        get(sock)
    assert origin.last()["X-Forwarded-Proto"] == "https"
    assert "proto=https" in origin.last()["Forwarded"]


def send_plain(node, *pieces):
    """What the node answers to bytes that are no TLS, until it closes."""
    with socket.create_connection(("127.0.0.1", node.port), DEADLINE_S) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            sock.sendall(piece)
        answer = Stream(sock).to_end()
    eventually(lambda: node.metric("verge_tls_handshakes_failed_total") == 1, "it is counted")
    return answer


def test_what_is_no_handshake_ends_the_connection(start):
    assert b"HTTP" not in send_plain(start(config=PLAIN), b"\x05\x01\x00 something else, for other ports\r\n\r\n")


REQUEST = b"DELETE /a HTTP/1.1\r\nHost: a.example\r\n\r\n"


@pytest.mark.parametrize("pieces", [[REQUEST], [bytes([b]) for b in REQUEST], [REQUEST[:1]],
                                    [b"POST / HTTP/1.1\r\nContent-Length: 2000000\r\n\r\n" + bytes(2_000_000)]],
                         ids=["at once", "byte by byte", "a letter", "an upload"])
def test_http_without_tls_is_told_so(origin, start, pieces):
    answer = send_plain(start(config=PLAIN), *pieces)
    assert answer.startswith(b"HTTP/1.1 400 ") and b"https" in answer.partition(b"\r\n\r\n")[2]
    assert b"Strict-Transport-Security" not in answer and b"Alt-Svc" not in answer
    assert origin.count() == 0


def test_a_handshake_byte_by_byte(origin, start):
    """Records arrive in any pieces."""
    origin.on("/", fresh(b"body"))
    node = start(config=PLAIN)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = trusting().wrap_bio(incoming, outgoing, server_hostname="a.example")
    with socket.create_connection(("127.0.0.1", node.port), DEADLINE_S) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def push():
            for byte in outgoing.read():
                sock.sendall(bytes([byte]))

        def step(action):
            while True:
                try:
                    return action()
                except ssl.SSLWantReadError:
                    push()
                    incoming.write(sock.recv(65536))

        step(tls.do_handshake)
        tls.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        push()
        assert b"200 OK" in step(lambda: tls.read(65536))


def test_tickets_do_not_wait_for_a_request(start):
    """A client that waits for an acknowledgement before it sends its request is not held up."""
    client = RecordsClient(start(config=PLAIN))
    client.sizes = []
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.read(1)
    client.incoming.write((header := client.stream.exactly(5)) + client.stream.exactly(int.from_bytes(header[3:], "big")))
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.read(1)
    assert client.tls.session.has_ticket
    client.sock.close()


def test_a_reload_changes_the_certificate_and_no_connection(origin, start):
    origin.on("/", fresh(b"body"))
    node = start(config=PLAIN)
    with connect(node) as old:
        get(old)
        node.reload()
        with connect(node) as new:
            assert new.getpeercert(binary_form=True) != old.getpeercert(binary_form=True)
        assert get(old)[1] == b"body"


def test_the_end_is_said(origin, start):
    """close_notify, so that a response that ends with the connection cannot be cut short unseen."""
    origin.on("/", Reply(body=b"body"))
    sock = socket.create_connection(("127.0.0.1", start(config=PLAIN).port), DEADLINE_S)
    with trusting().wrap_socket(sock, server_hostname="a.example", suppress_ragged_eofs=False) as tls:
        tls.sendall(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
        text = b""
        while data := tls.recv(65536):
            text += data
        assert text.endswith(b"body")


class RecordsClient:
    """Tells how large the records are that bytes come in."""

    def __init__(self, node):
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = trusting().wrap_bio(self.incoming, self.outgoing, server_hostname="a.example")
        self.sock = socket.create_connection(("127.0.0.1", node.port), DEADLINE_S)
        self.stream = Stream(self.sock)
        self.sizes = []
        self.step(self.tls.do_handshake)

    def step(self, action):
        while True:
            try:
                result = action()
                self.sock.sendall(self.outgoing.read())
                return result
            except ssl.SSLWantReadError:
                self.sock.sendall(self.outgoing.read())
                header = self.stream.exactly(5)
                self.sizes.append(int.from_bytes(header[3:], "big"))
                self.incoming.write(header + self.stream.exactly(self.sizes[-1]))

    def get(self, body_bytes):
        """The sizes of the records that the response came in."""
        self.tls.write(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
        self.sizes, got = [], b""
        while b"\r\n\r\n" not in got or len(got.partition(b"\r\n\r\n")[2]) < body_bytes:
            got += self.step(lambda: self.tls.read(65536))
        return self.sizes


def test_records_are_small_until_the_client_can_begin(origin, start):
    origin.on("/", fresh(b"x" * 200_000))
    client = RecordsClient(start(config=PLAIN))
    for pause_s in (0, 1.5):
        time.sleep(pause_s)  # after a pause the network begins slowly again, and so do records
        sizes = client.get(200_000)
        assert max(sizes[:10]) < 1500 and max(sizes) > 16_000
        small = sum(size for size in sizes if size < 1500)
        assert 32_000 < small < 40_000
    client.sock.close()


# -- tickets

KEYED = PLAIN + "ticket_keys $keys;\n"


def s_client(node, *options):
    """OpenSSL's client says what Python's does not: all of TLS 1.3's sessions."""
    request = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n"
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{node.port}", "-servername",
               "a.example", "-ign_eof", *map(str, options)]
    return subprocess.run(command, input=request, capture_output=True, timeout=DEADLINE_S).stdout


def resumed(node, session, context, name="a.example"):
    with connect(node, name, context, session) as sock:
        get(sock, name)
        return sock.session_reused, sock.session


def tls12():
    """Where sessions come with the handshake, so that they are there as soon as it is over."""
    context = trusting()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


def key_file(tmp_path, name, size=80):
    path = tmp_path / name
    path.write_bytes(name.encode().ljust(16, b".") + os.urandom(size - 16))
    return str(path)


def test_a_session_outlives_a_reload(origin, start):
    origin.on("/", fresh(b"body"))
    node, context = start(config=PLAIN), tls12()
    _, session = resumed(node, None, context)
    node.reload()
    assert resumed(node, session, context)[0]


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_a_session_of_another_node_with_the_same_keys(origin, start, tmp_path, version):
    origin.on("/", fresh(b"body"))
    keys = key_file(tmp_path, "one")
    nodes = [start(config=KEYED, keys=keys) for _ in range(2)]
    saved = tmp_path / "session"
    for node, option in zip(nodes, ["-sess_out", "-sess_in"]):
        text = s_client(node, version, option, saved)
    assert b"Reused, TLSv1." in text
    assert nodes[1].metric("verge_tls_handshakes_resumed_total") == 1


@pytest.mark.parametrize("sizes", [(48, 80), (80, 48)])
def test_keys_are_changed_step_by_step(origin, start, tmp_path, sizes):
    """What the key in front has sealed still opens when another one stands before it."""
    origin.on("/", fresh(b"body"))
    old, new = (key_file(tmp_path, name, size) for name, size in zip(("old", "new"), sizes))
    node, context = start(config=KEYED, keys=old), tls12()
    _, session = resumed(node, None, context)
    node.reload(keys=f"{new} {old}")
    reused, session = resumed(node, session, context)
    assert reused
    node.reload(keys=new)
    assert resumed(node, session, context)[0], "it was given a new ticket"


def test_a_key_that_is_gone_opens_nothing(origin, start, tmp_path):
    origin.on("/", fresh(b"body"))
    node, context = start(config=KEYED, keys=key_file(tmp_path, "old")), tls12()
    _, session = resumed(node, None, context)
    node.reload(keys=key_file(tmp_path, "new"))
    assert not resumed(node, session, context)[0]


def test_a_session_is_resumed_at_its_own_site_only(origin, named):
    origin.on("/", fresh(b"body"))
    context = tls12()
    _, session = resumed(named, None, context)
    assert not resumed(named, session, context, "x.b.example")[0]
    assert resumed(named, session, context)[0]


# -- two certificates

BOTH = """
    origin app { server 127.0.0.1:$origin_port; }
    site a.example { listen 127.0.0.1:$port tls; $certificates route * { origin app; } }
    admin { listen 127.0.0.1:$admin_port; }
"""


@pytest.fixture(params=["ECDSA first", "RSA first"])
def both(start, tmp_path, request):
    self_signed(tmp_path, "ecdsa", "a.example")
    self_signed(tmp_path, "rsa", "a.example", RSA)
    lines = [f"certificate {tmp_path}/{name}.pem {tmp_path}/{name}.key;" for name in ("ecdsa", "rsa")]
    if request.param == "RSA first":
        lines.reverse()
    return start(config=BOTH, certificates=" ".join(lines))


@pytest.mark.parametrize("options, shown", [
    ([], "ecdsa"),
    (["-tls1_3", "-sigalgs", "rsa_pss_rsae_sha256"], "rsa"),
    (["-tls1_3", "-sigalgs", "rsa_pss_rsae_sha256:ecdsa_secp256r1_sha256"], "ecdsa"),
    (["-tls1_3", "-sigalgs", "rsa_pss_rsae_sha256:ecdsa_secp384r1_sha384"], "rsa"),
    (["-tls1_2", "-sigalgs", "RSA+SHA256"], "rsa"),
    (["-tls1_2"], "ecdsa"),
    (["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"], "rsa"),
    (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"], "ecdsa"),
])
def test_a_client_is_shown_the_certificate_that_it_can_verify(both, tmp_path, options, shown):
    text = s_client(both, *options)
    pem = text[text.index(b"-----BEGIN"):text.index(b"-----END")]
    assert pem in (tmp_path / f"{shown}.pem").read_bytes()
