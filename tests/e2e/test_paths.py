"""One path, one route, one key: however a client spells it, and however its origin reads that."""

import itertools
import random
from pathlib import PurePosixPath
from urllib.parse import unquote

import pytest

from harness import Reply, eventually, fresh, in_parallel
from harness.nginx import Nginx

CONFIG = """
    cache { memory $memory; $cache }
    origin app { server 127.0.0.1:$origin_port; }
    site * {
        listen 127.0.0.1:$port;
        origin app;
        route /account/* { cache off; body_size 10; }
        route /static/* { ttl 200 24h; }
        route * { ttl 200 1h; }
    }
    admin { listen 127.0.0.1:$admin_port; }
    access_log $access_log json;"""


# ---- no spelling of a protected path is ever stored ----

def resolved(path):
    """Without empty and dot segments."""
    out = []
    for segment in path.split("/"):
        if segment == "..":
            out = out[:-1]
        elif segment not in ("", "."):
            out.append(segment)
    return "/" + "/".join(out)


def without_parameters(path):
    return "/".join(segment.partition(";")[0] for segment in path.split("/"))


# What an origin takes a path for.
READERS = {
    "literal": lambda path: path,
    "parameters": lambda path: resolved(unquote(without_parameters(path))),
    "decodes first": lambda path: resolved(without_parameters(unquote(path))),
    "decodes twice": lambda path: resolved(unquote(unquote(path)).replace("\\", "/")),
}
NGINX = """location / { return 200 "open"; }
           location /account { return 200 "secret $request_id"; }"""


def is_protected(path):
    return PurePosixPath(path).parts[:2] == ("/", "account")


@pytest.fixture(params=[*READERS, "nginx"])
def reader(request, tmp_path, origin):
    """Changes the origin into one that reads paths in its own way."""
    if request.param == "nginx":
        nginx = Nginx(tmp_path, NGINX)
        scripted, origin.port = origin.port, nginx.port
        yield
        nginx.stop()
        origin.port = scripted
        return
    numbers = itertools.count()

    def answer(exchange):
        path = READERS[request.param](exchange.request.target)
        body = f"secret {next(numbers)}" if is_protected(path) else "open"
        exchange.reply(Reply(body=body.encode()))

    origin.default = answer
    yield


SLASHES = ["/", "//", "/./", "/%2e/", "%2f", "%2F", "\\", "%5c", ";x/", "%3b/", ";/", "%252f", "%255C",
           "/%252e/", "/.;/", "/q/../", "/q/%2E%2e/", "/q/..;/", "/q/..%2f", "/q/%252e%252e/", "/q\\..\\"]
FRONTS = ["", "/static/..", "/static/%2e%2e", "/static//..", "/static/..;", "/static/%252e%252e", "/static/.",
          "/static"]


def spellings(seed, count):
    """Of /account/me and of its neighbours below /static."""
    chance = random.Random(seed)

    def octet(c):
        return chance.choice([c, c, c, f"%{ord(c):02x}", f"%{ord(c):02X}"])

    for _ in range(count):
        front, first, second = chance.choice(FRONTS), chance.choice(SLASHES), chance.choice(SLASHES)
        path = front + first + "".join(map(octet, "account")) + second + "".join(map(octet, "me"))
        yield path if path.startswith("/") else "/" + path


def test_no_spelling_of_a_protected_path_is_stored(start, reader):
    client, hits = start(config=CONFIG).client.connect(), 0
    for path in spellings(seed=7, count=150):
        bodies = []
        for _ in range(2):
            client.request("GET", path)
            response = client.response()
            assert response.status in (200, 400), path  # nginx refuses what leads above its root
            bodies.append(response.body)
            hits += response.hit
        if b"secret" in bodies[0]:
            assert bodies[0] != bodies[1], f"{path} was stored"
    assert hits, "and others are"


@pytest.mark.parametrize("one, other", [
    ("/a%2Fb", "/a/b"), ("/a;b", "/a"), ("/a//b", "/a/b"), ("/a%3Bb", "/a;b"), ("/a%252Fb", "/a%2Fb"),
])
def test_reserved_spellings_share_no_key(origin, start, one, other):
    client = start(config=CONFIG).client
    origin.on(one, fresh(b"one"))
    origin.on(other, fresh(b"other"))
    assert [client.get(path).body for path in (one, other, one, other)] == [b"one", b"other"] * 2
    assert origin.count() == 2


# ---- equivalent spellings are one ----

EQUIVALENT = ["/%61/%7Eb", "/%61/%7eb", "/./a/~b", "/x/../a/%7Eb", "/%2e/a/~b", "/../a/~b"]


def test_equivalent_spellings_share_a_key_which_is_sent(origin, client):
    origin.on("/a/~b", fresh())
    for path in EQUIVALENT:
        client.get(path)
    assert [r.target for r in origin.requests] == ["/a/~b"]


def test_escapes_are_sent_in_upper_case(origin, client):
    origin.on("/%C3%A9%2F", fresh())
    assert client.get("/%c3%a9%2f?%c3").stored
    assert origin.last().target == "/%C3%A9%2F?%c3"


@pytest.mark.parametrize("path", EQUIVALENT)
def test_every_spelling_invalidates(origin, client, path):
    origin.on("/a/~b", fresh(b"one"), Reply(204), fresh(b"two"))
    client.get("/a/~b")
    client.request("POST", path, body=b"x")
    assert client.get("/a/~b").body == b"two"


@pytest.mark.parametrize("path", EQUIVALENT)
def test_a_location_in_any_spelling_invalidates(origin, client, path):
    origin.on("/a/~b", fresh(b"one"), fresh(b"two"))
    origin.on("/form", Reply(303, headers={"Location": path}))
    client.get("/a/~b")
    client.request("POST", "/form", body=b"x")
    assert client.get("/a/~b").body == b"two"


def test_a_malformed_escape_is_refused(origin, client):
    for path in ("/100%", "/%zz", "/%2", "/%%32e"):
        assert client.get(path).status == 400
    assert origin.count() == 0
    assert client.get("/?100%").status == 404  # the query is the origin's business


# ---- what could be either route's ----

AMBIGUOUS = ["/static/..%2faccount/me", "/static/..;/account/me", "/static/%252e%252e/account/me",
             "/account%2fme", "//account/me", "/account/..%5cx"]


@pytest.mark.parametrize("path", AMBIGUOUS)
def test_an_ambiguous_path_is_neither_stored_nor_looked_up(origin, start, path):
    verge = start(config=CONFIG)
    origin.default = fresh()
    for _ in range(2):
        response = verge.client.get(path)
        assert (response.fwd, response.cache["detail"]) == ("bypass", "ambiguous_path")
        assert not response.stored
    assert origin.count() == 2


def test_an_ambiguous_path_is_not_joined(origin, start):
    verge = start(config=CONFIG)
    gate = origin.gate()

    def answer(exchange):
        exchange.wait(gate)
        exchange.reply(fresh())

    origin.default = answer

    def ask(_):
        with verge.client.connect() as connection:
            connection.request("GET", AMBIGUOUS[0])
            if origin.count() == 0:
                eventually(lambda: origin.count() == 4, "each asks the origin itself")
                gate.set()
            return connection.response().status

    assert in_parallel(4, ask) == [200] * 4


@pytest.mark.parametrize("path", ["/static/..%2faccount/me", "/account/..%2fstatic/x", "/account/me"])
def test_what_either_route_refuses_is_refused(origin, start, path):
    client = start(config=CONFIG).client
    origin.default = Reply(200)
    assert client.request("POST", path, body=b"0123456789").status == 200
    assert client.request("POST", path, body=b"0123456789x").status == 413
    assert client.request("POST", path, body=[b"01234", b"56789x"]).status == 413


def test_the_log_keeps_what_the_client_wrote(start):
    verge = start(config=CONFIG)
    verge.client.get("/x/../%61?%61")
    line = verge.log()[0]
    assert (line["path"], line["query"]) == ("/x/../%61", "%61")


# ---- patterns ----

def test_a_route_takes_several_patterns(start):
    routes = """route /a/* /b *.png { origin app; response_header set X-Route one; }
                route /c/* { origin app; response_header set X-Route two; }"""
    client = start(site=routes).client
    names = {"/a": "one", "/a/": "one", "/a/x": "one", "/ab": None, "/b": "one", "/b/": None,
             "/c/x.png": "one", "/c": "two", "/c/x": "two", "/%61": "one"}
    assert {path: client.get(path)["X-Route"] for path in names} == names
