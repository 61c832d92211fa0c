"""
Requests that are not right in HTTP/2 and HTTP/3 alike (RFC 9113 section 8, RFC 9114 section 4): each is
an error of its stream or is answered with a 400, and the origin never sees it.
"""

from .multiplex import pseudo

GET = pseudo("GET", "/", [])
POST = pseudo("POST", "/", [])


def without(name):
    return [field for field in GET if field[0] != name]


def changed(name, value):
    return [(n, value if n == name else v) for n, v in GET]


MALFORMED = {
    "no method": without(":method"), "no scheme": without(":scheme"), "no path": without(":path"),
    "no authority": without(":authority"), "an empty authority": changed(":authority", ""),
    "method twice": [GET[0]] + GET, "path twice": [(":path", "/other")] + GET, "authority twice": [(":authority", "a.example")] + GET,
    "an unknown pseudo-field": [(":verge", "1")] + GET, "a response's pseudo-field": [(":status", "200")] + GET,
    "a pseudo-field after others": GET[:3] + [("x-a", "1"), GET[3]],
    "upper case": GET + [("X-Upper", "1")], "an empty name": GET + [("", "1")],
    "a space in a name": GET + [("x a", "1")], "a colon in a name": GET + [("x:a", "1")],
    "a line break in a name": GET + [("x-a\r\nx-b", "1")],
    "LF in a value": GET + [("x-a", "1\nx-b: 2")], "CR in a value": GET + [("x-a", "1\rx")],
    "NUL in a value": GET + [("x-a", "1\0")], "a value that begins with a space": GET + [("x-a", " 1")],
    "a value that ends with a tab": GET + [("x-a", "1\t")], "DEL in a value": GET + [("x-a", "1\x7f")],
    "an authorization that ends with a space": GET + [("authorization", "Basic eDp5 ")],
    "LF in a priority": GET + [("priority", "u=1\nx: y")], "a space in a host": GET + [("host", "test. example")],
    "connection": GET + [("connection", "close")], "keep-alive": GET + [("keep-alive", "timeout=5")],
    "proxy-connection": GET + [("proxy-connection", "close")], "upgrade": GET + [("upgrade", "h2c")],
    "transfer-encoding": GET + [("transfer-encoding", "chunked")], "te": GET + [("te", "gzip")],
    "te, trailers and more": GET + [("te", "trailers, gzip")],
    "another host": GET + [("host", "other.example")],
    "an empty path": changed(":path", ""), "a path without a slash": changed(":path", "a"),
    "a star with GET": changed(":path", "*"), "a space in the path": changed(":path", "/a b"),
    "a request in the path": changed(":path", "/ HTTP/1.1\r\nHost: a\r\n\r\nGET /evil"),
    "a space in the method": changed(":method", "GET /evil"),
    "a line break in the method": changed(":method", "GET\r\n"), "an empty method": changed(":method", ""),
    "userinfo": changed(":authority", "user@test.example"), "a slash in the authority": changed(":authority", "a/b"),
    "a line break in the authority": changed(":authority", "a\r\nx: y"),
    "no number as a length": GET + [("content-length", "1x")],
    "two lengths": GET + [("content-length", "0"), ("content-length", "1")],
    "a length and no body": GET + [("content-length", "5")],
    "an unknown scheme": changed(":scheme", "gopher"),
}

# Of a request whose body is five bytes.
LENGTHS = {"more than its length": [("content-length", "3")], "less than its length": [("content-length", "9")]}

TRAILERS = {
    "a pseudo-field": [(":path", "/")], "upper case": [("X-Sum", "1")], "connection": [("connection", "close")],
    "a line break": [("x-sum", "1\r\nx: y")], "an empty name": [("", "1")], "a space in a name": [("x sum", "1")],
    "a value that begins with a space": [("x-sum", " 1")],
}


def is_refused(outcome, error):
    """Of ("reset", code) or ("response", status)."""
    what, code = outcome
    return (what, code) == ("reset", error) or what == "response" and 400 <= code < 500


def whole_requests(origin):
    """Those whose body came to its end."""
    return [request for request in origin.requests if request.body is not None]
