"""Ambiguous framing is 400 and close, and no byte of it reaches the origin."""

import pytest

from harness import Reply

HOST = b"Host: a.example\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n"


def get(fields, line=b"GET / HTTP/1.1\r\n"):
    return line + HOST + fields + b"\r\n"


def post(fields, body=b"abc"):
    return get(fields, b"POST / HTTP/1.1\r\n") + body


HEADS = {
    "both lengths": post(b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    "both lengths, other order":
        post(b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", b"0\r\n\r\n"),
    "differing lengths": post(b"Content-Length: 3\r\nContent-Length: 4\r\n"),
    "differing lengths in a list": post(b"Content-Length: 3, 4\r\n"),
    "length with a sign": post(b"Content-Length: +3\r\n"),
    "negative length": post(b"Content-Length: -3\r\n"),
    "hex length": post(b"Content-Length: 0x3\r\n"),
    "empty length": post(b"Content-Length: \r\n"),
    "length with a space": post(b"Content-Length: 3 0\r\n"),
    "length over 64 bits": post(b"Content-Length: 18446744073709551619\r\n"),
    "chunked, then gzip": post(b"Transfer-Encoding: chunked, gzip\r\n", b"0\r\n\r\n"),
    "chunked twice": post(b"Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n"),
    "chunked on two lines":
        post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    "chunked, then identity": post(b"Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n"),
    "identity": post(b"Transfer-Encoding: identity\r\n"),
    "an unknown coding": post(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"),
    "a coding with a parameter": post(b"Transfer-Encoding: chunked;q=1\r\n", b"0\r\n\r\n"),
    "a coding after a vertical tab": post(b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n"),
    "an empty coding": post(b"Transfer-Encoding: \r\n"),
    "chunked in HTTP/1.0":
        get(b"Transfer-Encoding: chunked\r\n", b"POST / HTTP/1.0\r\n") + b"0\r\n\r\n",
    "obs-fold": get(b"A: b\r\n c\r\n"),
    "obs-fold at the first field": b"GET / HTTP/1.1\r\n " + HOST + b"\r\n",
    "bare LF after a field": get(b"A: b\n"),
    "bare LF after the request line": get(b"", b"GET / HTTP/1.1\n"),
    "bare LF at the end of the head": b"GET / HTTP/1.1\r\n" + HOST + b"\n",
    "bare CR in a value": get(b"A: b\rc\r\n"),
    "bare CR at the end of a value": get(b"A: b\r\r\n"),
    "bare CR in the request line": get(b"", b"GET /\r HTTP/1.1\r\n"),
    "space before the colon": get(b"A : b\r\n"),
    "tab before the colon": get(b"A\t: b\r\n"),
    "space in a name": get(b"A b: c\r\n"),
    "no colon": get(b"Abc\r\n"),
    "no name": get(b": b\r\n"),
    "NUL in a value": get(b"A: b\0c\r\n"),
    "NUL in a name": get(b"A\0: b\r\n"),
    "NUL in the target": get(b"", b"GET /\0 HTTP/1.1\r\n"),
    "a control in a value": get(b"A: b\x01c\r\n"),
    "no Host": b"GET / HTTP/1.1\r\nA: b\r\n\r\n",
    "two Hosts": get(b"Host: a.example\r\n"),
    "two different Hosts": get(b"Host: b.example\r\n"),
    "two spaces in the request line": get(b"", b"GET  / HTTP/1.1\r\n"),
    "a tab in the request line": get(b"", b"GET\t/ HTTP/1.1\r\n"),
    "a space in the target": get(b"", b"GET /a b HTTP/1.1\r\n"),
    "a space after the version": get(b"", b"GET / HTTP/1.1 \r\n"),
    "no version": get(b"", b"GET /\r\n"),
    "a version in lower case": get(b"", b"GET / http/1.1\r\n"),
    "a version of one digit": get(b"", b"GET / HTTP/1\r\n"),
    "no target": get(b"", b"GET HTTP/1.1\r\n"),
    "a target without a slash": get(b"", b"GET index.html HTTP/1.1\r\n"),
    "an asterisk for GET": get(b"", b"GET * HTTP/1.1\r\n"),
    "a method that is no token": get(b"", b"G(T / HTTP/1.1\r\n"),
    "a field name that is no token": get(b"A(b): c\r\n"),
}

HOSTS = ["", "a b", "a/b", "user@a", "a:b", "a:99999", "[::1", "::1", "a,b", "a\\b", "a?b", "a#b",
         "a:80:80"]

CHUNKS = {
    "no hex": b"zz\r\nabc\r\n0\r\n\r\n",
    "empty": b"\r\nabc\r\n0\r\n\r\n",
    "a sign": b"+3\r\nabc\r\n0\r\n\r\n",
    "negative": b"-3\r\nabc\r\n0\r\n\r\n",
    "a prefix": b"0x3\r\nabc\r\n0\r\n\r\n",
    "over 64 bits": b"10000000000000003\r\nabc\r\n0\r\n\r\n",
    "more data than said": b"3\r\nabcd\r\n0\r\n\r\n",
    "less data than said": b"4\r\nabc\r\n0\r\n\r\n",
    "bare LF after the size": b"3\nabc\r\n0\r\n\r\n",
    "bare LF after the data": b"3\r\nabc\n0\r\n\r\n",
    "bare CR after the size": b"3\rabc\r\n0\r\n\r\n",
    "bare LF in an extension": b"3;a=\nb\r\nabc\r\n0\r\n\r\n",
    "bare LF after the last chunk": b"3\r\nabc\r\n0\n\r\n",
    "bare LF after an empty body": b"0\r\n\n",
    "bare LF after a trailer": b"3\r\nabc\r\n0\r\nA: b\r\n\n",
    "bare CR after the last chunk": b"3\r\nabc\r\n0\r\n\rx",
    "an extension without a name": b"3;\r\nabc\r\n0\r\n\r\n",
    "an extension without a value": b"3;a=\r\nabc\r\n0\r\n\r\n",
    "an extension with an open quote": b"3;a=\"x\r\nabc\r\n0\r\n\r\n",
    "an extension whose name is no token": b"3;bad[=x\r\nabc\r\n0\r\n\r\n",
    "a folded trailer": b"3\r\nabc\r\n0\r\nA: b\r\n c\r\n\r\n",
    "a trailer with a space before the colon": b"3\r\nabc\r\n0\r\nA : b\r\n\r\n",
}


@pytest.mark.parametrize("name", HEADS)
def test_an_ambiguous_head(origin, client, name):
    response, connection = client.raw(HEADS[name] + SMUGGLED)
    assert response.status == 400
    assert connection.ended()
    assert origin.count() == 0


@pytest.mark.parametrize("host", HOSTS)
def test_a_host_that_is_no_authority(origin, client, host):
    response, connection = client.raw(b"GET / HTTP/1.1\r\nHost: %s\r\n\r\n" % host.encode())
    assert response.status == 400
    assert connection.ended()
    assert origin.count() == 0


@pytest.mark.parametrize("name", CHUNKS)
def test_a_malformed_chunk(origin, client, name):
    """The head may be on its way already, but the origin never sees the end of such a body."""
    response, connection = client.raw(
        post(b"Transfer-Encoding: chunked\r\n", CHUNKS[name]) + SMUGGLED)
    assert response.status == 400
    assert connection.ended()
    assert [r for r in origin.requests if r.body is not None or r.target == "/smuggled"] == []


@pytest.mark.parametrize("end", [b"0\r\n\n", b"0\r\nA: b\n", b"0\r\n\rx"])
def test_a_broken_end_of_a_body_is_400_at_once(origin, client, end):
    """Nothing more needs to come."""
    response, connection = client.raw(post(b"Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n" + end))
    assert response.status == 400
    assert connection.ended()


def test_a_coding_nobody_knows_is_501(origin, client):
    """RFC 9112 section 6.1. Where chunked comes last, the framing at least is plain."""
    response, connection = client.raw(post(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n") + SMUGGLED)
    assert response.status == 501
    assert connection.ended()
    assert origin.count() == 0


def test_two_empty_lines_before_a_request(origin, client):
    """One is tolerated (RFC 9112 section 2.2)."""
    response, connection = client.raw(b"\r\n\r\n" + get(b""))
    assert response.status == 400
    assert connection.ended()
    assert origin.count() == 0


def test_another_major_version_is_505(origin, client):
    response, connection = client.raw(get(b"", b"GET / HTTP/2.0\r\n"))
    assert response.status == 505
    assert connection.ended()
    assert origin.count() == 0


@pytest.mark.parametrize("raw", [
    b"\r\n" + get(b""),
    get(b"A:b\r\n"),
    get(b"A: \t b \t\r\n"),
    get(b"A:\r\n"),
    get(b"A: caf\xe9\r\n"),
    get(b"", b"GET / HTTP/1.2\r\n"),
    b"GET / HTTP/1.1\r\nhOsT: [::1]:8080\r\n\r\n",
    post(b"Transfer-Encoding: Chunked\r\n", b"A ;x = \"y\" ;z\r\n0123456789\r\n000\r\n\r\n"),
    post(b"Content-Length: 003\r\n"),
], ids=range(9))
def test_what_is_odd_but_plain_is_served(origin, client, raw):
    origin.on("/", Reply(body=b"ok"))
    response, connection = client.raw(raw + get(b""))
    assert (response.status, response.body) == (200, b"ok")
    assert connection.response().status == 200


def test_an_upload_is_reframed_never_copied(origin, client):
    client.raw(post(b"Transfer-Encoding: chunked\r\n", b"1;x=y\r\na\r\n02\r\nbc\r\n0\r\n\r\n"))
    request = origin.last()
    assert request.body == b"abc"
    assert request.fields.all("Transfer-Encoding") == ["chunked"]
    assert "Content-Length" not in request.fields
