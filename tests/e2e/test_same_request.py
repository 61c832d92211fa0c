"""The origin is sent the same bytes whichever protocol the client speaks."""

import re

import pytest

from harness import Reply

HEAD = """\
{method} {target} HTTP/1.1
Host: {host}
{passed}Via: {version} verge
X-Forwarded-For: 127.0.0.1
X-Forwarded-Proto: {scheme}
X-Forwarded-Host: {host}
Forwarded: for=127.0.0.1;host="{host}";proto={scheme}
CDN-Loop: verge; node=NODE
{framing}
"""
ODD = [("x-empty", ""), ("x-one", "1"), ("x-two", 'a, "b"'), ("x-one", "3"), ("x-tab", "a\tb"),
       ("x-long", "v" * 5000), ("x-latin", "caf\xe9"), ("accept", "*/*"), ("user-agent", "test/1")]

# name: (method, target, headers, body, trailers, the fields that pass, how the body is framed)
REQUESTS = {
    "plain": ("GET", "/", [], None, [], [], ""),
    "odd target": ("GET", "/a//b/..c/%2F?x=[y]&z|%zz", [], None, [], [], ""),
    "odd fields": ("GET", "/", ODD, None, [], ODD, ""),
    "another host": ("GET", "/", [("host", "Shop.example:8080")], None, [], [], ""),
    "cookies": ("GET", "/", [("x-one", "1"), ("cookie", "a=1; b=2; c=3")], None, [],
                [("x-one", "1"), ("cookie", "a=1; b=2; c=3")], ""),
    "credentials": ("GET", "/", [("authorization", "Basic eA==")], None, [],
                    [("authorization", "Basic eA==")], ""),
    "a range": ("GET", "/", [("range", "bytes=0-4,10-14"), ("if-range", '"v1"')], None, [],
                [("range", "bytes=0-4,10-14"), ("if-range", '"v1"')], ""),
    "HEAD": ("HEAD", "/", [("x-one", "1")], None, [], [("x-one", "1")], ""),
    "OPTIONS": ("OPTIONS", "/a", [], None, [], [], ""),
    "DELETE": ("DELETE", "/a", [], None, [], [], ""),
    "an unknown method": ("X-unKnown", "/a", [], None, [], [], ""),
    "no body": ("POST", "/", [], None, [], [], "Content-Length: 0\n"),
    "an empty body": ("POST", "/", [], b"", [], [], "Content-Length: 0\n"),
    "a length": ("POST", "/", [("content-type", "text/plain")], b"x" * 100_000, [],
                 [("content-type", "text/plain")], "Content-Length: 100000\n"),
    "no length": ("PUT", "/", [], [b"abc", b"x" * 100_000], [], [], "Transfer-Encoding: chunked\n"),
    "trailers": ("PUT", "/", [("trailer", "x-sum")], [b"abc"], [("x-sum", "7"), ("x-more", "8")],
                 [("trailer", "x-sum")], "Transfer-Encoding: chunked\n"),
    "trailers wanted": ("GET", "/", [("te", "trailers")], None, [], [], "Connection: TE\nTE: trailers\n"),
}
VERSIONS = {"h1": "1.1", "h1-tls": "1.1", "h2": "2.0", "h3": "3.0"}


def crumbs(protocol, headers):
    """HTTP/2 and HTTP/3 may split Cookie (RFC 9113 section 8.2.3, RFC 9114 section 4.2.1)."""
    if protocol.startswith("h1"):
        return headers
    return [(name, part) for name, value in headers
            for part in (value.split("; ") if name == "cookie" else [value])]


def written_alike(head):
    """Names have the case that the client or the node gives them; the rest is the same to the byte."""
    return re.sub(r"(?m)^[\w-]+:", lambda name: name[0].lower(), re.sub(r"node=\w+", "node=NODE", head))


@pytest.mark.parametrize("name", REQUESTS)
def test_the_origin_sees_the_same_bytes(origin, client, protocol, scheme, name):
    method, target, headers, body, trailers, passed, framing = REQUESTS[name]
    origin.default = Reply(body=b"x")
    assert client.request(method, target, crumbs(protocol, headers), body, trailers).status == 200
    request = origin.last()
    expected = HEAD.format(
        method=method, target=target, host=dict(headers).get("host", "test.example").lower(), scheme=scheme,
        passed="".join(f"{n}: {v}\n" for n, v in passed), version=VERSIONS[protocol], framing=framing)
    assert written_alike(request.raw.decode("latin-1")) == written_alike(expected.replace("\n", "\r\n"))
    assert request.body == (body if isinstance(body, bytes) else b"".join(body or []))
    assert request.trailers == trailers
