"""Many clients, one cold URL, one origin request; and when that is not to be."""

import itertools
import threading

import pytest

from harness import CLOSE, DEADLINE_S, MEGABYTE, RESET, Reply, Truncated, eventually, fresh, in_parallel, pattern
from harness.util import BUILD
from harness.wire import chunk, last_chunk

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


MUST_BE_VALIDATED = {
    "no-cache": {"Cache-Control": "no-cache"},
    "no-cache beside max-age": {"Cache-Control": "no-cache, max-age=60"},
    "max-age of zero": {"Cache-Control": "max-age=0"},
    "s-maxage of zero": {"Cache-Control": "s-maxage=0, max-age=60"},
    "Expires of zero": {"Expires": "0"},
    "must-revalidate": {"Cache-Control": "max-age=0, must-revalidate"},
    "no longer fresh": {"Cache-Control": "max-age=60", "Age": "61"},
}


def opened_together(clients, answer):
    """An answer that comes only once so many requests are at the origin at the same time."""
    together = threading.Barrier(clients)

    def run(exchange):
        together.wait(DEADLINE_S)
        answer(exchange)
    return run


def numbered(headers, status=200):
    """Each answer has a number of its own for its body."""
    numbers = itertools.count(1)

    def answer(exchange):
        exchange.reply(Reply(status, headers, b"page %d" % next(numbers)))
    return answer


def all_wait(origin, verge, gate, clients, headers=()):
    """The responses to so many requests, the first of which is at the origin, behind the gate, when the others come."""
    connections = [verge.client.connect() for _ in range(clients)]
    for connection in connections:
        connection.request("GET", "/", headers)
        origin.wait_for("/")
    eventually(lambda: verge.metric("verge_requests_total") >= clients, "all requests have come")
    gate.set()
    return [connection.response() for connection in connections]


@pytest.mark.parametrize("headers", MUST_BE_VALIDATED.values(), ids=MUST_BE_VALIDATED.keys())
def test_who_waited_for_what_must_be_validated_asks_for_itself_with_the_others(origin, verge,
                                                                               headers):
    headers = {**headers, "ETag": '"v1"'}
    gate, page = origin.gate(), numbered(headers)

    def first(exchange):
        exchange.wait(gate)
        page(exchange)

    origin.on("/", first, opened_together(3, page))
    responses = all_wait(origin, verge, gate, 4)
    assert sorted(r.body for r in responses) == [b"page %d" % n for n in range(1, 5)]
    assert not any(r.cache.get("collapsed") for r in responses)


def test_what_is_known_to_need_validation_is_validated_for_each_at_once(origin, verge):
    fields = {"Cache-Control": "no-cache", "ETag": '"v1"'}
    not_modified = opened_together(4, lambda exchange: exchange.reply(Reply(304, fields)))
    origin.on("/", Reply(headers=fields, body=b"page"), not_modified)
    verge.client.get("/")
    responses = in_parallel(4, lambda _: ask(verge))
    assert {(r.status, r.body) for r in responses} == {(200, b"page")}
    assert [r["If-None-Match"] for r in origin.requests] == [None] + 4 * ['"v1"']


PRIVATE_FIELDS = {
    "by configuration": ("store_set_cookie on;", ()),
    "private": ("", [("Cache-Control", 'private="set-cookie"')]),
    "no-cache": ("", [("Cache-Control", 'no-cache="set-cookie"')]),
}


@pytest.mark.parametrize("status", [500, 503])
@pytest.mark.parametrize("route, headers", PRIVATE_FIELDS.values(), ids=PRIVATE_FIELDS.keys())
def test_an_error_that_is_shared_keeps_what_is_private_to_itself(origin, start, route, headers,
                                                                 status):
    node, gate = start(route=route), origin.gate()
    headers = [*headers, ("Set-Cookie", "session=first")]

    def answer(exchange):
        exchange.wait(gate)
        exchange.reply(Reply(status, headers, b"busy"))

    origin.on("/", answer)
    responses = all_wait(origin, node, gate, 3)
    assert {(r.status, r.body) for r in responses} == {(status, b"busy")}
    assert origin.count("/") == 1
    assert [r["Set-Cookie"] for r in responses] == ["session=first", None, None]


@pytest.mark.parametrize("directive", ["no-cache", "max-age=0", "must-revalidate"])
def test_an_error_that_must_be_validated_is_not_shared(origin, verge, directive):
    gate, page = origin.gate(), numbered({"Cache-Control": directive}, 503)

    def first(exchange):
        exchange.wait(gate)
        page(exchange)

    origin.on("/", first, opened_together(2, page))
    assert sorted(r.body for r in all_wait(origin, verge, gate, 3)) == [b"page 1", b"page 2", b"page 3"]


@pytest.mark.parametrize("kind", ["text/event-stream", "Text/Event-Stream; charset=utf-8",
                                  "multipart/x-mixed-replace;boundary=x"])
def test_a_stream_of_events_is_each_clients_own(origin, start, kind):
    """Whoever waits for it, comes while it runs, or asks for a range of it."""
    node, gate, end = start(route="ttl 200 60m;"), origin.gate(), origin.gate()
    head = (f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nCache-Control: max-age=60\r\n"
            "ETag: \"v1\"\r\nTransfer-Encoding: chunked\r\n\r\n").encode()
    numbers = itertools.count(1)

    def stream(exchange):
        exchange.wait(gate)
        exchange.send(head + chunk(b"events of %d;" % next(numbers)))
        exchange.wait(end)
        exchange.send(last_chunk())

    origin.on("/", stream)
    connections = [node.client.connect() for _ in range(4)]
    for connection, headers in zip(connections, [{}, {}, {"Range": "bytes=0-3"}, {"Range": "bytes=-3"}]):
        connection.request("GET", "/", headers)
        origin.wait_for("/")
    eventually(lambda: node.metric("verge_requests_total") >= 4, "all have come")
    gate.set()
    connections.append(node.client.connect())
    connections[-1].request("GET", "/")
    assert {connection.head().status for connection in connections} == {200}
    assert len({connection.read(12) for connection in connections}) == len(connections)
    end.set()
    for connection in connections:
        connection.rest()
    assert node.metric("verge_cache_objects") == 0


def test_what_does_not_end_is_not_stored_for_long(origin, start):
    node, end = start(cache="endless_after 1s;", route="ttl 200 60m;"), origin.gate()
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    numbers = itertools.count(1)

    def stream(exchange):
        exchange.send(head + chunk(b"line %d;" % next(numbers)))
        exchange.wait(end)
        exchange.send(last_chunk())

    origin.on("/", stream)
    first, second, third = (node.client.connect() for _ in range(3))
    first.request("GET", "/")
    assert first.head().status == 200
    eventually(lambda: node.metric("verge_cache_endless_total") == 1, "it is taken for endless")
    for connection in (second, third):
        connection.request("GET", "/")
        assert connection.head().status == 200
    assert [connection.read(7) for connection in (first, second, third)] == [b"line %d;" % n for n in (1, 2, 3)]
    end.set()
    for connection in (first, second, third):
        assert connection.rest() == b""
    eventually(lambda: node.client.get("/").hit, "it has ended in time, and is stored again")


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


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=0-1,4-5"}], ids=["marker", "ranges"])
def test_the_first_client_may_leave_what_was_fetched_for_it_alone(origin, start, headers):
    """It is stored at first, so that another joins; then it is too large, and goes on for that one."""
    node = start(memory="16M")
    first_part, too_much = origin.gate(), origin.gate()
    head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = [chunk(pattern(MEGABYTE, n * MEGABYTE)) for n in range(8)]
    large = [head + pieces[0], first_part, *pieces[1:4], too_much, *pieces[4:], last_chunk()]
    private = Reply(headers={"Cache-Control": "private"})
    origin.on("/", *([large] if headers else [private, large]))
    if not headers:
        node.client.get("/")
    first, second = node.client.connect(), node.client.connect()
    first.request("GET", "/", headers)
    assert first.head().status == 200
    assert first.read(MEGABYTE) == pattern(MEGABYTE)
    second.request("GET", "/")
    assert second.head().status == 200
    first_part.set()
    for connection, done in ((first, 1), (second, 0)):
        assert connection.read((4 - done) * MEGABYTE) == pattern((4 - done) * MEGABYTE, done * MEGABYTE)
    first.reset()
    eventually(lambda: node.metric("verge_cache_readers_live") == 1, "the first one has left")
    too_much.set()
    assert second.rest() == pattern(4 * MEGABYTE, 4 * MEGABYTE)
    assert origin.count("/") == (1 if headers else 2)


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
