"""Key policy: what of a request names the stored response. What is keyed is what is sent."""

import pytest

from harness import fresh


@pytest.mark.parametrize("directive, asked, sent, same", [
    ("key_query none;", "/?a=1&b=2", "/", "/?c=3"),
    ("key_query keep a;", "/?b=2&a=1", "/?a=1", "/?a=1&c=3"),
    ("key_query drop utm_* fbclid;", "/?a=1&utm_x=9&fbclid=7", "/?a=1", "/?utm_y=1&a=1"),
    ("key_sort on;", "/?b=2&a=1", "/?a=1&b=2", "/?a=1&b=2"),
    ("key_sort on; key_query drop utm_*;", "/?b=2&utm_x=9&a=1", "/?a=1&b=2", "/?a=1&b=2"),
])
def test_the_query(origin, start, directive, asked, sent, same):
    client = start(route=directive).client
    origin.on("/", fresh())
    assert client.get(asked).stored
    assert origin.last().target == sent
    assert client.get(same).hit


def test_a_header(origin, start):
    client = start(route="key_header X-Device;").client
    origin.on("/", fresh(b"one"), fresh(b"two"))
    bodies = [client.get("/", {"X-Device": kind}).body for kind in ("tv", "phone", "tv")]
    assert bodies == [b"one", b"two", b"one"]


def test_a_cookie(origin, start):
    client = start(route="key_cookie lang;").client
    origin.on("/", fresh(b"one"), fresh(b"two"))
    cookies = ["id=1; lang=de", "lang=fr", "lang=de; id=2"]
    assert [client.get("/", {"Cookie": c}).body for c in cookies] == [b"one", b"two", b"one"]


def test_the_key_is_told_on_request(origin, start):
    client = start(route="cache_status_key on;").client
    assert "/a?b" in client.get("/a?b").cache["key"]


def test_it_is_not_told_otherwise(client):
    assert "key" not in client.get("/a?b").cache


def test_cookies_by_how_they_begin(origin, start):
    client = start(route="key_cookie wordpress_logged_in_*;").client
    origin.on("/", lambda x: x.reply(fresh((x.request["Cookie"] or "nobody").encode())))
    joe, ann = ("wordpress_logged_in_1f=joe", "a=b; wordpress_logged_in_1f=ann")
    for cookie, hit in ((None, False), (joe, False), (ann, False), (joe, True), (None, True)):
        response = client.get("/", {"Cookie": cookie} if cookie else {})
        assert (response.body.decode(), bool(response.hit)) == (cookie or "nobody", hit)


def test_fields_by_how_they_begin(origin, start):
    client = start(route="key_header X-Geo-*;").client
    origin.on("/", lambda x: x.reply(fresh((x.request["X-Geo-City"] or "none").encode())))
    for city, hit in (("Bonn", False), ("Bern", False), ("Bonn", True), (None, False)):
        response = client.get("/", {"X-Geo-City": city} if city else {})
        assert (response.body.decode(), bool(response.hit)) == (city or "none", hit)


@pytest.mark.parametrize("cookie", ["cur = USD", "cur=EUR; cur=USD", "CUR=USD", "a=b,cur=USD", 'a="b; cur=USD',
                                    "%63ur=USD"])
def test_what_origins_read_in_two_ways_is_shared_with_nobody_else(origin, start, cookie):
    """Whichever of the two the origin reads: it is keyed as it was sent."""
    client = start(route="key_cookie cur;").client
    origin.on("/", fresh(b"theirs"), fresh(b"mine"))
    assert client.get("/", {"Cookie": cookie}).body == b"theirs"
    for mine in ({}, {"Cookie": "cur=EUR"}, {"Cookie": "cur=USD"}):
        assert client.get("/", mine).body == b"mine"
    assert client.get("/", {"Cookie": cookie}).hit


def test_two_lines_are_not_one(origin, start):
    client = start(route="key_header X-Lang Accept-Language;").client
    for name in ("X-Lang", "Accept-Language"):
        path = f"/?{name}"
        origin.on(path, fresh(b"two lines"), fresh(b"one"))
        assert client.get(path, [(name, "de"), (name, "en")]).body == b"two lines"
        assert client.get(path, [(name, "de, en")]).body == b"one"
