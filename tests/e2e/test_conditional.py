"""Preconditions of clients, answered from what is stored."""

import pytest

from harness import Reply, fresh

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


def test_a_404_is_not_turned_into_304(origin, client):
    origin.on("/", Reply(404, {"Cache-Control": "max-age=60", "ETag": '"v1"'}, b"none"))
    client.get("/")
    assert client.get("/", {"If-None-Match": '"v1"'}).status == 404


def test_preconditions_of_unsafe_methods_are_the_origins(origin, client):
    origin.on("/", Reply(412))
    assert client.request("PUT", "/", {"If-Match": '"v1"'}, b"x").status == 412
    assert origin.last()["If-Match"] == '"v1"'
