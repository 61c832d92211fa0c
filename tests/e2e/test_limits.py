"""Every limit has its answer, and what it stopped never reaches the origin."""

import socket

import pytest

from harness import DEADLINE_S, Reply, Truncated, eventually, fresh, outlive, pattern


def over(connection):
    """What cannot be parsed any further ends its connection, or only its stream where there are such."""
    return connection.multiplexed or connection.ended()


def limits(text):
    return {"top": f"limits {{ {text} }}"}


def test_a_long_target_is_414(origin, client):
    connection = client.connect()
    connection.request("GET", "/" + "a" * 20_000)
    assert connection.response().status == 414 and over(connection)
    assert origin.count() == 0


def test_a_target_within_the_limit_passes(origin, client):
    target = "/" + "a" * 8000
    assert client.get(target).status == 404 and origin.last().target == target


@pytest.mark.parametrize("fields", [
    [("A", "a" * 40_000)], [("A", "a" * 1000)] * 40, [("A", "b")] * 101,
], ids=["one large field", "large in sum", "too many"])
def test_large_fields_are_431(origin, client, fields):
    connection = client.connect()
    connection.request("GET", "/", fields)
    assert connection.response().status == 431 and over(connection)
    assert origin.count() == 0


def test_what_is_refused_shows_in_the_log(start, protocol):
    node = start()
    assert node.client.get("/here", {"X": "y" * 40000}).status == 431
    assert node.log()[0]["line"] == "GET /here" + (" HTTP/1.1" if protocol.startswith("h1") else "")


def test_a_large_body_is_413(origin, start):
    client = start(route="body_size 1000;").client
    origin.on("/", Reply(body=b"x"))
    assert client.request("POST", "/", body=bytes(1000)).status == 200
    connection = client.connect()
    connection.begin("POST", "/", length=1001)
    assert connection.response().status == 413 and over(connection)
    assert origin.count("/") == 1


def test_a_large_body_without_a_length_is_413(origin, start):
    client = start(route="body_size 1000;").client
    connection = client.connect()
    connection.begin("POST", "/")
    connection.write(bytes(1001))
    assert connection.response().status == 413 and over(connection)
    assert [r for r in origin.requests if r.body is not None] == []


@pytest.mark.http1
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_who_sends_all_before_reading_sees_the_413(origin, start, chunked):
    """However much that is: nothing that was left unread resets the connection before the answer."""
    client = start(route="body_size 1K;").client
    for _ in range(4):
        connection = client.connect()
        connection.begin("POST", "/", length=None if chunked else 5_000_000)
        for _ in range(50):
            connection.write(bytes(100_000))
        connection.finish()
        assert connection.response().status == 413
        connection.close()
    assert [r for r in origin.requests if r.body is not None] == []


@pytest.mark.http1
@pytest.mark.parametrize("options", ["linger_timeout 100ms;", "rate_min 1M;"], ids=["too long", "too slow"])
def test_who_sends_on_and_on_is_closed(origin, start, options):
    node = start(route="body_size 1K;", **limits(options))
    connection = node.client.connect()
    connection.begin("POST", "/", length=1_000_000_000)
    assert connection.response().status == 413

    def is_closed():
        try:
            connection.send(bytes(100))
        except OSError:
            return True

    eventually(is_closed, "the node has had enough")


def test_an_expectation_of_too_much_is_413_before_the_body(origin, start):
    client = start(route="body_size 1000;").client
    connection = client.connect()
    connection.begin("POST", "/", {"Expect": "100-continue"}, length=5000)
    response = connection.response()
    assert response.status == 413 and response.interim == []


@pytest.mark.http1
def test_a_head_that_takes_too_long_is_408(origin, start):
    client = start(**limits("header_timeout 200ms;")).client
    response, connection = client.raw(b"GET / HTTP/1.1\r\nHost: a")
    assert response.status == 408 and connection.ended()
    assert origin.count() == 0


def test_a_body_that_stands_still_is_408(origin, start):
    client = start(**limits("body_timeout 200ms;")).client
    connection = client.connect()
    connection.begin("POST", "/", length=10)
    connection.write(b"abc")
    assert connection.response().status == 408 and over(connection)
    assert [r for r in origin.requests if r.body is not None] == []


def test_an_idle_connection_is_closed_without_a_word(origin, start):
    client = start(**limits("idle_timeout 200ms;")).client
    assert client.connect().ended()
    connection = client.connect()
    connection.request("GET", "/")
    assert connection.response().status == 404
    assert connection.ended()


def test_a_client_that_takes_nothing_is_closed(origin, start):
    node = start(**limits("send_timeout 200ms;"))
    origin.on("/", Reply(body=pattern(20_000_000)))
    connection = node.client.connect(receive_buffer_bytes=4096)
    connection.request("GET", "/")
    eventually(lambda: node.metric("verge_errors_total", error="client_slow"), "it is given up")
    with pytest.raises(Truncated):
        connection.response()


def test_requests_per_connection(origin, start):
    client = start(**limits("requests_per_connection 3;")).client
    connection = client.connect()
    for n in range(3):
        connection.request("GET", "/")
        closes = connection.response()["Connection"] == "close"
        assert closes == (n == 2 and not connection.multiplexed)
    assert connection.ended()


def held(origin, node, count):
    """Connections with a request each that is not answered yet, and what lets the answers go."""
    gate = origin.gate()
    origin.on("/held", [gate, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"])
    connections = [node.client.connect() for _ in range(count)]
    for connection in connections:
        connection.request("POST", "/held", body=b"x")
    origin.wait_for("/held", count)
    return connections, gate


def is_admitted(node):
    try:
        with node.client.connect() as connection:
            connection.request("GET", "/")
            return connection.response().status == 404
    except (OSError, Truncated):
        return False


@pytest.mark.http1
@pytest.mark.parametrize("name", ["connections", "connections_per_client"])
def test_too_many_connections_are_503(origin, start, name):
    node = start(**limits(f"{name} 4;"))
    connections, gate = held(origin, node, 4)
    extra = node.client.connect()
    assert extra.response().status == 503 and extra.ended()
    gate.set()
    assert [c.response().status for c in connections] == [404] * 4
    connections.pop().close()
    eventually(lambda: is_admitted(node), "a place is free again")


@pytest.mark.parametrize("workers", [1, 2])
def test_idle_connections_make_room(start, workers):
    """However many come, each is answered; who waits longest without asking for anything has to go."""
    node = start(top=f"limits {{ connections 4; }} workers {workers};")
    connections = []
    for _ in range(12):
        connections.append(node.client.connect())
        connections[-1].request("GET", "/")
        assert connections[-1].response().status == 404
        outlive(0)  # so that it is plain which is idle for longer
        eventually(lambda: node.metric("verge_connections_live") <= 6, "the oldest has gone")
    assert all(connection.ended() for connection in connections[:8])
    connections[-1].request("GET", "/")
    assert connections[-1].response().status == 404
    assert node.metric("verge_connections_expired_total") == 8
    assert node.metric("verge_connections_refused_total") == 0


def test_who_is_served_is_not_closed_to_make_room(origin, start):
    node = start(**limits("connections 4;"))
    connections, gate = held(origin, node, 3)
    for _ in range(5):
        eventually(lambda: is_admitted(node), "the only idle one makes room")
    gate.set()
    assert [c.response().status for c in connections] == [404] * 3


def test_connections_that_never_said_a_word_make_room(start, scheme):
    node = start(**limits("connections 4;"))
    silent = [socket.create_connection(("127.0.0.1", node.port), DEADLINE_S) for _ in range(20)]
    eventually(lambda: is_admitted(node), "they do not keep others out")
    for sock in silent:
        sock.close()


def test_a_client_with_too_many_makes_no_room_at_others_cost(origin, start):
    """Its own limit is judged first."""
    node = start(**limits("connections 4; connections_per_client 3;"))
    connections = [node.client.connect() for _ in range(3)]
    for connection in connections:
        connection.request("GET", "/")
        assert connection.response().status == 404
    assert not is_admitted(node)
    connections[0].request("GET", "/")
    assert connections[0].response().status == 404
    assert node.metric("verge_connections_expired_total") == 0


def test_an_object_beyond_the_limit_passes_without_being_stored(origin, start):
    client = start(cache="object_max 64K;").client
    origin.on("/", fresh(pattern(100_000)))
    for _ in range(2):
        response = client.get("/")
        assert response.body == pattern(100_000) and not response.stored
    assert origin.count("/") == 2


def test_the_same_when_its_length_is_not_known_before(origin, start):
    client = start(cache="object_max 64K;").client
    origin.on("/", fresh(pattern(300_000), chunked=True))
    assert [client.get("/").body for _ in range(2)] == [pattern(300_000)] * 2
    assert origin.count("/") == 2


def test_the_memory_budget_is_kept(origin, start):
    node = start(config="""
        cache { memory 4M; }
        origin app { server 127.0.0.1:$origin_port; }
        site * { listen 127.0.0.1:$port; route * { origin app; } }
        admin { listen 127.0.0.1:$admin_port; }""")
    for n in range(200):
        origin.on(f"/{n}", fresh(pattern(100_000, n)))
        assert node.client.get(f"/{n}").body == pattern(100_000, n)
        assert node.metric("verge_cache_bytes") <= 4 << 20
    assert node.metric("verge_cache_evictions_total") > 0
    assert node.client.get("/199").body == pattern(100_000, 199)


def test_origin_connections_are_capped(origin, start):
    node = start(origin="connections_max 2;")
    gate = origin.gate()
    origin.on("/", [gate, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"])
    connections = [node.client.connect() for _ in range(6)]
    for i, connection in enumerate(connections):
        connection.request("POST", "/", body=b"%d" % i)
    origin.wait_for("/", 2)
    eventually(lambda: node.metric("verge_responses_total", **{"class": "5xx"}) == 4, "the others are refused")
    gate.set()
    assert {c.response().status for c in connections} <= {200, 503}
    assert origin.connections <= 2
