"""
HTTP/3: frames and streams here, QUIC in tests/client (build/quicclient), one process for all connections. What it
reports is taken by a thread; scenarios wait for what that has understood.
"""

import itertools
import queue
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from . import qpack
from .client import NAME, PROTOCOLS
from .multiplex import Multiplexed, Stream
from .util import DEADLINE_S
from .wire import Malformed

PROGRAM = Path(__file__).resolve().parents[3] / "build" / "quicclient"
IN_FLIGHT = 1 << 20  # of a body: handed to the program and not yet at the node

DATA, HEADERS, CANCEL_PUSH, SETTINGS, PUSH_PROMISE, GOAWAY, MAX_PUSH_ID = 0, 1, 3, 4, 5, 7, 13
PRIORITY_UPDATE = 0xf0700
CONTROL, PUSH, QPACK_ENCODER, QPACK_DECODER = range(4)  # types of unidirectional streams
NO_ERROR, GENERAL_PROTOCOL_ERROR, INTERNAL_ERROR, STREAM_CREATION_ERROR, CLOSED_CRITICAL_STREAM, FRAME_UNEXPECTED, \
    FRAME_ERROR, EXCESSIVE_LOAD, ID_ERROR, SETTINGS_ERROR, MISSING_SETTINGS, REQUEST_REJECTED, REQUEST_CANCELLED, \
    REQUEST_INCOMPLETE, MESSAGE_ERROR, CONNECT_ERROR, VERSION_FALLBACK = range(0x100, 0x111)
RESUMED, EARLY = 1, 2


def varint(value):
    for size, bits in ((1, 6), (2, 14), (4, 30), (8, 62)):
        if value < 1 << bits:
            return (value | (size.bit_length() - 1) << (8 * size - 2)).to_bytes(size, "big")
    raise ValueError(value)


def read_varint(data, at=0):
    """The number and where it ends; None where it is not all there."""
    if at >= len(data):
        return None, at
    size = 1 << (data[at] >> 6)
    if at + size > len(data):
        return None, at
    return int.from_bytes(data[at:at + size], "big") & ((1 << (8 * size - 2)) - 1), at + size


def frame(kind, payload=b""):
    return varint(kind) + varint(len(payload)) + payload


def headers(fields):
    return frame(HEADERS, qpack.encode(fields))


class Program:
    """The process, and who waits for what it says. Begun with the first connection."""

    running = None

    @classmethod
    def get(cls):
        if cls.running is None or cls.running.process.poll() is not None:
            cls.running = cls()
        return cls.running

    def __init__(self):
        self.process = subprocess.Popen([PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.changed = threading.Condition()
        self.connections, self.numbers = {}, itertools.count(1)
        # The program may have so much to say that it does not read. Whoever tells it something does not wait for that.
        self.telling, self.untold, self.held = threading.Lock(), bytearray(), False
        self.outgoing = queue.SimpleQueue()
        threading.Thread(target=self.listen, daemon=True).start()
        threading.Thread(target=self.write, daemon=True).start()

    def add(self, connection):
        with self.changed:
            number = next(self.numbers)
            self.connections[number] = connection
        return number

    def tell(self, verb, connection, stream=0, number=0, payload=b""):
        with self.telling:
            self.untold += b"%s %d %d %d %d\n%s" % (verb.encode(), connection, stream, number, len(payload), payload)
        if not self.held:
            self.pass_on()

    def pass_on(self):
        with self.telling:
            self.outgoing.put(bytes(self.untold))
            self.untold.clear()

    @contextmanager
    def together(self):
        """What little is told in here the program reads at once, before it sends anything of it."""
        self.held = True
        yield
        self.held = False
        self.pass_on()

    def write(self):
        try:
            while True:
                self.process.stdin.write(self.outgoing.get())
                self.process.stdin.flush()
        except OSError:
            pass  # the program has ended: listening tells

    def listen(self):
        out = self.process.stdout
        while line := out.readline():
            verb, *numbers = line.decode().split()
            connection, stream, number, length = map(int, numbers)
            payload = out.read(length)
            with self.changed:
                self.connections[connection].told(verb, stream, number, payload)
                self.changed.notify_all()
        with self.changed:
            for connection in self.connections.values():
                connection.gone = connection.gone or "the client program has ended"
            self.changed.notify_all()


class Frames:
    """The frames of one stream, as they become whole; of DATA every piece."""

    def __init__(self):
        self.buffer, self.left = b"", 0  # of a DATA frame

    def take(self, data):
        """Yields (kind, payload, bytes of framing)."""
        self.buffer += data
        while self.buffer:
            if self.left:
                piece, self.buffer = self.buffer[:self.left], self.buffer[self.left:]
                self.left -= len(piece)
                yield DATA, piece, 0
                continue
            kind, at = read_varint(self.buffer)
            length, at = read_varint(self.buffer, at)
            if kind is None or length is None or (kind != DATA and len(self.buffer) < at + length):
                return
            if kind == DATA:
                self.left, self.buffer = length, self.buffer[at:]
                yield DATA, b"", at
            else:
                payload, self.buffer = self.buffer[at:at + length], self.buffer[at + length:]
                yield kind, payload, at + length


class H3Stream(Stream):
    def __init__(self, connection):
        super().__init__(connection)
        self.number = None    # given when it begins
        self.frames = Frames()
        self.handed = self.acked = 0
        self.stopped = None   # the code with which the node wants no more of it

    def told_data(self, data, fin):
        overhead = 0
        for kind, payload, framing in self.frames.take(data):
            overhead += framing
            if kind == DATA:
                self.data += payload
            elif kind == HEADERS:
                self.arrived(qpack.decode(payload))
        if overhead and not fin:
            self.connection.credit(self.number, overhead)
        if fin and (self.frames.buffer or self.frames.left):
            raise Malformed("HTTP/3: the stream ends within a frame")
        self.whole |= fin

    def send(self, data, fin=False):
        """Any bytes."""
        self.handed += len(data)
        self.connection.tell("data", self.number, int(fin), data)


class H3Connection(Multiplexed):
    """
    One QUIC connection. `window` is what the node may send of a body nobody has read; other options are those of
    tests/client/main.c. With `settings` None no control stream is opened; `at_once` does not wait for
    the handshake, so that requests go out with it, and a refusal is nothing to raise.
    """

    version = "3"

    def __init__(self, port, name=NAME, receive_buffer_bytes=None, settings=b"", at_once=False, **options):
        super().__init__(port)
        options.setdefault("window", 65536 if receive_buffer_bytes else 1 << 18)
        self.program = Program.get()
        self.streams, self.bidi, self.uni = {}, itertools.count(0, 4), itertools.count(2, 4)
        self.connected = None  # RESUMED, EARLY
        self.closed_with = None  # (how, code)
        self.streams_allowed = 0
        self.tickets, self.fault = 0, None
        self.theirs = {}       # the node's own streams: type and frames
        self.goaways, self.settings = [], None
        self.number = self.program.add(self)
        text = "".join(f"{key} {value}\n" for key, value in {"port": port, "name": name, **options}.items())
        self.tell("open", payload=text.encode())
        if settings is not None:
            self.control = self.open_uni(varint(CONTROL) + frame(SETTINGS, settings))
        if not at_once and not self.handshake():
            raise ConnectionRefusedError(self.gone)

    def tell(self, verb, stream=0, number=0, payload=b""):
        self.program.tell(verb, self.number, stream, number, payload)

    # -- what the program tells; its thread holds the lock

    def told(self, verb, number, value, payload):
        try:
            getattr(self, "told_" + verb)(number, value, payload)
        except Exception as error:  # for those who wait: this thread serves others
            self.fault = error

    def told_connected(self, _, flags, alpn):
        self.connected, self.alpn = flags, alpn.decode()

    def told_streams(self, _, allowed, payload):
        self.streams_allowed = allowed

    def told_ticket(self, *_):
        self.tickets += 1

    def told_closed(self, _, code, how):
        self.closed_with = (how.decode(), code)
        self.gone = self.gone or f"closed, {how.decode()}: {code:#x}"

    def told_data(self, number, fin, payload):
        if number in self.streams:
            self.streams[number].told_data(payload, bool(fin))
        elif number % 4 == 3:
            self.told_uni(number, payload)

    def told_uni(self, number, payload):
        """The node's control stream has its settings and its goodbye; the others are of no interest."""
        if number not in self.theirs:
            kind, at = read_varint(payload)
            self.theirs[number], payload = (kind, Frames()), payload[at:]
        kind, frames = self.theirs[number]
        if kind != CONTROL:
            return
        for kind, payload, _ in frames.take(payload):
            if kind == SETTINGS:
                self.settings = payload
            elif kind == GOAWAY:
                self.goaways.append(read_varint(payload)[0])
                self.goaway = (self.goaways[-1], NO_ERROR)

    def told_reset(self, number, code, _):
        if number in self.streams and not self.streams[number].whole:
            self.streams[number].code = code

    def told_stop(self, number, code, _):
        if number in self.streams:
            self.streams[number].stopped = code

    def told_acked(self, number, count, _):
        if number in self.streams:
            self.streams[number].acked += count

    # -- waiting

    def wait(self, condition, patience_s=DEADLINE_S):
        end = self.deadline(patience_s)
        changed = self.program.changed
        with changed:
            while not condition() and not self.gone:
                if self.fault:
                    raise self.fault
                if not changed.wait(max(end - time.monotonic(), 0)):
                    raise TimeoutError("the node does not say what is waited for")

    def poll(self):
        pass

    # -- streams

    def new_stream(self):
        return H3Stream(self)

    def number_it(self, stream):
        with self.program.changed:
            stream.number = next(self.bidi)
            self.streams[stream.number] = stream

    def open_raw(self, data, fin=True):
        """A request stream of any bytes."""
        stream = self.new_stream()
        self.number_it(stream)
        stream.send(data, fin)
        return stream

    def open_uni(self, data, fin=False):
        """A stream of any type and bytes; returns its number."""
        number = next(self.uni)
        self.tell("data", number, int(fin), data)
        return number

    def send_head(self, stream, fields, end):
        self.number_it(stream)
        stream.send(headers(fields), end)

    def send_body(self, stream, data, patience_s):
        def refused():
            return stream.stopped is not None or stream.over()

        view, taken = memoryview(data), 0
        while taken < len(view) and not refused():
            try:
                self.wait(lambda: stream.handed - stream.acked < IN_FLIGHT or refused(), patience_s)
            except TimeoutError:
                break
            piece = view[taken:taken + 65536]
            stream.send(frame(DATA, bytes(piece)))
            taken += len(piece)
        # An answer that needs no more of the request is no failure of it.
        return len(view) if stream.stopped == NO_ERROR else taken

    def send_end(self, stream, trailers):
        stream.send(headers(trailers) if trailers else b"", True)

    def credit(self, number, n):
        self.tell("credit", number, n)

    def allow(self, stream, n):
        self.credit(stream.number, n)

    def cancel(self, stream, code=None):
        code = REQUEST_CANCELLED if code is None else code
        self.tell("reset", stream.number, code)
        self.tell("stop", stream.number, code)
        stream.code = code

    # -- the connection

    def handshake(self):
        """Waits until it is complete; whether it is."""
        self.wait(lambda: self.connected is not None)
        return self.connected is not None

    def rebind(self, migrate=False):
        self.tell("rebind", number=int(migrate))

    def update_key(self):
        self.tell("update")

    def close(self, code=NO_ERROR):
        self.leave("close", code)

    def abort(self):
        """Ends the connection with an error, whatever is in flight."""
        self.leave("close", INTERNAL_ERROR)

    def vanish(self):
        """Is not there any more; the node is not told."""
        self.leave("vanish")

    def leave(self, verb, code=0):
        if not self.gone:
            self.gone = "left"
            self.tell(verb, number=code)


PROTOCOLS["h3"] = H3Connection
