"""Connections that go on, on both sides, and those that must not."""

import pytest

from harness import CLOSE, Reply, fresh


def test_many_requests_on_one_connection(origin, client):
    origin.on("/", Reply(body=b"x"))
    connection = client.connect()
    for _ in range(100):
        connection.request("GET", "/")
        assert connection.response().body == b"x"
    assert origin.count() == 100


def test_the_origin_connection_is_reused(origin, client):
    for _ in range(10):
        client.get("/")
    assert origin.connections == 1


def test_an_origin_that_closes_after_each_response_is_no_matter(origin, client):
    origin.on("/", [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx", CLOSE])
    connection = client.connect()
    for _ in range(5):
        connection.request("GET", "/")
        response = connection.response()
        assert response.body == b"x" and "Connection" not in response.fields
    assert origin.connections == 5


@pytest.mark.http1
def test_a_client_that_asks_for_close_gets_it(origin, client):
    connection = client.connect()
    connection.request("GET", "/", {"Connection": "close"})
    assert connection.response()["Connection"] == "close"
    assert connection.ended()
    assert origin.last()["Connection"] != "close"


@pytest.mark.parametrize("status", [204, 301, 304, 404, 500])
def test_the_status_does_not_end_a_connection(origin, client, status):
    origin.on("/", Reply(status))
    connection = client.connect()
    for _ in range(3):
        connection.request("GET", "/")
        assert connection.response().status == (502 if status == 304 else status)  # which nobody asked for


@pytest.mark.http1
def test_a_client_that_closes_its_half_still_gets_its_answer(origin, client):
    origin.on("/", Reply(body=b"x"))
    connection = client.connect()
    connection.request("GET", "/")
    connection.end_sending()
    assert connection.response().body == b"x"
    assert connection.ended()


def test_a_connection_without_a_request_may_just_close(verge):
    verge.client.connect().close()
    verge.client.connect().reset()
    assert verge.client.get("/").status == 404


def test_a_hit_and_a_miss_share_a_connection(origin, client):
    origin.on("/hit", fresh(b"hit"))
    origin.on("/miss", Reply(body=b"miss"))
    connection = client.connect()
    for target in ["/hit", "/miss"] * 5:
        connection.request("GET", target)
        assert connection.response().body == target[1:].encode()
