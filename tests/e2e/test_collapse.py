"""Many clients, one cold URL, one origin request; and when that is not to be."""

import threading

import pytest

from harness import CLOSE, DEADLINE_S, RESET, Reply, Truncated, fresh, in_parallel, pattern
from harness.util import BUILD

MANY = 100 if BUILD else 1000
HEAD = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: %d\r\n\r\n"


def ask(verge, target="/"):
    with verge.client.connect() as connection:
        connection.request("GET", target)
        return connection.response()


def held(origin, body=b"body"):
    """An answer that comes when the gate is opened."""
    gate = origin.gate()
    origin.on("/", [gate, HEAD % len(body) + body])
    return gate


def test_a_thousand_clients_make_one_origin_request(origin, verge):
    gate = held(origin)
    connections = [verge.client.connect() for _ in range(MANY)]
    for connection in connections:
        connection.request("GET", "/")
    origin.wait_for("/")
    gate.set()
    responses = [connection.response() for connection in connections]
    assert {(r.status, r.body) for r in responses} == {(200, b"body")}
    assert origin.count("/") == 1
    assert any(r.cache.get("collapsed") for r in responses)


def test_joiners_read_the_body_while_it_arrives(origin, verge):
    gate = origin.gate()
    origin.on("/", [HEAD % 200_000 + pattern(100_000), gate, pattern(100_000, 100_000)])
    connections = [verge.client.connect() for _ in range(20)]
    for connection in connections:
        connection.request("GET", "/")
        assert connection.head().status == 200
        assert connection.read(100_000) == pattern(100_000)
    gate.set()
    for connection in connections:
        assert connection.read(100_000) == pattern(100_000, 100_000)
    assert origin.count("/") == 1


@pytest.mark.parametrize("ending", [CLOSE, RESET])
def test_when_the_origin_dies_half_way_nobody_gets_a_short_200(origin, verge, ending):
    gate = origin.gate()
    origin.on("/", [HEAD % 1000 + pattern(500), gate, ending], fresh(b"whole"))
    connections = [verge.client.connect() for _ in range(50)]
    for connection in connections:
        connection.request("GET", "/")
        connection.head()
    gate.set()
    for connection in connections:
        with pytest.raises(Truncated):
            connection.read(1000)
    assert verge.client.get("/").body == b"whole"


def test_when_the_origin_dies_before_the_head_everybody_is_answered(origin, verge):
    gate = origin.gate()
    origin.on("/", [gate, RESET], fresh(b"whole"))
    connections = [verge.client.connect() for _ in range(50)]
    for connection in connections:
        connection.request("GET", "/")
    origin.wait_for("/")
    gate.set()
    for connection in connections:
        response = connection.response()
        assert (response.status, response.body) == (200, b"whole") or response.status == 502


def test_known_uncacheable_pages_never_serialise(origin, verge):
    """The barrier opens only when all of them are at the origin at the same time."""
    clients = 10
    together = threading.Barrier(clients)

    def private(exchange):
        together.wait(DEADLINE_S)
        exchange.reply(Reply(headers={"Cache-Control": "private"}, body=b"mine"))

    origin.on("/", Reply(headers={"Cache-Control": "private"}, body=b"mine"), private)
    verge.client.get("/")
    assert {r.body for r in in_parallel(clients, lambda _: ask(verge))} == {b"mine"}
    assert origin.count("/") == clients + 1


def test_those_who_waited_for_an_uncacheable_answer_are_all_released_at_once(origin, verge):
    clients = 10
    together = threading.Barrier(clients - 1)
    gate = origin.gate()

    def second(exchange):
        together.wait(DEADLINE_S)
        exchange.reply(Reply(headers={"Cache-Control": "private"}, body=b"own"))

    origin.on("/", [gate, b"HTTP/1.1 200 OK\r\nCache-Control: private\r\nContent-Length: 3\r\n\r\nown"],
              second)
    connections = [verge.client.connect() for _ in range(clients)]
    for connection in connections:
        connection.request("GET", "/")
    origin.wait_for("/")
    gate.set()
    assert {c.response().body for c in connections} == {b"own"}
    assert origin.count("/") == clients


def test_a_page_that_becomes_cacheable_is_cached_again(origin, client):
    origin.on("/", Reply(headers={"Cache-Control": "private"}), fresh(b"all"))
    client.get("/")
    client.get("/")
    assert client.get("/").hit


def test_the_first_client_may_leave(origin, verge):
    gate = origin.gate()
    origin.on("/", [HEAD % 1000 + pattern(500), gate, pattern(500, 500)])
    first, second = verge.client.connect(), verge.client.connect()
    first.request("GET", "/")
    first.head()
    second.request("GET", "/")
    assert second.head().status == 200
    first.reset()
    gate.set()
    assert second.read(1000) == pattern(1000)
    assert origin.count("/") == 1


def test_other_urls_do_not_wait(origin, verge):
    gate = held(origin)
    origin.on("/other", fresh(b"other"))
    waiting = verge.client.connect()
    waiting.request("GET", "/")
    origin.wait_for("/")
    assert verge.client.get("/other").body == b"other"
    gate.set()
    assert waiting.response().body == b"body"


def test_unsafe_methods_are_never_collapsed(origin, verge):
    together = threading.Barrier(5)

    def answer(exchange):
        exchange.read_body()
        together.wait(DEADLINE_S)
        exchange.reply(Reply(body=exchange.request.body))

    def post(i):
        with verge.client.connect() as connection:
            connection.request("POST", "/", body=b"%d" % i)
            return connection.response().body

    origin.on("/", answer)
    assert in_parallel(5, post) == [b"%d" % i for i in range(5)]


def test_an_origin_in_trouble_is_asked_once_for_all_who_wait(origin, verge):
    gate = origin.gate()
    error = b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"
    origin.on("/", [gate, error], fresh(b"well"))
    connections = [verge.client.connect() for _ in range(50)]
    for connection in connections:
        connection.request("GET", "/")
    origin.wait_for("/")
    gate.set()
    assert {connection.response().status for connection in connections} <= {503, 200}
    assert origin.count("/") <= 2
    assert verge.client.get("/").body == b"well"
