"""Clients that read slowly, or not at all, cost others nothing and the node little."""

import threading

import pytest

from harness import Reply, Truncated, eventually, fresh, pattern
from harness.wire import chunk, last_chunk

MEGABYTE = 1 << 20
TOTAL = 128 * MEGABYTE


class Pouring:
    """An origin that sends without end in sight and tells how far it came."""

    def __init__(self, cache_control):
        self.sent, self.moved = 0, threading.Event()
        self.head = (f"HTTP/1.1 200 OK\r\nCache-Control: {cache_control}\r\n"
                     f"Content-Length: {TOTAL}\r\n\r\n").encode()

    def __call__(self, exchange):
        exchange.read_body()
        exchange.send(self.head)
        while self.sent < TOTAL:
            exchange.send(bytes(MEGABYTE))
            self.sent += MEGABYTE
            self.moved.set()

    def stalls(self):
        """Waits until nothing moves for a second; returns how much had been sent by then."""
        while self.sent < TOTAL:
            self.moved.clear()
            if not self.moved.wait(1):
                break
        return self.sent


@pytest.mark.parametrize("cache_control", ["private", "max-age=60"])
def test_the_origin_is_held_back_and_then_all_arrives(origin, client, cache_control):
    pouring = Pouring(cache_control)
    origin.on("/", pouring)
    connection = client.connect(receive_buffer_bytes=4096)
    connection.request("GET", "/")
    origin.wait_for("/")
    assert pouring.stalls() < TOTAL / 2, "the node took it all while nobody read"
    connection.head()
    assert sum(len(connection.read(MEGABYTE)) for _ in range(TOTAL // MEGABYTE)) == TOTAL


def pieces_of(size):
    return [chunk(pattern(MEGABYTE, at)) for at in range(0, size, MEGABYTE)] + [last_chunk()]


@pytest.mark.parametrize("size", [6 * MEGABYTE, 24 * MEGABYTE], ids=["6M", "24M"])
@pytest.mark.parametrize("length", [True, False], ids=["length", "chunked"])
def test_who_stops_reading_does_not_hold_up_what_memory_cannot_store(origin, start, length, size):
    """That is known at the head or found out on the way; a disk takes the smaller one."""
    node = start(memory="16M", top="limits { send_timeout 10m; rate_min 0; }")
    gate = origin.gate()
    framing = f"Content-Length: {size}" if length else "Transfer-Encoding: chunked"
    head = f"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nETag: \"v1\"\r\n{framing}\r\n\r\n".encode()
    origin.on("/", [gate, head, *([pattern(size)] if length else pieces_of(size))])
    slow, fast = node.client.connect(receive_buffer_bytes=4096), node.client.connect()
    for connection in (slow, fast):
        connection.request("GET", "/")
        origin.wait_for("/")
    eventually(lambda: node.metric("verge_requests_total") == 2, "both have come")
    gate.set()
    assert slow.head().status == 200
    assert fast.response().body == pattern(size)
    eventually(lambda: node.metric("verge_cache_bytes") < 16 * MEGABYTE, "nothing is kept for the slow one")
    try:
        assert slow.rest() == pattern(size)
    except Truncated as broken_off:
        assert broken_off.body == pattern(len(broken_off.body))


def test_a_fast_client_does_not_wait_for_a_slow_one(origin, verge):
    body = pattern(5 * MEGABYTE)
    origin.on("/", fresh(body))
    slow = verge.client.connect(receive_buffer_bytes=4096)
    slow.request("GET", "/")
    origin.wait_for("/")
    assert verge.client.get("/").body == body
    assert slow.response().body == body
    assert origin.count("/") == 1


def test_many_slow_clients_of_a_hit(origin, verge):
    body = pattern(MEGABYTE)
    origin.on("/", fresh(body))
    verge.client.get("/")
    slow = [verge.client.connect(receive_buffer_bytes=4096) for _ in range(50)]
    for connection in slow:
        connection.request("GET", "/")
    assert verge.client.get("/").hit
    assert all(connection.response().body == body for connection in slow)


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_a_client_that_leaves_ends_an_uncacheable_fetch(origin, verge, leave):
    origin.on("/", Pouring("private"))
    connection = verge.client.connect(receive_buffer_bytes=4096)
    connection.request("GET", "/")
    connection.head()
    getattr(connection, leave)()
    eventually(lambda: verge.metric("verge_origin_fetches_live") == 0, "the fetch ends")


def test_a_client_that_leaves_during_a_hit(origin, verge):
    origin.on("/", fresh(pattern(5 * MEGABYTE)))
    verge.client.get("/")
    connection = verge.client.connect(receive_buffer_bytes=4096)
    connection.request("GET", "/")
    connection.head()
    connection.reset()
    eventually(lambda: verge.metric("verge_cache_readers_live") == 0, "the reader ends")
    assert verge.client.get("/").hit


def test_an_idle_client_holds_up_nobody(origin, verge):
    origin.on("/", Reply(body=b"x"))
    idle = [verge.client.connect() for _ in range(200)]
    assert verge.client.get("/").body == b"x"
    for connection in idle:
        connection.request("GET", "/")
        assert connection.response().body == b"x"
