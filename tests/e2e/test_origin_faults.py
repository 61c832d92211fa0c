"""Origins that refuse, die, lie, babble or stay silent."""

import contextlib
import re

import pytest

from harness import CLOSE, RESET, Reply, Truncated, eventually, fresh

OK = b"HTTP/1.1 200 OK\r\n"
LENGTH_10 = OK + b"Cache-Control: max-age=60\r\nContent-Length: 10\r\n\r\n"


def proxy_error(response):
    """The error of our member of Proxy-Status (RFC 9209)."""
    match = re.match(r"verge\s*;.*\berror=([a-z_]+)", response["Proxy-Status"] or "")
    return match and match[1]


def test_refused(origin, client):
    origin.refuse()
    response = client.get("/")
    assert (response.status, proxy_error(response)) == (502, "connection_refused")


@pytest.mark.parametrize("ending", [CLOSE, RESET])
def test_ended_before_the_response(origin, client, ending):
    origin.on("/", [ending])
    response = client.get("/")
    assert (response.status, proxy_error(response)) == (502, "connection_terminated")


@pytest.mark.parametrize("ending", [CLOSE, RESET])
def test_ended_within_the_head(origin, client, ending):
    origin.on("/", [OK + b"Content-Le", ending])
    response = client.get("/")
    assert response.status == 502
    assert proxy_error(response) in ("connection_terminated", "http_response_incomplete")


@pytest.mark.parametrize("garbage", [
    b"garbage\r\n\r\n", b"HTTP/1.1 2000 OK\r\n\r\n", b"HTTP/1.1 OK\r\n\r\n", b"HTTP/3.0 200 OK\r\n\r\n",
    b"\0\0\0\0", b"SSH-2.0-OpenSSH\r\n", OK + b"A b: c\r\n\r\n", OK + b"A : b\r\n\r\n",
    OK + b"no colon\r\n\r\n", OK + b"A: b\0c\r\n\r\n", OK + b"A: b\rc\r\n\r\n", OK + b": b\r\n\r\n",
    OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    OK + b"Content-Length: -1\r\n\r\n", OK + b"Content-Length: 1x\r\n\r\na",
    OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    OK + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    OK + b"Transfer-Encoding: gzip\r\n\r\nx",
], ids=range(18))
def test_garbage(origin, client, garbage):
    origin.on("/", [garbage, CLOSE], fresh(b"good"))
    response = client.get("/")
    assert response.status == 502
    assert (proxy_error(response) or "").startswith("http_")
    assert client.get("/").body == b"good"


def faults(verge, count=1):
    def told():
        lines = [line for line in verge.errors() if "response_malformed: " in line or "response_coding: " in line]
        lines = [line for line in lines if "origin app, server 127.0.0.1:" in line]
        return len(lines) >= count and lines
    return eventually(told, f"{count} faults in the error log")


CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("sent, place, rule, shown", [
    (b"ICY 200 OK\r\n\r\n", "line 1: ", "HTTP/1.x", r"ICY 200 OK\r\n"),
    (OK + b"X: y\r\nA : b\r\n\r\n", "line 3, field A: ", "a colon right behind", r"A : b\r\n"),
    (OK + b"A: b\0\xff\r\n\r\n", "line 2, field A: ", "no control byte", r"A: b\x00\xff\r\n"),
    (OK + b"Content-Length: 1x\r\n\r\n", "line 2, field Content-Length: ", "one number", r"Content-Length: 1x\r\n"),
    (OK + b"Transfer-Encoding: gzip\r\n\r\n", "line 2, field Transfer-Encoding: ", "chunked and nothing else",
     r"Transfer-Encoding: gzip\r\n"),
    (CHUNKED + b"3\r\nabcde", "", "follow the data of a chunk", "de"),
    (CHUNKED + b"3\r\nabc\r\n0\r\nA : b\r\n\r\n", "", "trailers", r"A : b\r\n\r\n"),
    (OK + b"Long: " + b"x" * 300 + b"\x01" + b"y" * 300 + b"\r\n\r\n", "line 2, field Long: ", "no control byte",
     "x" * 50 + r"\x01" + "y" * 49),
], ids=range(8))
def test_the_error_log_shows_the_fault(origin, verge, sent, place, rule, shown):
    origin.on("/a", [sent, CLOSE])
    with contextlib.suppress(Truncated):
        verge.client.get("/a")
    line, = faults(verge)
    assert f" GET /a: origin app, server 127.0.0.1:{origin.port}: {place}" in line
    assert rule in line and line.endswith(f': "{shown}"')


def test_the_fault_of_a_revalidation_is_shown(origin, verge):
    headers = {"Cache-Control": "max-age=1, stale-while-revalidate=60", "ETag": '"v1"'}
    origin.on("/", Reply(headers=headers, body=b"body"), [OK + b"A : b\r\n\r\n", CLOSE])
    verge.client.get("/")
    eventually(lambda: verge.client.get("/") and origin.count("/") > 1, "a revalidation")
    assert "line 2, field A: " in faults(verge)[0]


def test_a_304_that_nobody_asked_for_is_shown(origin, verge):
    origin.on("/", Reply(304))
    assert verge.client.get("/").status == 502
    assert "304 must answer a request with conditions" in faults(verge)[0]


def test_a_head_without_end(origin, client):
    def babble(exchange):
        exchange.send(OK)
        for i in range(100_000):
            exchange.send(b"X-%d: %s\r\n" % (i, b"y" * 100))

    origin.on("/", babble)
    response = client.get("/")
    assert (response.status, proxy_error(response)) == (502, "http_response_header_section_size")


@pytest.mark.parametrize("ending", [CLOSE, RESET])
@pytest.mark.parametrize("sent", [b"", b"abc", b"abcdefghi"])
def test_a_short_body_is_never_passed_as_whole_or_stored(origin, client, sent, ending):
    origin.on("/", [LENGTH_10 + sent, ending], fresh(b"good"))
    try:
        assert client.get("/").status == 502
    except Truncated:
        pass
    assert client.get("/").body == b"good"
    assert origin.count("/") == 2


def test_a_body_up_to_the_close_is_whole_for_the_client(origin, client):
    origin.on("/", [OK + b"\r\nall of it", CLOSE])
    assert client.get("/").body == b"all of it"


def test_a_body_up_to_a_reset_is_not(origin, client):
    origin.on("/", [OK + b"Cache-Control: max-age=60\r\n\r\npart", RESET], fresh(b"good"))
    try:
        assert client.get("/").status == 502
    except Truncated:
        pass
    assert client.get("/").body == b"good"


def test_leftover_bytes_are_dropped_with_their_connection(origin, client):
    """They would otherwise be taken for the answer to somebody else's request."""
    evil = OK + b"Content-Length: 4\r\n\r\nevil"
    origin.on("/", [OK + b"Content-Length: 4\r\n\r\ngood" + evil])
    origin.on("/next", Reply(body=b"next"))
    assert client.get("/").body == b"good"
    assert client.get("/next").body == b"next"
    assert origin.connections == 2


def test_bytes_on_an_idle_connection_end_it(origin, verge):
    gate = origin.gate()
    origin.on("/", [OK + b"Content-Length: 4\r\n\r\ngood", gate,
                    OK + b"Content-Length: 4\r\n\r\nevil"])
    origin.on("/next", Reply(body=b"next"))
    assert verge.client.get("/").body == b"good"
    gate.set()
    eventually(lambda: verge.metric("verge_origin_connections_live") == 0, "it is given up")
    assert verge.client.get("/next").body == b"next"


@pytest.mark.parametrize("status, body", [(204, b""), (304, b"body")])
def test_a_body_where_none_may_be_is_dropped(origin, client, status, body):
    evil = [b"HTTP/1.1 %d No\r\nETag: \"v1\"\r\nContent-Length: 4\r\n\r\nevil" % status]
    origin.on("/", Reply(headers={"Cache-Control": "max-age=0", "ETag": '"v1"'}, body=b"body"), evil)
    origin.on("/next", Reply(body=b"next"))
    client.get("/")
    assert client.get("/").body == body
    assert client.get("/next").body == b"next"


def test_a_stale_pooled_connection_is_retried(origin, client):
    assert client.get("/").status == 404
    # The next request on the first connection meets its end; the one after that is answered.
    origin.on("/again", [RESET], Reply(body=b"second try"))
    assert client.get("/again").body == b"second try"
    assert [r.connection for r in origin.requests if r.target == "/again"] == [1, 2]


@pytest.mark.parametrize("method, body", [("GET", b""), ("GET", []), ("PUT", b""), ("DELETE", b"")])
def test_an_empty_body_is_sent_again(origin, client, method, body):
    assert client.get("/").status == 404
    origin.on("/again", [RESET], Reply(body=b"second try"))
    assert client.request(method, "/again", body=body).body == b"second try"
    assert origin.count("/again") == 2


@pytest.mark.parametrize("body", [b"select", [b"se", b"le", b"ct"], b"x" * 40_000], ids=["length", "pieces", "large"])
@pytest.mark.parametrize("method", ["PUT", "QUERY"])
def test_a_small_body_is_sent_again(origin, client, method, body):
    assert client.get("/").status == 404

    def close_unanswered(exchange):
        exchange.read_body()
        exchange.reset()

    origin.on("/again", close_unanswered, Reply(body=b"second try"))
    assert client.request(method, "/again", body=body).body == b"second try"
    whole = body if isinstance(body, bytes) else b"".join(body)
    assert [r.body for r in origin.requests[1:]] == [whole, whole]


def test_a_large_body_is_not_sent_again(origin, client):
    assert client.get("/").status == 404

    def close_unanswered(exchange):
        exchange.read_body()
        exchange.reset()

    origin.on("/again", close_unanswered, Reply(body=b"second try"))
    assert client.request("PUT", "/again", body=b"x" * 100_000).status == 502
    assert origin.count("/again") == 1


def test_a_fresh_connection_is_not_retried(origin, client):
    origin.on("/", [RESET], Reply(body=b"second try"))
    assert client.get("/").status == 502
    assert origin.count("/") == 1


def test_a_post_is_never_sent_twice(origin, client):
    assert client.get("/").status == 404
    origin.on("/post", [RESET], Reply(body=b"second try"))
    assert client.request("POST", "/post", body=b"x").status == 502
    assert origin.count("/post") == 1


def test_an_idle_connection_the_origin_closed_is_not_used(origin, client):
    origin.on("/", Reply(body=b"x"))
    for _ in range(5):
        assert client.request("POST", "/", body=b"x").status == 200
        origin.drop_connections()
        assert client.get("/").status == 200


def test_no_first_byte(origin, start):
    client = start(origin="first_byte_timeout 200ms;").client
    origin.on("/", [origin.gate()])
    response = client.get("/")
    assert (response.status, proxy_error(response)) == (504, "http_response_timeout")


def test_silence_between_bytes(origin, start):
    client = start(origin="between_bytes_timeout 200ms;").client
    origin.on("/", [LENGTH_10 + b"abc", origin.gate()], fresh(b"good"))
    with pytest.raises(Truncated):
        client.get("/")
    assert client.get("/").body == b"good"


def test_an_unknown_name(origin, start):
    config = """
        origin app { server nowhere.invalid:80; }
        site * { listen 127.0.0.1:$port; route * { origin app; } }
        admin { listen 127.0.0.1:$admin_port; }"""
    response = start(config=config).client.get("/")
    assert response.status in (502, 504)
    assert proxy_error(response) in ("dns_error", "dns_timeout")


def test_an_error_of_the_origins_own_passes_as_it_is(origin, client):
    origin.on("/", Reply(503, {"Retry-After": "7"}, b"busy"))
    response = client.get("/")
    assert (response.status, response["Retry-After"], response.body) == (503, "7", b"busy")
    assert "Proxy-Status" not in response.fields


def test_errors_are_counted_by_reason(origin, verge):
    origin.refuse()
    verge.client.get("/")
    assert verge.metric("verge_errors_total", error="connect_refused") == 1
    assert verge.metric("verge_verdicts_total", verdict="error") == 1


def test_an_origin_that_comes_back_is_used_again(origin, client):
    origin.refuse()
    assert client.get("/").status == 502
    origin.accept_again()
    origin.on("/", Reply(body=b"back"))
    assert client.get("/").body == b"back"
