"""stale-while-revalidate and stale-if-error (RFC 5861)."""

import pytest

from harness import CLOSE, RESET, Reply, eventually, fresh, outlive

SWR = {"Cache-Control": "max-age=1, stale-while-revalidate=60", "ETag": '"v1"'}
SIE = {"Cache-Control": "max-age=1, stale-if-error=60"}


def test_the_client_is_answered_while_the_origin_is_asked(origin, client):
    gate = origin.gate()
    new = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 3\r\n\r\nnew"
    origin.on("/", Reply(headers=SWR, body=b"old"), [gate, new])
    client.get("/")
    outlive(1)
    response = client.get("/")
    assert response.hit and response.body == b"old" and response.cache["ttl"] <= 0
    origin.wait_for("/", 2)
    assert client.get("/").body == b"old"
    gate.set()
    eventually(lambda: client.get("/").body == b"new", "the refresh arrives")
    assert origin.count("/") == 2


def test_a_background_304_is_enough(origin, client):
    origin.on("/", Reply(headers=SWR, body=b"old"), Reply(304, {"Cache-Control": "max-age=60"}))
    client.get("/")
    outlive(1)
    assert client.get("/").body == b"old"
    eventually(lambda: client.get("/").cache.get("ttl", 0) > 0, "fresh again")
    assert origin.count("/") == 2 and origin.last()["If-None-Match"] == '"v1"'


def test_a_failed_refresh_leaves_the_stale_one(origin, client):
    origin.on("/", Reply(headers=SWR, body=b"old"), [RESET])
    client.get("/")
    outlive(1)

    def is_asked_again(n):
        assert client.get("/").body == b"old"
        return origin.count("/") >= n

    for n in range(2, 5):  # a request that comes while one refresh still fails begins no other
        eventually(lambda n=n: is_asked_again(n), f"{n} requests")


def test_outside_the_window_the_client_waits(origin, client):
    origin.on("/", Reply(headers={"Cache-Control": "max-age=1, stale-while-revalidate=1"},
                         body=b"old"), fresh(b"new"))
    client.get("/")
    outlive(2)
    assert client.get("/").body == b"new"


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_an_error_status_is_covered(origin, client, status):
    origin.on("/", Reply(headers=SIE, body=b"old"), Reply(status, body=b"error"))
    client.get("/")
    outlive(1)
    response = client.get("/")
    assert (response.status, response.body) == (200, b"old")
    assert origin.count("/") == 2


@pytest.mark.parametrize("failure", [[CLOSE], [RESET], [b"garbage\r\n\r\n"]])
def test_a_failing_origin_is_covered(origin, client, failure):
    origin.on("/", Reply(headers=SIE, body=b"old"), failure)
    client.get("/")
    outlive(1)
    response = client.get("/")
    assert (response.status, response.body) == (200, b"old")


def test_a_dead_origin_is_covered(origin, client):
    origin.on("/", Reply(headers=SIE, body=b"old"))
    client.get("/")
    outlive(1)
    origin.refuse()
    assert client.get("/").body == b"old"


def test_who_waited_with_others_gets_the_stale_one_as_well(origin, verge):
    gate = origin.gate()
    busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
    origin.on("/", Reply(headers=SIE, body=b"old"), [gate, busy])
    verge.client.get("/")
    outlive(1)
    connections = [verge.client.connect() for _ in range(3)]
    for connection in connections:
        connection.request("GET", "/")
        origin.wait_for("/", 2)
    eventually(lambda: verge.metric("verge_requests_total") >= 4, "all have come")
    gate.set()
    assert {connection.response().body for connection in connections} == {b"old"}
    assert origin.count("/") == 2


def test_a_404_is_an_answer_not_an_error(origin, client):
    origin.on("/", Reply(headers=SIE, body=b"old"), Reply(404))
    client.get("/")
    outlive(1)
    assert client.get("/").status == 404


def test_without_leave_nothing_stale_is_served(origin, client):
    origin.on("/", fresh(b"old", 1), Reply(503))
    client.get("/")
    outlive(1)
    assert client.get("/").status == 503


def test_an_error_does_not_throw_the_good_one_away(origin, client):
    origin.on("/", Reply(headers={**SIE, "ETag": '"v1"'}, body=b"old"), Reply(503),
              Reply(304, {"Cache-Control": "max-age=60"}))
    client.get("/")
    outlive(1)
    client.get("/")
    assert client.get("/").body == b"old"
    assert origin.count("/") == 3


def test_what_a_client_demands_of_caches_does_not_stop_a_refresh(origin, client):
    origin.on("/", Reply(headers=SWR, body=b"old"), fresh(b"new"))
    client.get("/")
    outlive(1)
    assert client.get("/", {"Cache-Control": "only-if-cached"}).body == b"old"
    eventually(lambda: client.get("/").body == b"new", "the refresh arrives")
    assert origin.last()["Cache-Control"] is None


@pytest.mark.parametrize("directive", ["stale_if_error 1h;", "stale_while_revalidate 1h;"])
def test_a_stored_error_never_stands_in_for_a_new_answer(origin, start, directive):
    client = start(route=f"ttl 503 1s; {directive}").client
    origin.on("/", *[Reply(503, body=f"error {n}".encode()) for n in range(3)], fresh(b"well"))
    assert client.get("/").body == b"error 0"
    assert client.get("/").hit
    for n in range(1, 3):
        outlive(1)
        assert client.get("/").body == f"error {n}".encode()
    outlive(1)
    assert client.get("/").body == b"well"


def test_nor_when_the_client_would_take_it_stale(origin, start):
    client = start(route="ttl 503 1s; stale_if_error 1h; honor_request on;").client
    origin.on("/", Reply(503, body=b"old"), Reply(503, body=b"new"))
    client.get("/")
    outlive(1)
    assert client.get("/", {"Cache-Control": "max-stale=60, stale-if-error=60"}).body == b"new"


def test_nor_for_an_origin_that_is_gone(origin, start):
    client = start(route="ttl 503 1s; stale_if_error 1h;").client
    origin.on("/", Reply(503, body=b"old"))
    client.get("/")
    outlive(1)
    origin.refuse()
    assert client.get("/").status == 502
