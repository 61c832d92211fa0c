"""HTTP/3 and QUIC themselves: what is malformed, what is too much, what moves, and how things end."""

import os
import signal
import socket

import pytest

from harness import CLOSE, DEADLINE_S, H2Connection, Reply, Truncated, eventually, fresh, pattern
from harness.h3 import (CANCEL_PUSH, CLOSED_CRITICAL_STREAM, CONTROL, DATA, EARLY, EXCESSIVE_LOAD, FRAME_ERROR,
                        FRAME_UNEXPECTED, GENERAL_PROTOCOL_ERROR, GOAWAY, HEADERS, ID_ERROR, MAX_PUSH_ID,
                        MESSAGE_ERROR, MISSING_SETTINGS, NO_ERROR, PRIORITY_UPDATE, PUSH, QPACK_DECODER,
                        QPACK_ENCODER, REQUEST_INCOMPLETE, REQUEST_REJECTED, RESUMED, SETTINGS, SETTINGS_ERROR,
                        STREAM_CREATION_ERROR, frame, headers, varint)
from harness.malformed import GET, LENGTHS, MALFORMED, POST, TRAILERS, is_refused, whole_requests
from harness.qpack import encode, integer

MEGABYTE = 1 << 20
QPACK_FAILED, QPACK_ENCODER_ERROR, QPACK_DECODER_ERROR = 0x200, 0x201, 0x202
CONNECTION_REFUSED = 2  # of the transport
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc"


@pytest.fixture
def connection(verge):
    return verge.client.connect()


def outcome(stream):
    """What becomes of a request: ("response", status), ("reset", code), or ("closed", how and code)."""
    try:
        return "response", stream.head().status
    except Truncated as broken:
        return ("reset", broken.code) if broken.code is not None else ("closed", stream.connection.closed_with)


def get(connection, target="/"):
    stream = connection.open()
    stream.request("GET", target)
    return outcome(stream)


def closed(connection):
    """Waits for the node to end the connection; how, and with which code."""
    connection.ended()
    return connection.closed_with


# ---- one request that is not right

@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_request_is_an_error_of_its_stream(origin, connection, name):
    origin.on("/", Reply(body=b"x"))
    assert is_refused(outcome(connection.open_raw(headers(MALFORMED[name]))), MESSAGE_ERROR)
    assert origin.count() == 0
    assert get(connection) == ("response", 200)


@pytest.mark.parametrize("name", TRAILERS)
def test_malformed_trailers_make_no_whole_request(origin, connection, name):
    origin.on("/", lambda exchange: exchange.reply(Reply(body=exchange.read_body())))
    stream = connection.open_raw(headers(POST) + frame(DATA, b"abc") + headers(TRAILERS[name]))
    assert is_refused(outcome(stream), MESSAGE_ERROR)
    assert get(connection) == ("response", 200)
    assert [request.method for request in whole_requests(origin)] == ["GET"]


@pytest.mark.parametrize("name", LENGTHS)
def test_a_body_that_is_not_as_long_as_it_says_is_never_a_whole_request(origin, connection, name):
    origin.on("/", lambda exchange: exchange.reply(Reply(body=exchange.read_body())))
    stream = connection.open_raw(headers(POST + LENGTHS[name]) + frame(DATA, b"abcde"))
    assert is_refused(outcome(stream), MESSAGE_ERROR)
    assert get(connection) == ("response", 200)
    assert [request.method for request in whole_requests(origin)] == ["GET"]


@pytest.mark.parametrize("cut", range(1, 9))
def test_a_priority_in_pieces(origin, verge, connection, cut):
    """The library's control stream is cut where it changes its state."""
    origin.on("/", Reply(body=b"x"))
    update = frame(PRIORITY_UPDATE, varint(0) + b"u=1")
    connection.tell("data", connection.control, 0, update[:cut])
    assert get(connection) == ("response", 200)  # the node has seen the first piece
    connection.tell("data", connection.control, 0, update[cut:])
    assert get(connection) == ("response", 200)


@pytest.mark.parametrize("pieces", [[b""], [frame(0x21, b"grease")], [frame(0x21, b"grease"), b""], [b"\x21", b"\0"]],
                         ids=["nothing", "an unknown frame", "an unknown frame, then nothing", "half a frame each"])
def test_a_stream_that_ends_before_a_head_ends_alone(origin, verge, connection, pieces):
    gate = origin.gate()
    origin.on("/slow", [gate, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow"])
    connection.request("GET", "/slow")
    origin.wait_for("/slow")
    stream = connection.open_raw(pieces[0], fin=len(pieces) == 1)
    if len(pieces) > 1:
        assert get(connection) == ("response", 404)  # the node has seen the first
        stream.send(pieces[1], fin=True)
    assert outcome(stream) == ("reset", REQUEST_INCOMPLETE)
    gate.set()
    assert connection.streams[0].response().body == b"slow"
    assert origin.count() == 1 + (len(pieces) > 1)


def test_the_pieces_of_a_cookie_are_one_field(origin, connection):
    origin.on("/", Reply(body=b"x"))
    assert outcome(connection.open_raw(headers(GET + [("cookie", f"c{n}=v") for n in range(300)]))) == ("response", 200)
    assert origin.last()["Cookie"] == "; ".join(f"c{n}=v" for n in range(300))


# ---- frames and streams that are not right

def on_request_stream(data):
    return lambda connection: connection.open_raw(data)


def on_uni(kind, data, fin=False):
    return lambda connection: connection.open_uni(varint(kind) + data, fin)


def on_control(data):
    return lambda connection: connection.tell("data", connection.control, 0, data)


def setting(*pairs):
    return frame(SETTINGS, b"".join(varint(number) for pair in pairs for number in pair))


# name: (what the client does, the error of the connection or one of them)
BROKEN = {
    "DATA before HEADERS": (on_request_stream(frame(DATA, b"x")), FRAME_UNEXPECTED),
    "empty DATA before HEADERS": (on_request_stream(frame(DATA)), FRAME_UNEXPECTED),
    "SETTINGS and no HEADERS": (on_request_stream(setting()), FRAME_UNEXPECTED),
    "half of a frame's type": (on_request_stream(b"\x40"), FRAME_ERROR, GENERAL_PROTOCOL_ERROR),
    "SETTINGS among a request": (on_request_stream(headers(GET) + setting()), FRAME_UNEXPECTED),
    "GOAWAY among a request": (on_request_stream(headers(GET) + frame(GOAWAY, b"\0")), FRAME_UNEXPECTED),
    "CANCEL_PUSH among a request": (on_request_stream(headers(GET) + frame(CANCEL_PUSH, b"\0")), FRAME_UNEXPECTED),
    "PING of HTTP/2": (on_request_stream(headers(GET) + frame(6, bytes(8))), FRAME_UNEXPECTED),
    "a frame that does not end": (on_request_stream(headers(GET)[:-3]), FRAME_ERROR),
    "a second control stream": (on_uni(CONTROL, setting()), STREAM_CREATION_ERROR),
    "a push of the client": (on_uni(PUSH, b"\0"), STREAM_CREATION_ERROR),
    "a second SETTINGS": (on_control(setting()), FRAME_UNEXPECTED),
    "DATA on the control stream": (on_control(frame(DATA, b"x")), FRAME_UNEXPECTED),
    "HEADERS on the control stream": (on_control(headers(GET)), FRAME_UNEXPECTED),
    "the control stream ends": (lambda c: c.tell("data", c.control, 1), CLOSED_CRITICAL_STREAM),
    "MAX_PUSH_ID goes back": (on_control(frame(MAX_PUSH_ID, b"\5") + frame(MAX_PUSH_ID, b"\4")), ID_ERROR, FRAME_ERROR),
    "an index QPACK has not": (on_request_stream(frame(HEADERS, b"\0\0\xff\x80\x80\x04")), QPACK_FAILED),
    "a dynamic field that is not there": (on_request_stream(frame(HEADERS, b"\0\0\x80")), QPACK_FAILED),
    "a table larger than allowed": (on_uni(QPACK_ENCODER, b"\x3f" + b"\xff" * 4 + b"\x0f"), QPACK_ENCODER_ERROR),
    "an acknowledgement of nothing": (on_uni(QPACK_DECODER, b"\x05"), QPACK_DECODER_ERROR),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_the_rules_ends_the_connection(verge, connection, name):
    act, *errors = BROKEN[name]
    act(connection)
    how, error = closed(connection)
    assert how == "application" and error in errors
    assert verge.client.get("/").status == 404


@pytest.mark.parametrize("first, error", [
    (frame(GOAWAY, b"\0"), MISSING_SETTINGS), (setting((2, 0)), SETTINGS_ERROR), (setting((3, 1)), SETTINGS_ERROR),
    (frame(SETTINGS, b"\6"), FRAME_ERROR),
], ids=["another frame", "ENABLE_PUSH", "MAX_CONCURRENT_STREAMS", "half of one"])
def test_a_control_stream_begins_with_settings(verge, first, error):
    connection = verge.client.connect(settings=None)
    connection.open_uni(varint(CONTROL) + first)
    assert closed(connection) == ("application", error)


def test_what_is_unknown_is_ignored(origin, verge):
    origin.on("/", Reply(body=b"x"))
    connection = verge.client.connect(settings=varint(0x21) + varint(7))
    connection.open_uni(varint(0x21) + b"whatever", fin=True)
    connection.tell("data", connection.control, 0, frame(0x40, b"whatever"))
    stream = connection.open_raw(frame(0x21, b"grease") + headers(GET) + frame(0x21, b""))
    assert stream.response().body == b"x"


def test_a_section_in_pieces(origin, connection):
    origin.on("/", Reply(body=b"x"))
    data = headers(GET + [("x-long", "v" * 1000)])
    stream = connection.open_raw(data[:1], fin=False)
    for byte in data[1:100]:
        stream.send(bytes([byte]))
    stream.send(data[100:], fin=True)
    assert stream.response().body == b"x" and origin.last()["x-long"] == "v" * 1000


def test_a_dynamic_table_is_used(origin, connection):
    origin.on("/", Reply(body=b"x"))
    connection.open_uni(varint(QPACK_ENCODER) + insert("x-dynamic", "value"))
    stream = connection.open_raw(frame(HEADERS, b"\x02\0" + encode(GET)[2:] + b"\x80"))
    assert stream.response().body == b"x" and origin.last()["x-dynamic"] == "value"


def insert(name, value):
    """Capacity of 4096, and a field as the table's first: RFC 9204 sections 4.3.1 and 4.3.3."""
    return integer(4096, 5, 0x20) + integer(len(name), 5, 0x40) + name.encode() + integer(len(value), 7) + value.encode()


# ---- QUIC

@pytest.mark.parametrize("asked", [0x1a2a3a4a, 0x6b3343cf], ids=["unknown", "version 2"])
def test_the_versions_that_are_spoken_are_told(verge, asked):
    connection = verge.client.connect(version=asked, at_once=True)
    assert closed(connection) == ("version", 1)
    assert get(verge.client.connect()) == ("response", 404)
    assert verge.metric("verge_quic_version_negotiations_total") > 0


def test_a_protocol_nobody_speaks_is_refused(verge):
    connection = verge.client.connect(alpn="x", at_once=True)
    assert closed(connection) == ("transport", 0x178)  # no_application_protocol


def test_garbage_is_dropped(verge):
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", verge.port))
        for data in [b"", b"x", b"GET / HTTP/1.1\r\n\r\n", bytes(1200), b"\xc0" * 1200, b"\xc0\0\0\0\1\xff" + bytes(1200),
                     b"\xc0\0\0\0\1\x08" + bytes(1300), os.urandom(60), os.urandom(1400)] * 20:
            sock.send(data)
    assert verge.client.get("/").status == 404


def test_what_belongs_to_no_connection_is_answered_with_a_smaller_reset(verge):
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.settimeout(DEADLINE_S)
        sock.connect(("127.0.0.1", verge.port))
        packet = b"\x40" + os.urandom(199)
        sock.send(packet)
        answer = sock.recv(2048)
    assert 21 <= len(answer) < len(packet) and answer[0] & 0xc0 == 0x40
    assert verge.metric("verge_quic_stateless_resets_total") == 1


def test_a_node_that_starts_again_resets_who_was_there(origin, verge):
    """With a token the client cannot know, since nothing of the former process is left: so it ends by idling."""
    connection = verge.client.connect(idle=2000)
    assert get(connection) == ("response", 404)
    verge.kill()
    verge.start()
    connection.request("GET", "/")
    assert closed(connection)[0] in ("stateless reset", "idle")
    assert verge.metric("verge_quic_stateless_resets_total") > 0
    assert get(verge.client.connect()) == ("response", 404)


def test_under_load_clients_prove_their_address(origin, start):
    node = start(top="limits { handshakes 0; }")
    connection = node.client.connect()
    assert get(connection) == ("response", 404)
    assert node.metric("verge_quic_retries_total") >= 1


def big(origin, target="/", size=5 * MEGABYTE):
    origin.on(target, fresh(pattern(size)))
    return pattern(size)


@pytest.mark.parametrize("migrate", [False, True])
def test_a_client_may_move_during_a_response(origin, verge, migrate):
    body = big(origin)
    connection = verge.client.connect()
    connection.request("GET", "/")
    connection.head()
    got = b""
    for _ in range(4):
        got += connection.read(MEGABYTE)
        connection.rebind(migrate)
        connection.request("GET", "/other")  # something to send, from there
        assert connection.head().status == 404
        connection.current = connection.streams[0]
    assert got + connection.rest() == body


def test_a_client_may_move_during_an_upload(origin, connection):
    origin.on("/", lambda exchange: exchange.reply(Reply(body=exchange.read_body())))
    body = pattern(4 * MEGABYTE)
    connection.begin("POST", "/", length=len(body))
    for at in range(0, len(body), MEGABYTE):
        connection.write(body[at:at + MEGABYTE])
        connection.rebind()
    connection.finish()
    assert connection.response().body == body


def test_keys_are_updated(origin, connection):
    body = big(origin)
    connection.request("GET", "/")
    connection.head()
    got = connection.read(MEGABYTE)
    connection.update_key()
    assert got + connection.rest() == body


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_lost_packets_are_made_up_for(origin, verge, seed):
    origin.on("/up", lambda exchange: exchange.reply(Reply(body=exchange.read_body())))
    body = big(origin, size=MEGABYTE)
    connection = verge.client.connect(loss=10, seed=seed)
    for _ in range(2):
        connection.request("GET", "/")
        assert connection.response().body == body
    connection.request("POST", "/up", body=body)
    assert connection.response().body == body


def test_every_packet_finds_its_worker(origin, verge):
    """Many clients, so that both workers have some; each comes from another port now and then."""
    origin.on("/", fresh(pattern(100_000)))
    connections = [verge.client.connect() for _ in range(40)]
    for turn in range(4):
        for connection in connections:
            if turn:  # not before the handshake is confirmed: RFC 9000 section 9
                connection.rebind()
            connection.request("GET", "/")
        assert all(connection.response().body == pattern(100_000) for connection in connections)


@pytest.fixture
def session(tmp_path):
    return str(tmp_path / "ticket")


def with_ticket(verge, session, **options):
    connection = verge.client.connect(session=session, **options)
    connection.wait(lambda: connection.tickets or connection.connected == (RESUMED | EARLY))
    return connection


def test_a_session_is_resumed(verge, session):
    connection = with_ticket(verge, session)
    assert connection.connected == 0
    connection.close()
    for _ in range(5):
        connection = verge.client.connect(session=session)
        assert connection.connected & RESUMED and get(connection) == ("response", 404)
        connection.close()


def test_what_changes_something_is_never_early(origin, start, session):
    """RFC 8470: it waits for the handshake or is answered with 425; the origin is not asked twice."""
    node = start(site="early_data on;")
    origin.on("/", Reply(body=b"x"))
    with_ticket(node, session).close()
    connection = node.client.connect(session=session, at_once=True)
    connection.request("POST", "/", body=b"change")
    status = connection.response().status
    assert status == 425 and origin.count() == 0 or status == 200 and origin.last()["Early-Data"] is None


# ---- too much

def flood(connection, frames_of, count):
    """Begins `count` requests as fast as they are allowed; whether the connection outlives it."""
    for n in range(count):
        try:
            connection.wait(lambda: connection.streams_allowed > len(connection.streams) or connection.gone)
        except TimeoutError:
            return True
        if connection.gone:
            return False
        frames_of(connection)
    return not connection.gone


def rapid_reset(connection):
    connection.begin("GET", "/", bodiless=True)
    connection.current.reset()


def malformed(connection):
    connection.open_raw(headers(GET + [("connection", "close")]))


@pytest.mark.parametrize("attack", [rapid_reset, malformed])
def test_a_flood_ends_its_connection(origin, start, attack):
    node = start()
    origin.on("/", [origin.gate(), b"HTTP/1.1 404 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"])
    connection = node.client.connect()
    flood(connection, attack, 5000)
    assert closed(connection) == ("application", EXCESSIVE_LOAD)
    assert node.metric("verge_floods_total") == 1 and origin.count() <= 1200
    assert node.client.get("/other").status == 404


def test_a_flood_of_priorities_ends_its_connection(verge, connection):
    update = frame(PRIORITY_UPDATE, varint(0) + b"u=1") * 100
    flood(connection, lambda connection: connection.tell("data", connection.control, 0, update), 500)
    assert closed(connection) == ("application", EXCESSIVE_LOAD)
    assert verge.metric("verge_floods_total") == 1
    assert verge.client.get("/").status == 404


FRAMES = {
    "empty DATA": frame(DATA) * 1000, "unknown frames": frame(0x21) * 1000,
}


@pytest.mark.parametrize("name", FRAMES)
def test_frames_that_lead_nowhere_cost_little_or_the_connection(origin, verge, connection, name):
    before = verge.memory_bytes()
    stream = connection.open_raw(headers(POST), fin=False)
    for _ in range(100):
        stream.send(FRAMES[name])
    stream.send(b"", fin=True)
    what, code = outcome(stream)
    assert (what, code) == ("response", 404) or (what, code[1]) == ("closed", EXCESSIVE_LOAD)
    assert verge.memory_bytes() - before < 32 * MEGABYTE
    assert verge.client.get("/").status == 404


BOMBS = {
    "one field many times": ("x-bomb", "v" * 3900, 5000), "many crumbs of a cookie": ("cookie", "a=b", 20_000),
    "very many fields": ("x", "", 20_000),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_section_that_unpacks_to_more_than_it_was_is_refused(origin, verge, connection, name):
    field, value, times = BOMBS[name]
    before = verge.memory_bytes()
    connection.open_uni(varint(QPACK_ENCODER) + insert(field, value))
    what, code = outcome(connection.open_raw(frame(HEADERS, b"\x02\0" + encode(GET)[2:] + b"\x80" * times)))
    assert (what, code) == ("response", 431) or what in ("reset", "closed")
    assert verge.memory_bytes() - before < 32 * MEGABYTE
    assert origin.count() == 0 and verge.client.get("/").status == 404


def test_streams_that_wait_for_a_table_are_few(origin, connection):
    """They would hold what has come of them for an insertion that never comes."""
    for _ in range(200):
        connection.open_raw(frame(HEADERS, b"\x02\0" + encode(GET)[2:] + b"\x80"))
    assert closed(connection) == ("application", QPACK_FAILED)
    assert origin.count() == 0


def test_a_window_that_never_opens_costs_little_and_not_for_ever(origin, start):
    node = start(top="limits { send_timeout 1s; }")
    body = big(origin)
    assert node.client.get("/").body == body
    before = node.memory_bytes()
    connection = node.client.connect(window=0)
    streams = [connection.open() for _ in range(50)]
    for stream in streams:
        stream.begin("GET", "/", bodiless=True)
    connection.wait(lambda: all(stream.broken() for stream in streams))
    assert node.memory_bytes() - before < 32 * MEGABYTE
    assert node.client.get("/").hit


# ---- streams beside each other

def test_streams_do_not_wait_for_each_other(origin, connection):
    gate = origin.gate()
    origin.on("/slow", [gate, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow"])
    origin.on("/fast", Reply(body=b"fast"))
    slow = connection.open()
    slow.request("GET", "/slow")
    for _ in range(20):
        connection.request("GET", "/fast")
        assert connection.response().body == b"fast"
    gate.set()
    assert slow.response().body == b"slow"


def test_a_stream_nobody_reads_does_not_stop_another(origin, connection):
    body = big(origin)
    unread = connection.open()
    unread.request("GET", "/")
    unread.head()
    connection.request("GET", "/")
    assert connection.response().body == body
    assert unread.rest() == body


def test_uploads_that_stand_still_do_not_stop_another(origin, verge):
    """More of them than fit into the connection's window."""
    origin.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    gate = origin.gate()
    origin.on("/slow", lambda exchange: gate.wait())
    origin.on("/up", lambda exchange: exchange.reply(Reply(body=exchange.read_body())))
    body = pattern(8 * MEGABYTE)
    connection = verge.client.connect()
    slow = [connection.open() for _ in range(10)]
    for stream in slow:
        stream.begin("POST", "/slow", length=len(body))
        assert stream.push(body, patience_s=0.3) < len(body)
    connection.request("POST", "/up", body=body[:MEGABYTE])
    assert connection.response().body == body[:MEGABYTE]


def test_more_requests_than_may_be_at_a_time_wait_for_their_turn(origin, connection):
    for n in range(300):
        origin.on(f"/{n}", fresh(pattern(5000, n)))
    streams = [connection.open() for _ in range(300)]
    for n, stream in enumerate(streams):
        stream.request("GET", f"/{n}")
    assert all(stream.response().body == pattern(5000, n) for n, stream in enumerate(streams))


def test_a_client_that_stops_reading_one_goes_on_with_others(origin, verge, connection):
    gate = origin.gate()
    for target in ("/", "/other"):
        origin.on(target, [HALF, gate, b"def"])
    left, kept = connection.open(), connection.open()
    left.request("GET", "/")
    kept.request("GET", "/other")
    assert left.head().status == kept.head().status == 200
    connection.tell("stop", left.number, NO_ERROR)
    eventually(lambda: verge.metric("verge_origin_fetches_live") == 1, "its fetch ends")
    gate.set()
    assert kept.rest() == b"abcdef"


def test_a_small_urgent_response_overtakes_a_large_one(origin, verge):
    for target, size in (("/large", 5 * MEGABYTE), ("/small", 100_000)):
        big(origin, target, size)
        verge.client.get(target)
    connection = verge.client.connect(window=MEGABYTE, total_window=65536)
    large, small = connection.open(), connection.open()
    large.request("GET", "/large", {"Priority": "u=7"})
    got = len(large.read(50_000))
    small.request("GET", "/small", {"Priority": "u=0"})
    while not small.whole:
        connection.wait(lambda: large.data or small.data or small.whole)
        got += len(large.some(65536)) if large.data else 0
        small.data and small.some(65536)
    assert got < 2 * MEGABYTE, "the large one was not set back"


@pytest.mark.parametrize("first, shared", [({}, True), ({"Priority": "u=3"}, False)], ids=["none", "of another request"])
def test_without_any_priority_responses_share(origin, verge, first, shared):
    """A client that has told none on its connection; one that has, and leaves it out here, means one after the other."""
    for target, size in (("/large", 8 * MEGABYTE), ("/small", 100_000)):
        big(origin, target, size)
        verge.client.get(target)
    connection = verge.client.connect(window=MEGABYTE, total_window=65536)
    connection.request("GET", "/", first)
    connection.response()
    large, small = connection.open(), connection.open()
    large.request("GET", "/large")
    got = len(large.read(50_000))
    small.request("GET", "/small")
    while not small.whole:
        connection.wait(lambda: large.data or small.data or small.whole)
        got += len(large.some(65536)) if large.data else 0
        small.data and small.some(65536)
    assert (got < 2 * MEGABYTE) == shared


# ---- the end

def test_a_broken_off_response_resets_its_stream_alone(origin, connection):
    origin.on("/", [HALF, CLOSE])
    connection.request("GET", "/")
    with pytest.raises(Truncated) as broken:
        connection.response()
    assert broken.value.code is not None
    assert get(connection, "/other") == ("response", 404)


def test_a_graceful_stop_says_goodbye_and_finishes(origin, verge, connection):
    gate = origin.gate()
    origin.on("/", [HALF, gate, b"def"])
    connection.request("GET", "/")
    connection.head()
    verge.signal(signal.SIGQUIT)
    connection.wait(lambda: connection.goaway)
    gate.set()
    assert connection.rest() == b"abcdef"
    assert closed(connection) == ("application", NO_ERROR)
    assert connection.goaways[-1] > 0 and connection.goaways == sorted(connection.goaways, reverse=True)
    assert verge.wait() == 0


def test_who_comes_while_the_node_stops_is_refused(origin, verge, connection):
    gate = origin.gate()
    origin.on("/", [HALF, gate, b"def"])
    connection.request("GET", "/")
    connection.head()
    verge.signal(signal.SIGQUIT)
    connection.wait(lambda: connection.goaway)

    def refused():
        """The other worker may hear of it a little later."""
        late = verge.client.connect(at_once=True)
        late.handshake()
        late.close()
        return late.closed_with == ("transport", CONNECTION_REFUSED)

    eventually(refused, "new connections are refused")
    crossing = get(connection, "/crossing")
    assert crossing in (("response", 404), ("reset", REQUEST_REJECTED))
    gate.set()
    assert verge.wait() == 0


def test_a_reload_during_a_response_is_not_noticed(origin, verge, connection):
    body = big(origin)
    connection.request("GET", "/")
    connection.head()
    got = connection.read(MEGABYTE)
    for n in range(5):
        verge.reload(route=f"response_header set X-Turn {n};")
        got += connection.read(100_000)
    assert got + connection.rest() == body
    connection.request("GET", "/")
    assert connection.response()["X-Turn"] == "4"


def test_alt_svc_tells_of_it(verge):
    """Whoever comes over TCP is told where HTTP/3 is."""
    with H2Connection(verge.port) as connection:
        connection.request("GET", "/")
        assert f'h3=":{verge.port}"' in connection.response()["Alt-Svc"]


def test_requests_are_counted_and_logged_by_protocol(origin, verge):
    verge.client.get("/")
    assert verge.metric("verge_requests_total", protocol="h3") == 1
    assert verge.log(1)[0]["protocol"] == "HTTP/3.0"


def test_a_client_that_vanishes_is_forgotten(origin, start):
    node = start(top="limits { idle_timeout 500ms; }")
    connection = node.client.connect()
    assert get(connection) == ("response", 404)
    connection.vanish()
    eventually(lambda: node.metric("verge_quic_connections_live") == 0, "it is given up")
