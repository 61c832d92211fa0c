"""Preconditions of clients, answered from what is stored."""

import pytest

from harness import Reply, fresh, outlive

DATE = "Mon, 01 Jan 2024 00:00:00 GMT"
EARLIER, LATER = "Sun, 31 Dec 2023 23:59:59 GMT", "Mon, 01 Jan 2024 00:00:01 GMT"
VALIDATORS = {"ETag": '"v1"', "Last-Modified": DATE}


@pytest.fixture
def stored(origin, client):
    origin.on("/", fresh(b"body", headers=VALIDATORS))
    assert client.get("/").stored
    yield client
    assert origin.count("/") == 1


@pytest.mark.parametrize("value, status", [
    ('"v1"', 304), ('W/"v1"', 304), ('"v2"', 200), ('"v0", "v1"', 304), ('"v0","v2"', 200),
    ("*", 304), ('"a,b", "v1"', 304), ("v1", 200),
])
def test_if_none_match(stored, value, status):
    assert stored.get("/", {"If-None-Match": value}).status == status


@pytest.mark.parametrize("value, status", [
    (DATE, 304), (LATER, 304), (EARLIER, 200), ("nonsense", 200),
    ("Monday, 01-Jan-24 00:00:00 GMT", 304), ("Mon Jan  1 00:00:00 2024", 304),
])
def test_if_modified_since(stored, value, status):
    assert stored.get("/", {"If-Modified-Since": value}).status == status


def test_if_none_match_goes_before_if_modified_since(stored):
    assert stored.get("/", {"If-None-Match": '"v2"', "If-Modified-Since": LATER}).status == 200
    assert stored.get("/", {"If-None-Match": '"v1"', "If-Modified-Since": EARLIER}).status == 304


def test_several_lines_of_if_none_match_are_one_list(stored):
    headers = [("If-None-Match", '"v0"'), ("If-None-Match", '"v1"')]
    assert stored.get("/", headers).status == 304


def test_a_304_says_what_it_must_and_has_no_body(stored):
    response = stored.get("/", {"If-None-Match": '"v1"'})
    assert response.body == b"" and response.hit
    assert response["ETag"] == '"v1"' and response["Cache-Control"] == "max-age=60"
    assert "Age" in response.fields


def test_head_is_conditional_too(stored):
    assert stored.get("/", {"If-None-Match": '"v1"'}, method="HEAD").status == 304


def test_a_condition_on_a_miss_does_not_keep_it_from_being_answered(origin, client):
    def conditional(exchange):
        matches = exchange.request["If-None-Match"] == '"v1"'
        exchange.reply(Reply(304, VALIDATORS) if matches else fresh(b"body", headers=VALIDATORS))

    origin.on("/", conditional)
    assert client.get("/", {"If-None-Match": '"v1"'}).status == 304
    response = client.get("/")
    assert (response.status, response.body) == (200, b"body")


def test_conditions_on_what_is_not_stored_are_the_origins(origin, client):
    """Once it is known not to be: nobody else waits for such a response."""
    fields = {"Cache-Control": "private", "ETag": '"v1"', "Last-Modified": DATE}

    def answer(exchange):
        request = exchange.request
        if request["If-Match"] == '"v0"':
            exchange.reply(Reply(412, fields))
        elif request["If-None-Match"] == '"v1"' or request["If-Modified-Since"] == DATE:
            exchange.reply(Reply(304, fields))
        else:
            exchange.reply(Reply(200, fields, b"mine"))

    origin.on("/", answer)
    assert client.get("/").body == b"mine"
    for condition, status in (({"If-None-Match": '"v1"'}, 304), ({"If-None-Match": '"v0"'}, 200),
                              ({"If-Modified-Since": DATE}, 304), ({"If-Match": '"v0"'}, 412),
                              ({"If-Match": '"v1"'}, 200)):
        for method in ("GET", "HEAD"):
            response = client.get("/", condition, method=method)
            name, value = next(iter(condition.items()))
            assert (response.status, origin.last()[name]) == (status, value)
            assert response.body == (b"mine" if status == 200 and method == "GET" else b"")
            assert response["ETag"] == '"v1"' and not response.hit
    assert origin.count("/") == 11


def test_a_404_is_not_turned_into_304(origin, client):
    origin.on("/", Reply(404, {"Cache-Control": "max-age=60", "ETag": '"v1"'}, b"none"))
    client.get("/")
    assert client.get("/", {"If-None-Match": '"v1"'}).status == 404


def test_preconditions_of_unsafe_methods_are_the_origins(origin, client):
    origin.on("/", Reply(412))
    assert client.request("PUT", "/", {"If-Match": '"v1"'}, b"x").status == 412
    assert origin.last()["If-Match"] == '"v1"'


# ---- what a cache does not evaluate (RFC 9111 section 4.3.2)





@pytest.mark.parametrize("range_", [{}, {"Range": "bytes=0-1"}], ids=["whole", "range"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("name, fails, holds", [("If-Match", '"v2"', '"v1"'),
                                                ("If-Unmodified-Since", EARLIER, DATE)])
def test_whether_it_may_be_changed_is_the_origins_to_say(origin, client, range_, method, name, fails, holds):
    """Where the stored one fulfils the condition it answers; else only the origin knows what there is now."""
    origin.on("/", fresh(b"body", headers={"ETag": '"v1"', "Last-Modified": DATE}))
    client.get("/")
    origin.on("/", Reply(412, {"X-From": "origin"}), fresh(b"changed", headers={"ETag": '"v2"'}))
    assert client.get("/", {name: holds, **range_}, method=method).hit
    refused = client.get("/", {name: fails, **range_}, method=method)
    assert (refused.status, refused["X-From"]) == (412, "origin")
    assert origin.last()[name] == fails and origin.last()["Range"] == range_.get("Range")
    passed = client.get("/", {name: fails, **range_}, method=method)
    assert passed.status == 200 and passed.body == (b"changed" if method == "GET" else b"")
    assert origin.count("/") == 3


def test_so_it_is_where_nothing_is_stored(origin, client):
    origin.on("/", Reply(412), fresh(b"body"))
    assert client.get("/", {"If-Match": '"v1"'}).status == 412
    assert origin.last()["If-Match"] == '"v1"'
    assert client.get("/").body == b"body"


def test_so_it_is_where_what_is_stored_turns_out_to_have_changed(origin, client):
    origin.on("/", fresh(b"old", 1, {"ETag": '"v1"'}), fresh(b"new", 60, {"ETag": '"v2"'}), Reply(412))
    client.get("/")
    outlive(1)
    assert client.get("/", {"If-Match": '"v1"'}).status == 412
    assert origin.last()["If-Match"] == '"v1"'
    assert client.get("/").body == b"new"


def test_with_only_if_cached_there_is_no_origin_to_say_it(origin, client):
    origin.on("/", fresh(b"body", headers={"ETag": '"v1"'}))
    client.get("/")
    asking = {"If-Match": '"v2"', "Cache-Control": "only-if-cached"}
    assert client.get("/", asking).status == 504
    assert origin.count("/") == 1
