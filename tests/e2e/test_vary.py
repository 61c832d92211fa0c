"""Variants, and the request fields that choose them."""

import pytest

from harness import Reply, eventually, fresh, outlive


def by(name):
    """An origin whose body is the request's value of that field."""
    def answer(exchange):
        value = exchange.request[name]
        body = b"absent" if value is None else value.encode()
        exchange.reply(fresh(body, headers={"Vary": name}))
    return answer


def test_each_value_has_its_variant(origin, client):
    origin.on("/", by("X-Kind"))
    for _ in range(2):
        assert client.get("/", {"X-Kind": "a"}).body == b"a"
        assert client.get("/", {"X-Kind": "b"}).body == b"b"
    assert origin.count("/") == 2


def test_another_variant_is_a_vary_miss(origin, client):
    origin.on("/", by("X-Kind"))
    assert client.get("/", {"X-Kind": "a"}).fwd == "uri-miss"
    assert client.get("/", {"X-Kind": "b"}).fwd == "vary-miss"
    assert client.get("/", {"X-Kind": "a"}).hit


def test_absent_is_not_empty(origin, client):
    origin.on("/", by("X-Kind"))
    assert [client.get("/", h).body for h in ({}, {"X-Kind": ""}, {})] == [b"absent", b"", b"absent"]
    assert origin.count("/") == 2


def test_names_are_compared_without_case(origin, client):
    origin.on("/", by("x-KIND"))
    client.get("/", {"X-Kind": "a"})
    assert client.get("/", {"x-kind": "a"}).hit


@pytest.mark.parametrize("value", ["*", "Accept, *", "*, Accept"])
def test_a_star_is_never_reused(origin, client, value):
    origin.on("/", fresh(headers={"Vary": value}))
    assert not client.get("/").stored
    assert client.get("/").fwd and origin.count("/") == 2


def test_a_star_on_a_second_line_counts(origin, client):
    origin.on("/", fresh(headers=[("Vary", "Accept"), ("Vary", "*")]))
    assert not client.get("/").stored


def test_all_lines_and_all_names_count(origin, client):
    origin.on("/", fresh(headers=[("Vary", "X-A, X-B"), ("Vary", "X-C")]))
    values = {"X-A": "1", "X-B": "2", "X-C": "3"}
    client.get("/", values)
    for name in values:
        assert client.get("/", {**values, name: "other"}).fwd == "vary-miss"
    assert client.get("/", values).hit


def test_several_lines_of_a_request_field_are_one_list(origin, client):
    origin.on("/", fresh(headers={"Vary": "X-Kind"}))
    client.get("/", [("X-Kind", "a"), ("X-Kind", "b")])
    assert client.get("/", {"X-Kind": "a, b"}).hit


@pytest.mark.parametrize("one, other", [
    ("gzip, br", "br,gzip"), ("gzip", "gzip;q=0.5"), ("gzip", "GZIP"), ("gzip", "gzip, deflate"),
    ("br;q=0, gzip", "gzip"),
])
def test_accept_encoding_is_normalised(origin, client, one, other):
    origin.on("/", fresh(headers={"Vary": "Accept-Encoding"}))
    client.get("/", {"Accept-Encoding": one})
    assert client.get("/", {"Accept-Encoding": other}).hit


def test_who_accepts_no_encoding_is_not_given_any(origin, client):
    origin.on("/", fresh(b"zipped", headers={"Vary": "Accept-Encoding", "Content-Encoding": "gzip"}),
              fresh(b"plain", headers={"Vary": "Accept-Encoding"}))
    client.get("/", {"Accept-Encoding": "gzip"})
    for value in ({}, {"Accept-Encoding": "identity"}, {"Accept-Encoding": "gzip;q=0"}):
        assert client.get("/", value).body == b"plain"


def test_the_latest_vary_decides(origin, client):
    """A response that varies by more than the one before it must not hide behind that one."""
    origin.on("/", fresh(b"one", headers={"Vary": "X-A"}), fresh(b"two", headers={"Vary": "X-B"}))
    client.get("/", {"X-A": "1", "X-B": "1"})
    client.get("/", {"X-A": "2", "X-B": "1"})
    assert client.get("/", {"X-A": "2", "X-B": "1"}).body == b"two"
    assert client.get("/", {"X-A": "3", "X-B": "1"}).body == b"two"


def test_many_variants_are_all_answered_rightly(origin, client):
    origin.on("/", by("X-Kind"))
    for kind in list(range(100)) * 2:
        assert client.get("/", {"X-Kind": str(kind)}).body == b"%d" % kind


def test_an_uncacheable_variant_leaves_the_other(origin, client):
    private = Reply(headers={"Vary": "X-Kind", "Cache-Control": "private"}, body=b"mine")
    origin.on("/", fresh(b"all", headers={"Vary": "X-Kind"}), private)
    client.get("/")
    assert client.get("/", {"X-Kind": "a"}).body == b"mine"
    assert client.get("/").hit


@pytest.mark.parametrize("name", ["X-Forwarded-For", "forwarded", "X-Real-IP", "Via", "CDN-Loop"])
def test_what_the_node_writes_itself_is_in_no_key(origin, client, name):
    """The origin sees it for every client, the client sends none."""
    origin.on("/", fresh(headers={"Vary": f"Accept, {name}"}))
    assert not client.get("/").stored
    client.get("/")
    assert origin.count("/") == 2


VARIES = {"Cache-Control": "max-age=60", "Vary": "X-Kind", "ETag": '"v1"'}


@pytest.mark.parametrize("before", ["", "X-Other"], ids=["none", "other"])
@pytest.mark.parametrize("update", [Reply(304, VARIES), Reply(headers=VARIES, body=b"for a")], ids=["304", "200"])
def test_what_begins_to_vary_answers_nobody_else_any_more(origin, client, before, update):
    """Neither the old one nor the new one is for the second kind, though the old one may be used stale."""
    old = {"Cache-Control": "max-age=1, stale-while-revalidate=600", "ETag": '"v1"'}
    origin.on("/", Reply(headers={**old, **({"Vary": before} if before else {})}, body=b"for a"), update,
              Reply(headers={**VARIES, "ETag": '"v2"'}, body=b"for b"))
    client.get("/", {"X-Kind": "a"})
    outlive(1)
    assert client.get("/", {"X-Kind": "a"}).body == b"for a"
    eventually(lambda: client.get("/", {"X-Kind": "a"}).cache.get("ttl", 0) > 0, "fresh again")
    other = client.get("/", {"X-Kind": "b"})
    assert other.body == b"for b" and other.fwd == "vary-miss"
    assert client.get("/", {"X-Kind": "a"}).hit and client.get("/", {"X-Kind": "b"}).hit
    assert origin.count("/") == 3
