"""A miss, then hits."""

import pytest

from harness import Reply, fresh, pattern


def test_a_miss_then_a_hit_with_age(origin, client):
    origin.on("/a", fresh(b"one", 60))
    miss, hit = client.get("/a"), client.get("/a")
    assert (miss.fwd, miss.cache["fwd-status"], miss.stored) == ("uri-miss", 200, True)
    assert 0 < miss.cache["ttl"] <= 60 and 0 < hit.cache["ttl"] <= 60
    assert hit.hit and "fwd" not in hit.cache
    assert (hit.status, hit.body) == (200, b"one")
    assert 0 <= int(hit["Age"]) < 60
    assert origin.count("/a") == 1


def test_without_freshness_nothing_is_stored_and_nothing_invented(origin, client):
    origin.on("/", Reply(body=b"x"))
    for _ in range(2):
        response = client.get("/")
        assert response.fwd == "uri-miss" and not response.stored
        assert "Cache-Control" not in response.fields and "Expires" not in response.fields
    assert origin.count("/") == 2


def as_seen(protocol, fields):
    """In HTTP/2 and HTTP/3 no name has upper case, and the origin is sent the usual one."""
    return fields if protocol.startswith("h1") else [(name.lower(), value) for name, value in fields]


def test_fields_pass_untouched_in_order_and_case(origin, client, protocol):
    ours = [("X-One", "1"), ("x-two", 'a, "b"'), ("X-One", "3"), ("X-Eight", "caf\xe9")]
    origin.on("/", fresh(headers=ours))
    for response in (client.get("/"), client.get("/")):
        got = [f for f in response.fields if f[0].lower().startswith("x-")]
        assert got == as_seen(protocol, ours)


def test_request_fields_pass_untouched(origin, client, protocol):
    ours = [("X-One", "1"), ("x-two", 'a, "b"'), ("X-One", "3"), ("Accept", "*/*")]
    client.get("/", ours)
    names = {name.lower() for name, _ in ours}
    got = [f for f in origin.last().fields if f[0].lower() in names]
    assert as_seen(protocol, got) == as_seen(protocol, ours)


@pytest.mark.parametrize("size", [0, 1, 1000, 65536, 65537, 3_000_000])
def test_every_size_comes_back_whole(origin, client, size):
    origin.on("/", fresh(pattern(size)))
    miss, hit = client.get("/"), client.get("/")
    assert miss.body == hit.body == pattern(size)
    assert hit.hit and hit["Content-Length"] == str(size)


def test_every_connection_finds_it_whichever_worker_it_meets(origin, verge):
    origin.on("/", fresh())
    assert verge.client.get("/").status == 200
    for _ in range(20):
        with verge.client.connect() as connection:
            connection.request("GET", "/")
            assert connection.response().hit
    assert origin.count("/") == 1


def test_the_query_is_part_of_the_key(origin, client):
    origin.on("/?a=1", fresh(b"one"))
    origin.on("/?a=2", fresh(b"two"))
    assert [client.get(f"/?a={n}").body for n in (1, 2, 1, 2)] == [b"one", b"two"] * 2
    assert origin.count() == 2


@pytest.mark.parametrize("one, other", [
    ("/?ab", "/a?b"), ("/a%2Fb", "/a/b"), ("/A", "/a"), ("/a", "/a/"), ("/a", "/a?"),
])
def test_different_targets_have_different_keys(origin, client, one, other):
    for target in (one, other):
        origin.on(target, fresh(target.encode()))
    assert [client.get(t).body for t in (one, other, one, other)] == \
        [one.encode(), other.encode()] * 2


def test_the_host_is_part_of_the_key(origin, client):
    origin.on("/", fresh(b"one"), fresh(b"two"))
    bodies = [client.get("/", {"Host": h}).body for h in ("a.example", "b.example", "A.Example")]
    assert bodies == [b"one", b"two", b"one"]


def test_the_default_port_is_not_part_of_the_key(origin, client, protocol):
    port = 80 if protocol == "h1" else 443
    origin.on("/", fresh())
    client.get("/", {"Host": "a.example"})
    assert client.get("/", {"Host": f"a.example:{port}"}).hit
    assert not client.get("/", {"Host": "a.example:81"}).hit


def test_a_received_age_is_added_to(origin, client):
    origin.on("/", fresh(seconds=100, headers={"Age": "40"}))
    miss, hit = client.get("/"), client.get("/")
    assert 0 < miss.cache["ttl"] <= 60
    assert 40 <= int(hit["Age"]) < 100 and len(hit.fields.all("Age")) == 1


def test_a_configured_ttl_is_used_where_the_response_says_nothing(origin, start):
    client = start(route="ttl 200 1h;").client
    origin.on("/silent", Reply(body=b"x"))
    origin.on("/says", Reply(headers={"Cache-Control": "no-store"}))
    assert 3500 < client.get("/silent").cache["ttl"] <= 3600
    assert client.get("/silent").hit
    assert not client.get("/says").stored
