"""Requests that do not wait for the answer before them."""

import pytest

from harness import Reply, fresh

pytestmark = pytest.mark.http1

HOST = b"Host: a.example\r\n"


def get(target):
    return b"GET %s HTTP/1.1\r\n%s\r\n" % (target, HOST)


def test_answers_come_in_the_order_of_the_requests(origin, client):
    for n in range(50):
        origin.on(f"/{n}", Reply(body=b"%d" % n))
    connection = client.connect()
    connection.send(b"".join(get(b"/%d" % n) for n in range(50)))
    assert [connection.response().body for _ in range(50)] == [b"%d" % n for n in range(50)]


def test_a_hit_waits_behind_a_miss(origin, client):
    gate = origin.gate()
    origin.on("/fast", fresh(b"fast"))
    origin.on("/slow", [gate, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow"])
    client.get("/fast")
    connection = client.connect()
    connection.send(get(b"/slow") + get(b"/fast"))
    origin.wait_for("/slow")
    gate.set()
    assert [connection.response().body for _ in range(2)] == [b"slow", b"fast"]


def test_a_body_ends_where_the_next_request_begins(origin, client):
    origin.on("/up", lambda x: x.reply(Reply(body=x.read_body())))
    origin.on("/", Reply(body=b"next"))
    connection = client.connect()
    connection.send(b"POST /up HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nGET /" + get(b"/") +
                    b"POST /up HTTP/1.1\r\n" + HOST +
                    b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" + get(b"/"))
    assert [connection.response().body for _ in range(4)] == [b"GET /", b"next", b"abc", b"next"]


def test_a_request_byte_by_byte(origin, client):
    origin.on("/", Reply(body=b"x"))
    connection = client.connect()
    for byte in get(b"/") + get(b"/"):
        connection.send(bytes([byte]))
    assert [connection.response().body for _ in range(2)] == [b"x", b"x"]


def test_nothing_is_answered_after_close(origin, client):
    origin.on("/", Reply(body=b"x"))
    connection = client.connect()
    connection.send(b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n" + get(b"/second"))
    assert connection.response().body == b"x"
    assert connection.ended()
    assert origin.count("/second") == 0


def test_an_error_ends_the_row(origin, client):
    origin.on("/", Reply(body=b"x"))
    connection = client.connect()
    connection.send(get(b"/") + b"broken\r\n\r\n" + get(b"/third"))
    assert [connection.response().status for _ in range(2)] == [200, 400]
    assert connection.ended()
    assert origin.count("/third") == 0


def test_many_answers_without_bodies_at_once(origin, client):
    origin.on("/", fresh(b"body"))
    client.get("/")
    connection = client.connect()
    connection.method = "HEAD"
    connection.send(b"HEAD / HTTP/1.1\r\n" + HOST + b"\r\n" +
                    (b"HEAD / HTTP/1.1\r\n" + HOST + b"\r\n") * 1999)
    assert {connection.response().status for _ in range(2000)} == {200}
