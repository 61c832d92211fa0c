"""Unsafe methods make what is stored for their URL invalid (RFC 9111 section 4.4)."""

import pytest

from harness import Reply, disk, fresh, store, wait_until_stored


def stored(origin, client, *targets):
    for target in targets:
        origin.on(target, fresh())
        client.get(target)
        assert client.get(target).hit


@pytest.mark.parametrize("body", [b"select", [b"select"], None])
def test_a_query_is_safe(origin, client, body):
    """RFC 10008: it asks with a body, and changes nothing."""
    origin.on("/", fresh(b"stored"))
    client.get("/")
    response = client.request("QUERY", "/", body=body)
    assert (response.status, response.fwd, response.stored) == (200, "method", False)
    assert (origin.last().method, origin.last().body) == ("QUERY", b"select" if body else b"")
    assert client.get("/").hit


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "X-UNKNOWN"])
@pytest.mark.parametrize("status", [200, 201, 204, 303])
def test_success_invalidates(origin, client, method, status):
    stored(origin, client, "/a", "/b")
    origin.on("/a", Reply(status), fresh(b"new"))
    assert client.request(method, "/a", body=b"x").status == status
    assert client.get("/a").body == b"new"
    assert client.get("/b").hit


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_an_error_does_not(origin, client, status):
    stored(origin, client, "/a")
    origin.on("/a", Reply(status))
    client.request("POST", "/a", body=b"x")
    assert client.get("/a").hit


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE"])
def test_safe_methods_do_not(origin, start, method):
    client = start(route="trace pass;").client
    stored(origin, client, "/a")
    client.get("/a", method=method)
    assert client.get("/a").hit


@pytest.mark.parametrize("name", ["Location", "Content-Location"])
@pytest.mark.parametrize("value", ["/b", "$scheme://test.example/b", "//test.example/b", "b"])
def test_what_the_response_names_on_the_same_host(origin, client, scheme, name, value):
    stored(origin, client, "/b")
    origin.on("/a", Reply(201, {name: value.replace("$scheme", scheme)}))
    client.request("POST", "/a", body=b"x")
    assert not client.get("/b").hit


@pytest.mark.parametrize("value", ["http://other.example/b", "//other.example/b",
                                   "http://test.example:81/b"])
def test_another_host_is_left_alone(origin, client, value):
    stored(origin, client, "/b")
    for host in ("other.example", "test.example:81"):
        client.get("/b", {"Host": host})
    origin.on("/a", Reply(201, {"Location": value}))
    client.request("POST", "/a", body=b"x")
    for host in ("test.example", "other.example", "test.example:81"):
        assert client.get("/b", {"Host": host}).hit


def test_all_variants_go(origin, client):
    origin.on("/", fresh(headers={"Vary": "X-Kind"}))
    for kind in "ab":
        client.get("/", {"X-Kind": kind})
    client.request("POST", "/", body=b"x")
    for kind in "ab":
        assert not client.get("/", {"X-Kind": kind}).hit


def test_a_fill_that_began_before_is_not_kept(origin, verge):
    """What the origin said before the change may not outlive it."""
    gate = origin.gate()
    old = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 3\r\n\r\nold"
    origin.on("/", [gate, old], Reply(204), fresh(b"new"))
    early = verge.client.connect()
    early.request("GET", "/")
    origin.wait_for("/")
    assert verge.client.request("POST", "/", body=b"x").status == 204
    gate.set()
    assert early.response().body == b"old"
    assert verge.client.get("/").body == b"new"


def test_the_counter_tells(origin, verge):
    stored(origin, verge.client, "/")
    verge.client.request("DELETE", "/")
    assert verge.metric("verge_cache_invalidations_total") == 1


@pytest.mark.own_disk
def test_references_on_the_disk_are_forgotten_there_too(origin, start):
    """Two processes later, and whether memory has them or only the disk."""
    verge = start(**disk())
    names = ["/b", "/c", "/d"]
    for name in names:
        origin.on(name, fresh(b"old"))
    store(verge, *names)
    origin.on("/a", Reply(303, {"Location": "/b", "Content-Location": "/c"}))
    assert verge.client.request("POST", "/a", body=b"x").status == 303
    for name in names:
        origin.on(name, fresh(b"new"))
    assert [verge.client.get(name).hit for name in names] == [False, False, True]
    wait_until_stored(verge, 5)
    verge.restart()
    assert [verge.client.get(name).body for name in names] == [b"new", b"new", b"old"]
    verge.restart()
    verge.client.request("POST", "/a", body=b"x")  # what only the disk has
    assert [verge.client.get(name).hit for name in names] == [False, False, True]
