"""The access log: one line per request, in JSON or combined."""

import json
import re
from string import Template

import pytest

from harness import CLOSE, RESET, Reply, eventually, fresh, outlive

COMBINED = re.compile(r'127\.0\.0\.1 - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] '
                      r'"(.*)" (\d{3}) (\d+|-) "(.*)" "(.*)"( .*)?')


def combined(start):
    return start(config="""
        access_log $directory/access.log combined;
        origin app { server 127.0.0.1:$origin_port; }
        site * { listen 127.0.0.1:$port; route * { origin app; } }
        admin { listen 127.0.0.1:$admin_port; }""")


def line_of(node):
    text = eventually(lambda: node.access_log.exists() and node.access_log.read_text(), "a line")
    return COMBINED.fullmatch(text.rstrip("\n"))


def test_json_says_what_happened(origin, verge):
    origin.on("/a", fresh(b"body"))
    verge.client.get("/a?b=c", {"User-Agent": "test/1", "Host": "shop.example"})
    verge.client.get("/a?b=c", {"Host": "shop.example"})
    miss, hit = verge.log(2)
    assert miss["method"] == "GET" and miss["status"] == 200
    assert miss["host"] == "shop.example" and miss["client_ip"] == "127.0.0.1"
    assert miss["path"] == "/a" and miss["query"] == "b=c"
    assert (miss["cache"], hit["cache"]) == ("miss", "hit")
    assert miss["ua"] == "test/1"


def test_one_line_per_request_in_order(verge):
    connection = verge.client.connect()
    for n in range(100):
        connection.request("GET", f"/{n}")
        connection.response()
    assert [line["path"] for line in verge.log(100)] == [f"/{n}" for n in range(100)]


def test_combined_is_what_tools_expect(origin, start):
    node = combined(start)
    origin.on("/a", Reply(body=b"body"))
    node.client.get("/a", {"User-Agent": "test/1", "Referer": "http://r.example/"})
    line = line_of(node)
    assert line[1] == "GET /a HTTP/1.1" and line[2] == "200"
    assert (line[4], line[5]) == ("http://r.example/", "test/1")


def test_quotes_and_controls_cannot_forge_a_line(origin, start, verge):
    evil = 'a" 200 0 "-"\\x\x80'
    node = combined(start)
    for one in (node, verge):
        one.client.get("/", {"User-Agent": evil})
    line = line_of(node)
    assert '"' not in line[5].replace('\\"', "").replace("\\x22", "")
    assert verge.log(1)[0]["ua"].startswith('a" 200 0 "-"\\x')


def test_an_error_names_its_reason(origin, verge):
    origin.refuse()
    verge.client.get("/")
    line = verge.log(1)[0]
    assert line["status"] == 502 and line["error"] == "connect_refused"


def test_a_server_that_was_tried_in_vain_is_named(origin, start):
    node = start(origin="server 127.0.0.1:1;")
    origin.on("/", Reply(body=b"body"))
    assert [node.client.get("/").body for _ in range(2)] == [b"body"] * 2
    told = [(line["error"], line["upstream"]) for line in node.log(2)]
    assert ("connect_refused", f"127.0.0.1:{origin.port}") in told


@pytest.mark.parametrize("window", ["if-error", "while-revalidate"])
@pytest.mark.parametrize("failure, reason", [
    ([CLOSE], "origin_closed"), ([RESET], "origin_reset"), (Reply(503), "origin_status")])
def test_the_log_says_why_the_stale_one_was_served(origin, verge, window, failure, reason):
    headers = {"Cache-Control": f"max-age=1, stale-{window}=60", "ETag": '"v1"'}
    origin.on("/", Reply(headers=headers, body=b"old"), failure)
    verge.client.get("/")
    outlive(1)

    def is_told():
        assert verge.client.get("/").body == b"old"
        told = [line["error"] for line in verge.log(2)[1:]]
        assert set(told) <= {None, reason}  # none yet, where the client was answered meanwhile
        return reason in told

    eventually(is_told, "the reason is in the access log")
    origin.on("/", fresh(b"new"))
    eventually(lambda: verge.client.get("/").body == b"new", "the origin is well again")
    eventually(lambda: verge.client.get("/").hit, "and its response stored")
    eventually(lambda: verge.log(1)[-1]["error"] is None, "nothing is told of a hit")


def test_a_client_that_leaves_is_logged(origin, verge):
    gate = origin.gate()
    origin.on("/", [gate])
    connection = verge.client.connect()
    connection.request("GET", "/")
    origin.wait_for("/")
    connection.reset()
    assert verge.log(1)[0]["error"] == "client_gone"


def test_refused_requests_are_logged(verge):
    verge.client.raw(b"GET / HTTP/1.1\r\n\r\n")
    assert verge.log(1)[0]["status"] == 400


REFUSED = [
    (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a b HTTP/1.1", "GET /a b HTTP/1.1"),
    (b"\r\nGET /%22\"\\ HTTP/1.1\nX: y\r\n\r\n", 'GET /%22"\\ HTTP/1.1', 'GET /%22\\"\\\\ HTTP/1.1'),
    (b"\x16\x03\x01\xe9\r\n\r\n", "\x16\x03\x01\xe9", "\\x16\\x03\\x01\\xe9"),
    (b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\n\r\n", "GET /" + "a" * 251, "GET /" + "a" * 251),
    (b"GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1", "GET / HTTP/1.1"),
]


@pytest.mark.parametrize("sent, in_json, in_combined", REFUSED, ids=range(len(REFUSED)))
def test_what_is_refused_unread_shows_its_first_line(start, verge, sent, in_json, in_combined):
    node = combined(start)
    for one in (verge, node):
        one.client.get("/before")
        response, _ = one.client.raw(sent)
        assert response.status in (400, 414)
    assert [line["line"] for line in verge.log(2) if line["path"] == ""] == [in_json]
    text = eventually(lambda: node.access_log.exists() and node.access_log.read_text().count("\n") == 2
                      and node.access_log.read_text(), "two lines")
    assert f'] "{in_combined}" {response.status} ' in text


def test_nothing_is_lost_when_it_stops(verge):
    for n in range(50):
        verge.client.get(f"/{n}")
    verge.signal(15)
    assert verge.wait() == 0
    lines = verge.access_log.read_text().splitlines()
    assert [json.loads(line)["path"] for line in lines] == [f"/{n}" for n in range(50)]


def test_usr1_opens_it_again(verge):
    verge.client.get("/one")
    verge.log(1)
    verge.access_log.rename(verge.directory / "rotated")
    verge.signal(10)
    eventually(verge.access_log.exists, "a new file")
    verge.client.get("/two")
    assert verge.log(1)[0]["path"] == "/two"


@pytest.mark.parametrize("line", ["access_log $directory/none/access.log;", "access_log $directory;",
                                  "error_log $directory/none/errors;"])
def test_a_log_that_cannot_be_opened_is_a_mistake_of_the_file(verge, line):
    config = verge.file.read_text()
    verge.file.write_text(re.sub("access_log .*\n", "", config) + Template(line).substitute(directory=verge.directory))
    verge.reload()
    errors = eventually(lambda: [e for e in verge.errors() if "configuration refused" in e] and verge.errors(), "a line")
    assert any("No such file or directory" in e or "is a folder" in e for e in errors)


def test_a_log_that_cannot_be_written_is_told_once(origin, start):
    node = start(top="error_log $directory/errors;", config="""
        access_log /dev/full json;
        $top
        origin app { server 127.0.0.1:$origin_port; }
        site * { listen 127.0.0.1:$port; route * { origin app; } }
        admin { listen 127.0.0.1:$admin_port; }""")
    node.client.get("/")
    eventually(lambda: node.metric("verge_log_write_errors_total") == 1, "the error is counted")
    lines = (node.directory / "errors").read_text().splitlines()
    told = [line for line in lines if "cannot write /dev/full: No space left on device" in line]
    assert len(told) == 1
