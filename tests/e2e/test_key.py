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
