"""HTTP/1.0 clients and origins."""

import pytest

from harness import CLOSE, Reply, fresh

pytestmark = pytest.mark.http1

def test_the_connection_ends_after_the_response(origin, client):
    origin.on("/", Reply(body=b"x"))
    response, connection = client.raw(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
    assert (response.status, response.body) == (200, b"x")
    assert connection.ended()
    assert origin.last().version == "1.1"


def test_unless_it_asks_to_keep_it(origin, client):
    origin.on("/", Reply(body=b"x"))
    connection = client.connect()
    for _ in range(3):
        connection.send(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
        response = connection.response()
        assert response.body == b"x" and response["Connection"].lower() == "keep-alive"


def test_without_host_the_default_site_answers(origin, client):
    origin.on("/", Reply(body=b"x"))
    response, _ = client.raw(b"GET / HTTP/1.0\r\n\r\n")
    assert response.body == b"x"


def test_it_is_never_given_chunks(origin, client):
    origin.on("/", Reply(body=b"body", chunked=True))
    response, connection = client.raw(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
    assert "Transfer-Encoding" not in response.fields and response.body == b"body"
    assert connection.ended()


def test_what_another_client_stored_is_a_hit(origin, client):
    origin.on("/", fresh(b"body", chunked=True))
    client.get("/")
    response, _ = client.raw(b"GET / HTTP/1.0\r\nHost: test.example\r\n\r\n")
    assert response.hit and response.body == b"body"


def test_an_origin_of_old(origin, client):
    head = b"HTTP/1.0 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 4\r\n\r\nbody"
    origin.on("/", [head, CLOSE])
    assert client.get("/").body == b"body"
    assert client.get("/").hit


def test_the_via_of_an_old_client_says_so(origin, client):
    client.raw(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
    assert origin.last()["Via"] == "1.0 verge"
