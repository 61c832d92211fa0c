"""Request bodies: streamed, with backpressure, with 100-continue."""

import pytest

from harness import Reply, eventually, pattern

MEGABYTE = 1 << 20


def echo(exchange):
    exchange.reply(Reply(body=exchange.read_body()))


@pytest.mark.parametrize("size", [0, 1, 65536, 5_000_000])
def test_a_body_with_a_length(origin, client, size):
    origin.on("/", echo)
    assert client.request("POST", "/", body=pattern(size)).body == pattern(size)
    assert origin.last()["Content-Length"] == str(size)


def test_a_chunked_body_with_trailers(origin, client):
    origin.on("/", echo)
    response = client.request("PUT", "/", body=[pattern(70_000), b"end"], trailers=[("X-Sum", "1")])
    assert response.body == pattern(70_000) + b"end"
    assert [(name.lower(), value) for name, value in origin.last().trailers] == [("x-sum", "1")]


def test_the_origin_sees_the_first_bytes_before_the_last_are_sent(origin, client):
    started = origin.gate()

    def read_start(exchange):
        assert exchange.stream.exactly(3) == b"abc"
        started.set()
        assert exchange.stream.exactly(3) == b"def"
        exchange.request.body = b"abcdef"
        exchange.reply(Reply(body=b"done"))

    origin.on("/", read_start)
    connection = client.connect()
    connection.begin("POST", "/", length=6)
    connection.write(b"abc")
    eventually(started.is_set, "the origin has the first half")
    connection.write(b"def")
    connection.finish()
    assert connection.response().body == b"done"


def test_a_slow_origin_holds_the_client_back(origin, client):
    gate = origin.gate()

    def read_late(exchange):
        exchange.wait(gate)
        exchange.reply(Reply(body=b"%d" % len(exchange.read_body())))

    origin.on("/", read_late)
    total = 128 * MEGABYTE
    connection = client.connect()
    connection.begin("POST", "/", length=total)
    sent = connection.push(bytes(total))
    assert sent < total / 2, "the node took it all while nobody read"
    gate.set()
    connection.write(bytes(total - sent))
    connection.finish()
    assert connection.response().body == b"%d" % total


def test_continue_comes_before_the_body(origin, client):
    origin.on("/", echo)
    connection = client.connect()
    connection.begin("POST", "/", {"Expect": "100-continue"}, length=3)
    assert connection.interim().status == 100
    connection.write(b"abc")
    connection.finish()
    assert connection.response().body == b"abc"


def test_a_body_sent_without_waiting_for_continue(origin, client):
    origin.on("/", echo)
    response = client.request("POST", "/", {"Expect": "100-continue"}, b"abc")
    assert response.body == b"abc"


def test_another_expectation_is_417(origin, client):
    response = client.request("POST", "/", {"Expect": "200-ok"}, b"abc")
    assert response.status == 417
    assert origin.count() == 0


def test_an_early_answer_reaches_a_client_that_still_sends(origin, client):
    refusal = b"HTTP/1.1 413 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"
    origin.on("/", lambda x: x.send(refusal))
    connection = client.connect()
    connection.begin("POST", "/", length=10)
    connection.write(b"abc")
    response = connection.response()
    assert (response.status, response.body) == (413, b"no")


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_a_client_that_leaves_half_way_never_makes_a_whole_request(origin, client, leave):
    origin.on("/", echo)
    connection = client.connect()
    connection.begin("POST", "/", length=10)
    connection.write(b"abc")
    origin.wait_for("/")
    getattr(connection, leave)()
    assert client.request("POST", "/", body=b"whole").body == b"whole"
    assert [r.body for r in origin.requests if r.body is not None] == [b"whole"]


def test_a_body_with_get_passes(origin, client):
    origin.on("/", echo)
    assert client.request("GET", "/", body=b"query").body == b"query"
