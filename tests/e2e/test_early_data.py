"""0-RTT (RFC 8446 section 2.3, RFC 8470): requests in the first message of a resumed session. The
client is OpenSSL's."""

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import DEADLINE_S, Reply, fresh
from harness.client import dial_tls
from harness.h3 import EARLY as EARLY_DATA
from harness.h3 import RESUMED, H3Connection, Program
from harness.wire import Stream

EARLY = """
    cache { memory 64M; }
    origin app { server 127.0.0.1:$origin_port; }
    site * { listen 127.0.0.1:$port tls; certificate self_signed; $site route * { origin app; } }
    admin { listen 127.0.0.1:$admin_port; }
    access_log $access_log json;
"""


class EarlyClient:
    def __init__(self, node, directory):
        self.node, self.directory = node, directory
        self.run(["-sess_out", self.session], self.request("GET", "/session"))

    @property
    def session(self):
        return str(self.directory / "session")

    @staticmethod
    def request(method, target, fields="", close=True):
        end = "Connection: close\r\n" if close else ""
        return f"{method} {target} HTTP/1.1\r\nHost: a.example\r\n{end}{fields}\r\n".encode()

    def run(self, options, text):
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{self.node.port}", "-tls1_3",
                   "-alpn", "http/1.1", "-ign_eof", *options]
        return subprocess.run(command, input=text, capture_output=True, timeout=DEADLINE_S).stdout

    def early(self, *arguments, late=b"", **more):
        """What the node answers to a request in early data, and perhaps one behind it."""
        (self.directory / "request").write_bytes(self.request(*arguments, close=not late, **more))
        text = self.run(["-sess_in", self.session, "-early_data",
                         str(self.directory / "request")], late)
        assert b"Early data was accepted" in text, text
        return [int(status) for status in re.findall(rb"HTTP/1.1 (\d\d\d) ", text)], text


@pytest.fixture
def early(origin, start, tmp_path):
    origin.on("/session", fresh(b"x"))
    return EarlyClient(start(config=EARLY, site="early_data on;"), tmp_path)


def test_the_origin_is_told(origin, early):
    origin.on("/a", fresh(b"body"))
    assert early.early("GET", "/a")[0] == [200]
    assert origin.last("/a")["Early-Data"] == "1"
    assert origin.last("/session")["Early-Data"] is None


def test_what_is_stored_is_answered_early(origin, early):
    origin.on("/a", fresh(b"body"))
    assert early.early("GET", "/a")[0] == [200]
    assert early.early("GET", "/a")[0] == [200]
    assert origin.count("/a") == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_unsafe_methods_are_not_taken(origin, early, method):
    assert early.early(method, "/a", "Content-Length: 0\r\n")[0] == [425]
    assert origin.count("/a") == 0
    assert early.node.log(2)[-1]["status"] == 425


def test_what_comes_after_the_handshake_is_not_early(origin, early):
    origin.on("/a", Reply(body=b"x"))
    origin.on("/b", Reply(body=b"x"))
    statuses, _ = early.early("GET", "/a", late=early.request("POST", "/b", "Content-Length: 0\r\n"))
    assert statuses == [200, 200]
    assert origin.last("/a")["Early-Data"] == "1"
    assert origin.last("/b")["Early-Data"] is None


def test_the_origins_425_reaches_the_client_and_is_not_stored(origin, early):
    origin.on("/a", Reply(425, headers=[("Cache-Control", "max-age=60")]), fresh(b"body"))
    assert early.early("GET", "/a")[0] == [425]
    assert early.early("GET", "/a")[0] == [200]


def test_nobody_waits_for_an_early_request(origin, early):
    """RFC 8470 section 5.2: 425 is for those who came early; others do not depend on them."""
    gate = origin.gate()
    origin.on("/a", [gate, b"HTTP/1.1 425 Too Early\r\nContent-Length: 0\r\n\r\n"], fresh(b"body"))
    with ThreadPoolExecutor() as pool, dial_tls(early.node.port, "http/1.1", "a.example") as other:
        first = pool.submit(early.early, "GET", "/a")
        assert origin.wait_for("/a")["Early-Data"] == "1"
        other.sendall(early.request("GET", "/a"))
        assert b"HTTP/1.1 200 " in Stream(other).to_end()
        gate.set()
        assert first.result()[0] == [425]
    assert origin.last("/a")["Early-Data"] is None and origin.count("/a") == 2


def test_without_the_directive_there_is_none(origin, start, tmp_path):
    origin.on("/session", fresh(b"x"))
    client = EarlyClient(start(config=EARLY), tmp_path)
    text = client.run(["-sess_in", client.session], client.request("GET", "/session"))
    assert b"Max Early Data: 0" in text and b"Reused, TLSv1.3" in text


def test_a_reload_that_takes_it_away_counts_for_tickets_given_before(origin, early):
    early.node.reload(site="early_data off;")
    (early.directory / "request").write_bytes(early.request("GET", "/session"))
    text = early.run(["-sess_in", early.session, "-early_data", str(early.directory / "request")],
                     early.request("GET", "/session"))
    assert b"Early data was rejected" in text and b"Reused, TLSv1.3" in text
    assert b"HTTP/1.1 200 " in text


@pytest.mark.parametrize("value", ["1", "0", "x"])
def test_what_a_client_says_of_early_data_is_as_good_as_early(origin, verge, client, value):
    """Another intermediary may have said so: then it is one that understands 425."""
    origin.on("/a", Reply(body=b"x"))
    assert client.get("/a", [("Early-Data", value)]).status == 200
    assert origin.last("/a")["Early-Data"] == "1"


# -- HTTP/3

@pytest.fixture
def ask_h3(origin, start, tmp_path):
    """Asks on a resumed connection in its first packets; the flags of the handshake, and the status."""
    origin.on("/session", fresh(b"x"))
    session = str(tmp_path / "session")

    def ask(node, method, target):
        with H3Connection(node.port, name="a.example", session=session) as first:
            first.request("GET", "/session")
            assert first.response().status == 200
            first.wait(lambda: first.tickets)
        with Program.get().together():
            second = H3Connection(node.port, name="a.example", session=session, at_once=True)
            second.request(method, target)
        with second:
            status = second.response().status
            second.wait(lambda: second.connected is not None)
            return second.connected, status

    return ask


def test_http3_tells_the_origin(origin, start, ask_h3):
    origin.on("/a", Reply(body=b"x"))
    assert ask_h3(start(config=EARLY, site="early_data on;"), "GET", "/a") == (RESUMED | EARLY_DATA, 200)
    assert origin.last("/a")["Early-Data"] == "1"


def test_http3_takes_no_unsafe_method(origin, start, ask_h3):
    assert ask_h3(start(config=EARLY, site="early_data on;"), "DELETE", "/a") == (RESUMED | EARLY_DATA, 425)
    assert origin.count("/a") == 0


def test_http3_without_the_directive(origin, start, ask_h3):
    origin.on("/a", Reply(body=b"x"))
    assert ask_h3(start(config=EARLY), "DELETE", "/a") == (RESUMED, 200)
    assert origin.last("/a")["Early-Data"] is None
