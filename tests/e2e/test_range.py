"""Ranges: cut from what is stored; test_slices has those of what is not."""

import re

import pytest

from harness import Reply, fresh, pattern

BODY = pattern(1000)
ETAG = '"v1"'
DATE = "Mon, 01 Jan 2024 00:00:00 GMT"


@pytest.fixture
def stored(origin, client):
    origin.on("/", fresh(BODY, headers={"ETag": ETAG, "Last-Modified": DATE}))
    assert client.get("/").stored
    yield client
    assert origin.count("/") == 1


def ranged(exchange):
    """An origin that answers single ranges itself."""
    match = re.fullmatch(r"bytes=([0-9]+)-([0-9]+)", exchange.request["Range"] or "")
    headers = {"Cache-Control": "max-age=60", "ETag": ETAG}
    if not match:
        exchange.reply(Reply(headers=headers, body=BODY))
        return
    first, last = int(match[1]), min(int(match[2]), len(BODY) - 1)
    headers["Content-Range"] = f"bytes {first}-{last}/{len(BODY)}"
    exchange.reply(Reply(206, headers, BODY[first:last + 1]))


def parts_of(response):
    """(Content-Range, bytes) of each part of a multipart/byteranges body."""
    boundary = re.fullmatch(r'multipart/byteranges; ?boundary="?([^"]+)"?', response["Content-Type"])
    first, *parts = response.body.split(b"--" + boundary[1].encode())
    assert parts.pop().strip() == b"--"
    heads = [part.partition(b"\r\n\r\n") for part in parts]
    return [(re.search(rb"(?i)content-range: ([^\r]+)", head)[1].decode(), data[:-2])
            for head, _, data in heads]


@pytest.mark.parametrize("wanted, first, last", [
    ("0-0", 0, 0), ("0-99", 0, 99), ("500-599", 500, 599), ("990-", 990, 999), ("-10", 990, 999),
    ("0-", 0, 999), ("900-5000", 900, 999), ("-5000", 0, 999), ("999-999", 999, 999),
])
def test_a_single_range(stored, wanted, first, last):
    response = stored.get("/", {"Range": f"bytes={wanted}"})
    assert (response.status, response.body) == (206, BODY[first:last + 1])
    assert response["Content-Range"] == f"bytes {first}-{last}/1000"
    assert response["ETag"] == ETAG and response.hit


@pytest.mark.parametrize("wanted", ["1000-", "1000-2000", "-0", "5000-"])
def test_an_unsatisfiable_range_is_416(stored, wanted):
    response = stored.get("/", {"Range": f"bytes={wanted}"})
    assert response.status == 416
    assert response["Content-Range"] == "bytes */1000"


@pytest.mark.parametrize("value", ["bytes=5-4", "bytes=a-b", "bytes=", "lines=0-5", "bytes 0-5",
                                   "bytes=--5", "bytes=0-5;"])
def test_what_is_no_range_is_ignored(stored, value):
    response = stored.get("/", {"Range": value})
    assert (response.status, response.body) == (200, BODY)


def test_several_ranges(stored):
    response = stored.get("/", {"Range": "bytes=0-9, 500-509, -10"})
    assert response.status == 206 and "Content-Range" not in response.fields
    assert parts_of(response) == [("bytes 0-9/1000", BODY[:10]),
                                  ("bytes 500-509/1000", BODY[500:510]),
                                  ("bytes 990-999/1000", BODY[990:])]


def test_unsatisfiable_ones_are_left_out_of_several(stored):
    response = stored.get("/", {"Range": "bytes=0-9, 5000-6000"})
    assert response.status == 206
    got = [(response["Content-Range"], response.body)] if response["Content-Range"] \
        else parts_of(response)
    assert got == [("bytes 0-9/1000", BODY[:10])]


def test_very_many_ranges_cost_no_more_than_the_whole(stored):
    response = stored.get("/", {"Range": "bytes=" + ",".join(["0-"] * 500)})
    assert response.status in (200, 206, 416)
    assert len(response.body) <= 2 * len(BODY)


@pytest.mark.parametrize("validator, status", [
    (ETAG, 206), ('"v2"', 200), ('W/"v1"', 200), (DATE, 206),
    ("Mon, 01 Jan 2024 00:00:01 GMT", 200), ("nonsense", 200),
])
def test_if_range(stored, validator, status):
    response = stored.get("/", {"Range": "bytes=0-9", "If-Range": validator})
    assert (response.status, response.body) == (status, BODY[:10] if status == 206 else BODY)


def test_a_precondition_goes_before_a_range(stored):
    assert stored.get("/", {"Range": "bytes=0-9", "If-None-Match": ETAG}).status == 304


def test_head_takes_no_range(stored):
    response = stored.get("/", {"Range": "bytes=0-9"}, method="HEAD")
    assert response.status == 200 and response["Content-Length"] == "1000"


def test_a_cold_range_is_answered_as_a_range(origin, client):
    origin.on("/", ranged)
    response = client.get("/", {"Range": "bytes=10-19"})
    assert (response.status, response.body) == (206, BODY[10:20])
    assert response["Content-Range"] == "bytes 10-19/1000"


def test_a_part_is_never_given_for_the_whole(origin, client):
    origin.on("/", ranged)
    client.get("/", {"Range": "bytes=10-19"})
    response = client.get("/")
    assert (response.status, response.body) == (200, BODY)


def test_a_range_of_what_may_not_be_stored(origin, client):
    def uncacheable(exchange):
        assert exchange.request["Range"] == "bytes=0-4"
        exchange.reply(Reply(206, {"Content-Range": "bytes 0-4/1000"}, BODY[:5]))

    origin.on("/", Reply(headers={"Cache-Control": "private"}, body=BODY), uncacheable)
    client.get("/")
    response = client.get("/", {"Range": "bytes=0-4"})
    assert (response.status, response.body) == (206, BODY[:5])


def test_a_part_that_nobody_asked_for_is_for_nobody_else(origin, client):
    part = Reply(206, {"Cache-Control": "max-age=60", "ETag": ETAG, "Content-Range": "bytes 0-0/4"}, b"b")
    origin.on("/", part, fresh(b"body"))
    assert not client.get("/").stored
    assert (client.get("/").status, client.get("/").body) == (200, b"body")


@pytest.mark.parametrize("status", [400, 404, 410, 416, 500])
def test_an_answer_to_a_range_says_nothing_of_the_whole(origin, client, status):
    origin.on("/", Reply(status, {"Cache-Control": "max-age=60"}), fresh(b"body"))
    assert not client.get("/", {"Range": "bytes=zz"}).stored
    assert client.get("/").body == b"body"


def test_several_ranges_of_a_200_that_says_content_range(origin, client):
    """It means nothing there (RFC 9110 section 14.4); in the 206 it would be wrong."""
    origin.on("/", fresh(b"0123456789", headers={"Content-Range": "bytes 0-9/10"}))
    client.get("/")
    response = client.get("/", {"Range": "bytes=0-1, 5-6"})
    assert response.status == 206 and response["Content-Range"] is None
    assert response.body.count(b"Content-Range: bytes ") == 2
    assert client.get("/", {"Range": "bytes=5-6"})["Content-Range"] == "bytes 5-6/10"


@pytest.mark.parametrize("etag", ['"v1"', 'W/"v1"'])
def test_a_part_that_is_forwarded_is_not_stored_for_its_status(origin, start, etag):
    client = start(cache="slice off;").client
    origin.on("/", Reply(206, {"Cache-Control": "max-age=60", "ETag": etag, "Content-Range": "bytes 0-1/10"}, b"01"))
    assert client.get("/", {"Range": "bytes=0-1"}).cache["detail"] == "status"
