"""HTTP/2 itself: what is malformed, what is too much, and how streams and connections end."""

import signal
import socket
import struct

import pytest

from harness import (CLOSE, H2Connection, RawH2, Reply, Truncated, eventually, fresh, outlive,
                     pattern)
from harness.h2 import (ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR,
                        FRAME_SIZE_ERROR, GOAWAY, HEADERS, NO_ERROR, PADDED, PING, PREFACE, PRIORITY, PRIORITY_UPDATE,
                        PROTOCOL_ERROR, PUSH_PROMISE, REFUSED_STREAM, RST_STREAM, SETTINGS, STREAM_CLOSED, WINDOW_UPDATE,
                        COMPRESSION_ERROR, WITH_PRIORITY, frame)
from harness.malformed import GET, LENGTHS, MALFORMED, POST, TRAILERS, is_refused, whole_requests

MEGABYTE = 1 << 20


@pytest.fixture
def raw(verge):
    with RawH2(verge.port) as raw:
        yield raw


# ---- one request that is not right

@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_request_is_an_error_of_its_stream(origin, verge, raw, name):
    origin.on("/", Reply(body=b"x"))
    raw.send(raw.headers(1, MALFORMED[name]))
    assert is_refused(raw.outcome(1), PROTOCOL_ERROR)
    assert origin.count() == 0
    raw.send(raw.get(3))
    assert raw.outcome(3) == ("response", 200)


@pytest.mark.parametrize("name", LENGTHS)
def test_a_body_that_is_not_as_long_as_it_says_is_never_a_whole_request(origin, raw, name):
    """And what comes with its head is judged before the origin hears of it, though a connection to it is at hand."""
    origin.on("/", lambda exchange: exchange.reply(Reply(body=exchange.read_body())))
    for stream, lengths in ((1, []), (3, LENGTHS[name]), (5, [])):
        raw.send(raw.headers(stream, POST + lengths, END_HEADERS) + frame(DATA, END_STREAM, stream, b"abcde"))
        assert raw.outcome(stream) == (("reset", PROTOCOL_ERROR) if lengths else ("response", 200))
    assert [request.body for request in origin.requests] == [b"abcde"] * 2


@pytest.mark.parametrize("name", TRAILERS)
def test_malformed_trailers_make_no_whole_request(origin, raw, name):
    origin.on("/", lambda exchange: exchange.reply(Reply(body=exchange.read_body())))
    raw.send(raw.headers(1, POST, END_HEADERS), frame(DATA, 0, 1, b"abc"), raw.headers(1, TRAILERS[name]))
    assert is_refused(raw.outcome(1), PROTOCOL_ERROR)
    raw.send(raw.get(3))
    assert raw.outcome(3) == ("response", 200)
    assert [request.method for request in whole_requests(origin)] == ["GET"]


def test_fields_that_may_be_are_taken(origin, raw):
    """What looks like the above and is not."""
    origin.on("/", Reply(body=b"x"))
    raw.send(raw.headers(1, GET + [("te", "trailers"), ("host", "test.example"), ("x-a", "a  b\tc"), ("content-length", "0")]))
    assert raw.outcome(1) == ("response", 200)


def test_the_pieces_of_a_cookie_are_one_field(origin, raw):
    origin.on("/", Reply(body=b"x"))
    raw.send(raw.headers(1, GET + [("cookie", f"c{n}=v") for n in range(300)]))
    assert raw.outcome(1) == ("response", 200)
    assert origin.last()["Cookie"] == "; ".join(f"c{n}=v" for n in range(300))


# ---- frames that are not right

def settings(*pairs):
    return b"".join(struct.pack(">HI", *pair) for pair in pairs)


def number(n):
    return struct.pack(">I", n)


# name: (frames, the error of the connection)
BROKEN = {
    "HEADERS on stream 0": ([frame(HEADERS, 5, 0, b"\x82")], PROTOCOL_ERROR),
    "HEADERS that depends on itself": ([frame(HEADERS, 5 | WITH_PRIORITY, 1, number(1) + b"\x10\x82\x87\x84")], PROTOCOL_ERROR),
    "PRIORITY on stream 0": ([frame(PRIORITY, 0, 0, number(1) + b"\x10")], PROTOCOL_ERROR),
    "PRIORITY of 4 bytes": ([frame(PRIORITY, 0, 1, number(0))], FRAME_SIZE_ERROR),
    "PRIORITY that depends on itself": ([frame(PRIORITY, 0, 3, number(3) + b"\x10")], PROTOCOL_ERROR),
    "PRIORITY that depends on itself alone": ([frame(PRIORITY, 0, 3, number(1 << 31 | 3) + b"\x10")], PROTOCOL_ERROR),
    "PRIORITY_UPDATE on a stream": ([frame(PRIORITY_UPDATE, 0, 1, number(1) + b"u=1")], PROTOCOL_ERROR),
    "PRIORITY_UPDATE for stream 0": ([frame(PRIORITY_UPDATE, 0, 0, number(0) + b"u=1")], PROTOCOL_ERROR),
    "PRIORITY_UPDATE for a push": ([frame(PRIORITY_UPDATE, 0, 0, number(2) + b"u=1")], PROTOCOL_ERROR),
    "PRIORITY_UPDATE of 3 bytes": ([frame(PRIORITY_UPDATE, 0, 0, b"u=1")], FRAME_SIZE_ERROR),
    "HEADERS on an even stream": ([frame(HEADERS, 5, 2, b"\x82\x87\x84")], PROTOCOL_ERROR),
    "DATA on stream 0": ([frame(DATA, 0, 0, b"a")], PROTOCOL_ERROR),
    "DATA on an idle stream": ([frame(DATA, 0, 1, b"a")], PROTOCOL_ERROR),
    "RST_STREAM on an idle stream": ([frame(RST_STREAM, 0, 1, number(8))], PROTOCOL_ERROR),
    "RST_STREAM of 3 bytes": ([frame(RST_STREAM, 0, 1, b"abc")], FRAME_SIZE_ERROR),
    "WINDOW_UPDATE on an idle stream": ([frame(WINDOW_UPDATE, 0, 1, number(1))], PROTOCOL_ERROR),
    "WINDOW_UPDATE of 0": ([frame(WINDOW_UPDATE, 0, 0, number(0))], PROTOCOL_ERROR),
    "WINDOW_UPDATE of too much": ([frame(WINDOW_UPDATE, 0, 0, number(0x7fffffff))] * 2, FLOW_CONTROL_ERROR),
    "WINDOW_UPDATE of 3 bytes": ([frame(WINDOW_UPDATE, 0, 0, b"abc")], FRAME_SIZE_ERROR),
    "SETTINGS on a stream": ([frame(SETTINGS, 0, 1)], PROTOCOL_ERROR),
    "SETTINGS of 5 bytes": ([frame(SETTINGS, 0, 0, b"abcde")], FRAME_SIZE_ERROR),
    "an acknowledgement with settings": ([frame(SETTINGS, ACK, 0, settings((3, 1)))], FRAME_SIZE_ERROR),
    "ENABLE_PUSH of 2": ([frame(SETTINGS, 0, 0, settings((2, 2)))], PROTOCOL_ERROR),
    "INITIAL_WINDOW_SIZE of too much": ([frame(SETTINGS, 0, 0, settings((4, 1 << 31)))], FLOW_CONTROL_ERROR),
    "MAX_FRAME_SIZE of too little": ([frame(SETTINGS, 0, 0, settings((5, 16383)))], PROTOCOL_ERROR),
    "PING of 7 bytes": ([frame(PING, 0, 0, b"1234567")], FRAME_SIZE_ERROR),
    "PING on a stream": ([frame(PING, 0, 1, b"12345678")], PROTOCOL_ERROR),
    "GOAWAY on a stream": ([frame(GOAWAY, 0, 1, bytes(8))], PROTOCOL_ERROR),
    "PUSH_PROMISE": ([frame(PUSH_PROMISE, 4, 1, number(2) + b"\x82")], PROTOCOL_ERROR),
    "CONTINUATION of nothing": ([frame(CONTINUATION, 4, 1, b"\x82")], PROTOCOL_ERROR),
    "a frame within a header section": ([frame(HEADERS, 1, 1, b"\x82"), frame(PING, 0, 0, bytes(8))], PROTOCOL_ERROR),
    "padding beyond the frame": ([frame(HEADERS, 5 | PADDED, 1, b"\xff\x82")], PROTOCOL_ERROR),
    "a frame larger than allowed": ([frame(DATA, 0, 1, bytes(MEGABYTE))], FRAME_SIZE_ERROR),
    "an index HPACK has not": ([frame(HEADERS, 5, 1, b"\xff\xff\x7f")], COMPRESSION_ERROR),
    "a number without end in HPACK": ([frame(HEADERS, 5, 1, b"\xff" + b"\xff" * 20)], COMPRESSION_ERROR),
    "a table larger than allowed": ([frame(HEADERS, 5, 1, b"\x3f\xff\xff\x7f\x82\x87\x84")], COMPRESSION_ERROR),
    "Huffman's code of nothing": ([frame(HEADERS, 5, 1, b"\x04\x84\xff\xff\xff\xff")], COMPRESSION_ERROR),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_frame_that_breaks_the_rules_ends_the_connection(origin, verge, raw, name):
    frames, error = BROKEN[name]
    raw.send(*frames)
    assert raw.ended() == error
    assert verge.client.get("/").status == 404
    assert origin.count() == 1


@pytest.mark.parametrize("preface", [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", PREFACE[:-1] + b"x", b"\0" * 24])
def test_without_a_preface_there_is_no_connection(verge, preface):
    with RawH2(verge.port, preface=preface) as raw:
        assert raw.ended() in (None, PROTOCOL_ERROR)


# Streams 3 and 7 are answered, 11 is open, 13 was reset by the client, 15 has ended and waits for its answer; 1, 5 and
# 9 were left out. name: (what comes then, the error of the connection; None: there is none)
LATE = {
    "HEADERS on a stream left out": (lambda raw: [raw.get(9)], PROTOCOL_ERROR),
    "HEADERS on the first, left out": (lambda raw: [raw.get(1)], PROTOCOL_ERROR),
    "DATA on a stream left out": (lambda raw: [frame(DATA, 0, 9, b"a")], PROTOCOL_ERROR),
    "HEADERS on a stream that was answered": (lambda raw: [raw.get(7)], PROTOCOL_ERROR),
    "DATA on a stream that was answered": (lambda raw: [frame(DATA, 1, 7, b"a")], PROTOCOL_ERROR),
    "HEADERS on a stream it has reset": (lambda raw: [raw.get(13)], STREAM_CLOSED),
    "DATA on a stream it has reset": (lambda raw: [frame(DATA, 0, 13, b"a")], STREAM_CLOSED),
    "HEADERS after the end": (lambda raw: [raw.get(15)], STREAM_CLOSED),
    "DATA after the end": (lambda raw: [frame(DATA, 0, 15, b"a")], STREAM_CLOSED),
    "CONTINUATION on a closed stream": (lambda raw: [frame(CONTINUATION, 4, 13, b"\x82")], PROTOCOL_ERROR),
    "WINDOW_UPDATE on a closed stream": (lambda raw: [frame(WINDOW_UPDATE, 0, 7, number(1))], None),
    "RST_STREAM on a closed stream": (lambda raw: [frame(RST_STREAM, 0, 7, number(8))], None),
    "PRIORITY on a closed stream": (lambda raw: [frame(PRIORITY, 0, 7, number(9) + b"\x10")], None),
    "PRIORITY on a stream left out": (lambda raw: [frame(PRIORITY, 0, 9, number(7) + b"\x10")], None),
    "PRIORITY_UPDATE for a closed stream": (lambda raw: [frame(PRIORITY_UPDATE, 0, 0, number(7) + b"u=1")], None),
}


@pytest.mark.parametrize("name", LATE)
def test_streams_are_used_once_and_in_order(origin, verge, raw, name):
    frames, error = LATE[name]
    gate = origin.gate()
    origin.on("/slow", [gate, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow"])
    for stream in (3, 7):
        raw.send(raw.get(stream))
        assert raw.outcome(stream) == ("response", 404)
        raw.until(DATA, stream=stream)
    raw.send(raw.headers(11, POST, END_HEADERS), raw.headers(13, POST, END_HEADERS), frame(RST_STREAM, 0, 13, number(8)),
             raw.get(15, "/slow"))
    origin.wait_for("/slow")
    raw.send(*frames(raw), raw.get(17, "/last"))
    if error is None:
        assert raw.outcome(17) == ("response", 404)
    else:
        assert raw.ended() == error and origin.count("/last") == 0
    gate.set()
    assert verge.client.get("/other").status == 404


def late_frames(raw, stream):
    return [frame(DATA, 0, stream, b"abc"), frame(WINDOW_UPDATE, 0, stream, number(1)), raw.headers(stream, [("x-sum", "new")])]


def test_what_crosses_a_reset_is_ignored(origin, verge, raw):
    """A client cannot know yet that the node has reset its stream; its fields are unpacked all the same."""
    origin.on("/early", lambda x: x.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"))
    raw.send(raw.headers(1, POST + [("connection", "close")], END_HEADERS))
    assert raw.outcome(1) == ("reset", PROTOCOL_ERROR)
    raw.send(*late_frames(raw, 1), raw.headers(3, [(n, "/early" if n == ":path" else v) for n, v in POST], END_HEADERS))
    assert raw.outcome(3) == ("response", 200)
    assert raw.until(RST_STREAM, stream=3).error_code == NO_ERROR
    raw.send(*late_frames(raw, 3), raw.get(5, "/last", [("x-sum", "new")]))
    assert raw.outcome(5) == ("response", 404) and origin.last("/last")["x-sum"] == "new"


def test_what_follows_a_refused_request_is_ignored(origin, raw):
    """More streams than are allowed, with their bodies, before the client has heard how many are."""
    gate = origin.gate()
    origin.on("/", lambda exchange: (exchange.wait(gate), exchange.reply(Reply(body=b"x"))))
    streams = range(1, 301, 2)
    raw.send(*[piece for n in streams for piece in (raw.headers(n, POST, END_HEADERS), frame(DATA, END_STREAM, n, b"abc"))])
    assert raw.outcome(299) == ("reset", REFUSED_STREAM)
    gate.set()
    assert raw.outcome(1) == ("response", 200)


def test_frames_in_single_bytes(origin, raw):
    """Wherever what arrives is cut, frames are seen as they are."""
    origin.on("/", lambda exchange: exchange.reply(Reply(body=exchange.read_body())))
    raw.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    pieces = [[frame(PRIORITY, 0, 1, number(3) + b"\x10"), frame(PRIORITY_UPDATE, 0, 0, number(1) + b"u=1"),
               raw.headers(1, POST, END_HEADERS), frame(DATA, 0, 1, b"abc"), frame(0x77, 0, 0, b"grease"),
               frame(DATA, END_STREAM, 1, b"def")], [frame(PRIORITY, 0, 3, number(3) + b"\x10")]]
    for frames, outcome in zip(pieces, (("response", 200), ("goaway", PROTOCOL_ERROR))):
        for byte in b"".join(frames):
            raw.send(bytes([byte]))
        assert raw.outcome(1) == outcome
    assert [request.body for request in whole_requests(origin)] == [b"abcdef"]


def test_what_is_unknown_is_ignored(raw):
    raw.send(frame(SETTINGS, 0, 0, settings((0x7a7a, 1))), frame(0xfe, 0xff, 0, b"whatever"),
             frame(0xfe, 0, 7, b""), raw.get(1), frame(PRIORITY, 0, 9, number(1) + b"\x10"))
    assert raw.outcome(1) == ("response", 404)


def test_settings_and_pings_are_answered(raw):
    raw.send(frame(PING, 0, 0, b"12345678"))
    assert raw.until(PING).opaque_data == b"12345678"
    assert [f for f in raw.seen if f.type == SETTINGS and "ACK" in f.flags]


def test_a_section_in_many_frames_with_padding_and_priority(origin, raw):
    origin.on("/", Reply(body=b"x"))
    section = raw.section(GET + [("x-long", "v" * 1000)])
    pieces = [section[i:i + 1] for i in range(2, 7)] + [section[7:]]
    raw.send(frame(HEADERS, END_STREAM | PADDED | WITH_PRIORITY, 1, b"\3" + number(0) + b"\x10" + section[:2] + bytes(3)),
             *[frame(CONTINUATION, 0, 1, piece) for piece in pieces], frame(CONTINUATION, END_HEADERS, 1))
    assert raw.outcome(1) == ("response", 200)
    assert origin.last()["x-long"] == "v" * 1000


# ---- too much

PATIENCE = {"top": "limits { send_timeout 1s; }"}


def is_over(raw):
    """The connection is ended: by GOAWAY or without a word, both are known to stop an attack."""
    return raw.ended() in (None, ENHANCE_YOUR_CALM, PROTOCOL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED)


def others_are_served(node):
    with H2Connection(node.port) as connection:
        connection.request("GET", "/")
        return connection.response().status == 404


def empty_data(raw, n):
    return [raw.headers(1, POST, END_HEADERS)] * (n == 0) + [frame(DATA, 0, 1)] * 1000


def closed_stream(raw, n):
    """The node has reset it, so that not each frame on it is an error."""
    return [raw.headers(1, POST + [("connection", "close")], END_HEADERS)] * (n == 0)


def rapid_reset(raw, n):
    return [f for i in range(500) for s in [2 * (500 * n + i) + 1] for f in (raw.get(s), frame(RST_STREAM, 0, s, number(8)))]


def made_you_reset(provoke):
    """The client never resets a stream, and has the node do it (CVE-2025-8671)."""
    def frames(raw, n):
        return [f for i in range(200) for s in [2 * (200 * n + i) + 1] for f in (raw.get(s), provoke(s))]
    return frames


FLOODS = {
    "CONTINUATION": lambda raw, n: [frame(HEADERS, 1, 1, raw.section(GET))] * (n == 0) +
    [frame(CONTINUATION, 0, 1, raw.section([(f"x-{n}-{i}", "v" * 100)])) for i in range(100)],
    "empty CONTINUATION": lambda raw, n: [frame(HEADERS, 1, 1, raw.section(GET))] * (n == 0) +
    [frame(CONTINUATION, 0, 1)] * 1000,
    "PING": lambda raw, n: [frame(PING, 0, 0, bytes(8))] * 1000,
    "SETTINGS": lambda raw, n: [frame(SETTINGS, 0, 0, settings((4, 65535)))] * 1000,
    "acknowledgements": lambda raw, n: [frame(SETTINGS, ACK)] * 1000,
    "empty DATA": empty_data,
    "PING acknowledgements": lambda raw, n: [frame(PING, ACK, 0, bytes(8))] * 1000,
    "WINDOW_UPDATE": lambda raw, n: [frame(WINDOW_UPDATE, 0, 0, number(1))] * 1000,
    "WINDOW_UPDATE on a closed stream": lambda raw, n: closed_stream(raw, n) + [frame(WINDOW_UPDATE, 0, 1, number(1))] * 1000,
    "RST_STREAM on a closed stream": lambda raw, n: closed_stream(raw, n) + [frame(RST_STREAM, 0, 1, number(8))] * 1000,
    "DATA on a stream that was reset": lambda raw, n: closed_stream(raw, n) + [frame(DATA, 0, 1, b"x")] * 1000,
    "HEADERS on a stream that was reset": lambda raw, n: closed_stream(raw, n) + [raw.headers(1, [("x", "y")])] * 1000,
    "unknown frames": lambda raw, n: [frame(0x77, 0, 0, b"x")] * 1000,
    "unknown frames on a stream": lambda raw, n: [frame(0x77, 0, 2 * i + 1) for i in range(1000)],
    "PRIORITY": lambda raw, n: [frame(PRIORITY, 0, 2 * i + 1, number(0) + b"\x10") for i in range(1000)],
    "rapid reset": rapid_reset,
    "reset by a window of 0": made_you_reset(lambda s: frame(WINDOW_UPDATE, 0, s, number(0))),
    "reset by a window of too much": made_you_reset(lambda s: frame(WINDOW_UPDATE, 0, s, number(0x7fffffff))),
    "reset by DATA after the end": made_you_reset(lambda s: frame(DATA, 0, s, b"x")),
    "malformed requests": lambda raw, n: [raw.headers(2 * (200 * n + i) + 1, GET + [("connection", "close")]) for i in range(200)],
}


# What the library that takes frames apart already knows to be wrong.
NOT_COUNTED = {"acknowledgements", "reset by a window of 0", "reset by DATA after the end"}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_ends_its_connection(origin, start, name):
    node = start(**PATIENCE)
    gate = origin.gate()
    origin.on("/", [gate, b"HTTP/1.1 404 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"])
    with RawH2(node.port) as raw:
        for n in range(200):
            if not raw.send(*FLOODS[name](raw, n)):
                break
        assert is_over(raw)
    assert node.metric("verge_floods_total") == (name not in NOT_COUNTED)
    gate.set()
    assert others_are_served(node)
    assert origin.count() <= 1200


def test_a_flood_while_a_frame_waits_for_room(origin, start):
    """nghttp2 holds a packed frame of a response that does not move; then the response ends."""
    node = start(**PATIENCE)
    origin.on("/", fresh(bytes(8 * MEGABYTE)))
    with RawH2(node.port, settings=[(4, (1 << 31) - 1)]) as raw:
        raw.send(frame(WINDOW_UPDATE, 0, 0, number((1 << 31) - 1 - 65535)), raw.get(1))
        eventually(lambda: node.metric("verge_cache_fills_live") == 0, "all of it is stored")
        outlive(0.3)  # in which what the sockets take is sent
        raw.send(*FLOODS["PRIORITY"](raw, 0) * 2)
        eventually(lambda: node.metric("verge_floods_total") == 1, "the flood is seen")
        assert is_over(raw)
    assert node.client.get("/").hit


def test_a_head_that_does_not_end_is_not_forgotten_for_another_stream(origin, start):
    node = start(top="limits { header_timeout 1s; idle_timeout 100s; }")
    gate = origin.gate()
    origin.on("/", [gate, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"])
    with RawH2(node.port) as raw:
        raw.send(frame(PING, 0, 0, bytes(8)))
        raw.until(PING)  # from here on nothing has to be said between the pieces of a head
        raw.send(raw.get(1), raw.headers(3, GET, END_STREAM))
        gate.set()
        assert raw.outcome(1) == ("response", 200)
        raw.ended()


BOMBS = {
    "one field many times": [("x-bomb", "v" * 3900)] * 5000,
    "very many fields": [(f"x-{i}", "") for i in range(20_000)],
    "many crumbs of a cookie": [("cookie", "a=b")] * 20_000,
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_section_that_unpacks_to_more_than_it_was_is_refused(origin, verge, raw, name):
    verge.client.get("/")
    before = verge.memory_bytes()
    section = raw.section(GET + BOMBS[name])
    pieces = [section[i:i + 16000] for i in range(0, len(section), 16000)]
    frames = [frame(CONTINUATION, 0, 1, piece) for piece in pieces[1:]]
    raw.send(frame(HEADERS, END_STREAM, 1, pieces[0]), *frames, frame(CONTINUATION, END_HEADERS, 1))
    what, code = raw.outcome(1)
    assert (what, code) == ("response", 431) or what in ("reset", "goaway", "end")
    assert verge.memory_bytes() - before < 32 * MEGABYTE
    assert origin.count() == 1 and verge.client.get("/").status == 404


def test_more_streams_than_allowed_are_refused(origin, raw):
    gate = origin.gate()
    origin.on("/", [gate, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"])
    raw.send(frame(PING, 0, 0, bytes(8)))
    raw.until(PING)
    allowed = next(f for f in raw.seen if f.type == SETTINGS and f.settings).settings[3]
    assert 100 <= allowed <= 1000
    raw.send(*[raw.get(2 * i + 1) for i in range(allowed + 1)])
    assert raw.outcome(2 * allowed + 1) in (("reset", REFUSED_STREAM), ("goaway", PROTOCOL_ERROR))
    gate.set()
    assert origin.count() <= allowed


def test_a_window_that_never_opens_costs_little_and_not_for_ever(origin, start):
    node = start(**PATIENCE)
    origin.on("/", fresh(pattern(5 * MEGABYTE)))
    assert len(node.client.get("/").body) == 5 * MEGABYTE
    before = node.memory_bytes()
    with RawH2(node.port, settings=[(4, 0)]) as raw:
        raw.send(*[raw.get(2 * i + 1) for i in range(100)])
        while (got := raw.frame()) is not None and got.type not in (RST_STREAM, GOAWAY):
            assert got.type != DATA
        assert node.memory_bytes() - before < 32 * MEGABYTE
    eventually(lambda: node.metric("verge_exchanges_live") <= 1, "all are given up but the one that asks")
    assert node.client.get("/").hit


def test_a_body_larger_than_the_window_is_an_error(origin, raw):
    gate = origin.gate()
    origin.on("/", lambda exchange: exchange.wait(gate))
    raw.send(raw.headers(1, POST, END_HEADERS))
    for _ in range(4000):
        if not raw.send(frame(DATA, 0, 1, bytes(16384))):
            break
    assert raw.outcome(1) in (("reset", FLOW_CONTROL_ERROR), ("goaway", FLOW_CONTROL_ERROR), ("end", None))
    gate.set()


# ---- streams beside each other

def test_streams_do_not_wait_for_each_other(origin, verge):
    gate = origin.gate()
    origin.on("/slow", [gate, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow"])
    origin.on("/fast", Reply(body=b"fast"))
    with H2Connection(verge.port) as connection:
        slow = connection.open()
        slow.request("GET", "/slow")
        for _ in range(20):
            connection.request("GET", "/fast")
            assert connection.response().body == b"fast"
        gate.set()
        assert slow.response().body == b"slow"


def test_a_stream_nobody_reads_does_not_stop_another(origin, verge):
    origin.on("/big", fresh(pattern(5 * MEGABYTE)))
    with H2Connection(verge.port) as connection:
        unread = connection.open()
        unread.request("GET", "/big")
        unread.head()
        connection.request("GET", "/big")
        assert connection.response().body == pattern(5 * MEGABYTE)
        assert unread.rest() == pattern(5 * MEGABYTE)


def test_uploads_that_stand_still_do_not_stop_another(origin, verge):
    """More of them than fit into the connection's window."""
    origin.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    gate = origin.gate()
    origin.on("/slow", lambda exchange: gate.wait())
    origin.on("/up", lambda exchange: exchange.reply(Reply(body=exchange.read_body())))
    body = pattern(8 * MEGABYTE)
    with H2Connection(verge.port) as connection:
        slow = [connection.open() for _ in range(10)]
        for stream in slow:
            stream.begin("POST", "/slow", length=len(body))
            assert stream.push(body, patience_s=0.3) < len(body)
        connection.request("POST", "/up", body=body[:MEGABYTE])
        assert connection.response().body == body[:MEGABYTE]


def test_many_streams_each_get_their_own(origin, verge):
    for n in range(100):
        origin.on(f"/{n}", fresh(pattern(20_000, n)))
    with H2Connection(verge.port) as connection:
        for _ in range(2):
            streams = [connection.open() for _ in range(100)]
            for n, stream in enumerate(streams):
                stream.request("GET", f"/{n}")
            assert all(stream.response().body == pattern(20_000, n) for n, stream in enumerate(streams))


def test_a_reset_stream_leaves_the_others(origin, verge):
    gate = origin.gate()
    origin.on("/", [b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc", gate, b"def"])
    origin.on("/other", [b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc", gate, b"def"])
    with H2Connection(verge.port) as connection:
        left, kept = connection.open(), connection.open()
        left.request("GET", "/")
        kept.request("GET", "/other")
        assert left.head().status == kept.head().status == 200
        left.reset()
        eventually(lambda: verge.metric("verge_origin_fetches_live") == 1, "its fetch ends")
        gate.set()
        assert kept.rest() == b"abcdef"


def test_a_small_urgent_response_overtakes_a_large_one(origin, verge):
    origin.on("/large", fresh(bytes(10 * MEGABYTE)))
    origin.on("/small", fresh(bytes(100_000)))
    for target in ("/large", "/small"):
        verge.client.get(target)
    with H2Connection(verge.port, window=MEGABYTE, total_window=65535) as connection:
        large, small = connection.open(), connection.open()
        large.request("GET", "/large", {"Priority": "u=7"})
        got = len(large.read(65535))
        small.request("GET", "/small", {"Priority": "u=0"})
        while not small.whole:
            connection.wait(lambda: large.data or small.data or small.whole)
            got += len(large.some(65535)) if large.data else 0
            small.data and small.some(65535)
        assert got < 2 * MEGABYTE, "the large one was not set back"


@pytest.mark.parametrize("first, shared", [({}, True), ({"Priority": "u=3"}, False)], ids=["none", "of another request"])
def test_without_any_priority_responses_share(origin, verge, first, shared):
    """A client that has told none on its connection; one that has, and leaves it out here, means one after the other."""
    origin.on("/large", fresh(bytes(8 * MEGABYTE)))
    origin.on("/small", fresh(bytes(100_000)))
    for target in ("/large", "/small"):
        verge.client.get(target)
    with H2Connection(verge.port, window=MEGABYTE, total_window=65535) as connection:
        connection.request("GET", "/", first)
        connection.response()
        large, small = connection.open(), connection.open()
        large.request("GET", "/large")
        got = len(large.read(65535))
        small.request("GET", "/small")
        while not small.whole:
            connection.wait(lambda: large.data or small.data or small.whole)
            got += len(large.some(65535)) if large.data else 0
            small.data and small.some(65535)
        assert (got < 2 * MEGABYTE) == shared


def test_incremental_responses_share(origin, verge):
    for target in ("/one", "/two"):
        origin.on(target, fresh(bytes(4 * MEGABYTE)))
        verge.client.get(target)
    with H2Connection(verge.port, window=MEGABYTE, total_window=65535) as connection:
        streams = [connection.open(), connection.open()]
        for stream, target in zip(streams, ("/one", "/two")):
            stream.request("GET", target, {"Priority": "u=3, i"})
            stream.head()
        got = [0, 0]
        while max(got) < 2 * MEGABYTE:
            connection.wait(lambda: streams[0].data or streams[1].data)
            for i, stream in enumerate(streams):
                got[i] += len(stream.some(65535)) if stream.data else 0
        assert min(got) > MEGABYTE // 2


# ---- the end

HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc"


def test_a_graceful_stop_says_goodbye_and_finishes(origin, verge):
    gate = origin.gate()
    origin.on("/", [HALF, gate, b"def"])
    connection = verge.client.connect()
    connection.request("GET", "/")
    connection.head()
    verge.signal(signal.SIGQUIT)
    connection.wait(lambda: connection.goaway)
    assert connection.goaway[1] == NO_ERROR
    gate.set()
    assert connection.rest() == b"def" or connection.current.whole
    assert connection.ended()
    assert verge.wait() == 0


def test_a_request_that_crosses_the_goodbye_is_answered_or_refused(origin, verge):
    """Of every request the client knows whether it was taken: the last GOAWAY tells."""
    gate = origin.gate()
    origin.on("/", [HALF, gate, b"def"])
    with RawH2(verge.port) as raw:
        raw.send(raw.get(1))
        assert raw.outcome(1) == ("response", 200)
        verge.signal(signal.SIGQUIT)
        raw.until(GOAWAY)
        raw.send(raw.get(3, "/crossing"))
        taken = raw.outcome(3) == ("response", 404)
        gate.set()
        assert raw.ended() == NO_ERROR
    last = [f for f in raw.seen if f.type == GOAWAY][-1]
    assert (last.last_stream_id >= 3) == taken == (origin.count("/crossing") == 1)
    assert verge.wait() == 0


def test_a_broken_off_response_resets_its_stream_alone(origin, verge):
    origin.on("/", [HALF, CLOSE])
    origin.on("/other", Reply(body=b"x"))
    connection = verge.client.connect()
    connection.request("GET", "/")
    with pytest.raises(Truncated) as broken:
        connection.response()
    assert broken.value.code is not None
    connection.request("GET", "/other")
    assert connection.response().body == b"x"


def test_a_response_before_the_end_of_the_request(origin, verge):
    """RFC 9113 section 8.1: whole, then RST_STREAM with NO_ERROR; the connection goes on."""
    origin.on("/", lambda x: x.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"))
    with RawH2(verge.port) as raw:
        raw.send(raw.headers(1, POST + [("content-length", "100000")], END_HEADERS), frame(DATA, 0, 1, b"abc"))
        assert raw.outcome(1) == ("response", 200)
        assert raw.until(RST_STREAM, stream=1).error_code == NO_ERROR
        raw.send(raw.get(3, "/other"))
        assert raw.outcome(3) == ("response", 404)


def test_a_request_that_is_cancelled_is_logged(origin, verge):
    origin.on("/", [origin.gate()])
    connection = verge.client.connect()
    connection.request("GET", "/")
    origin.wait_for("/")
    connection.reset()
    assert verge.log(1)[0]["error"] == "client_gone"


def test_requests_are_counted_and_logged_by_protocol(origin, verge):
    origin.on("/", Reply(body=b"x"))
    verge.client.get("/")
    assert verge.metric("verge_requests_total", protocol="h2") == 1
    assert verge.log(1)[0]["protocol"] == "HTTP/2.0"
