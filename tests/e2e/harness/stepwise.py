"""
Both ends of requests for a driver of one thread: nothing here waits. What has come is taken by `pump`, and how much
of it a client takes, and when an origin says what, the driver decides step by step.
"""

import re
import socket
import ssl

from .client import NAME, SPEAKS, dial, hang_up, trusting
from .h2 import H2Connection
from .h3 import H3Connection
from .wire import REQUEST_LINE, STATUS_LINE, TOKEN, Fields, Malformed, content_length, is_chunked, serialise

PIECE = 1 << 18
ALL = 1 << 40  # bytes: as many as come


class Incoming:
    """One HTTP/1.1 message after the other, taken apart as it arrives, strictly."""

    def __init__(self, start_line):
        self.start_line, self.buffer = start_line, bytearray()
        self.begin()

    def begin(self):
        """The next message."""
        self.start = self.fields = None
        self.data, self.trailers = bytearray(), Fields()
        self.state, self.left = "head", 0

    @property
    def whole(self):
        return self.state == "over"

    def feed(self, data=b""):
        self.buffer += data
        while self.buffer and self.state not in ("framing", "over") and getattr(self, "take_" + self.state)():
            pass

    def until(self, mark):
        """What stands before the mark, which goes with it; None while it is not there."""
        at = self.buffer.find(mark)
        if at < 0:
            return None
        data = bytes(self.buffer[:at])
        del self.buffer[:at + len(mark)]
        return data

    @staticmethod
    def parse_fields(lines):
        fields = Fields()
        for line in lines:
            name, colon, value = line.partition(b":")
            if not colon or not TOKEN.match(name) or re.search(rb"[\x00\r\n]", value):
                raise Malformed(f"field line: {line!r}")
            fields.append((name.decode(), value.strip(b" \t").decode("latin-1")))
        return fields

    def take_head(self):
        head = self.until(b"\r\n\r\n")
        if head is None:
            return False
        first, *lines = head.split(b"\r\n")
        match = self.start_line.match(first)
        if not match:
            raise Malformed(f"start line: {first!r}")
        self.start, self.fields = [group.decode("latin-1") for group in match.groups()], self.parse_fields(lines)
        self.state = "framing"
        return False

    def frame(self, bodiless, without_length):
        """The head is there: what follows it. `without_length` is what a body is that has none: "over" or "to_end"."""
        length = content_length(self.fields)
        if bodiless:
            self.state = "over"
        elif is_chunked(self.fields):
            self.state = "size"
        elif length is None:
            self.state = without_length
        else:
            self.left, self.state = length, "length" if length else "over"
        self.feed()

    def move(self):
        piece = self.buffer[:self.left]
        self.data += piece
        del self.buffer[:len(piece)]
        self.left -= len(piece)
        return self.left == 0

    def take_length(self):
        if self.move():
            self.state = "over"
        return True

    def take_to_end(self):
        self.data += self.buffer
        self.buffer.clear()
        return False

    def take_size(self):
        line = self.until(b"\r\n")
        if line is None:
            return False
        size = line.partition(b";")[0]
        if not re.match(rb"[0-9A-Fa-f]{1,16}\Z", size):
            raise Malformed(f"chunk size: {line!r}")
        self.left = int(size, 16)
        self.state = "chunk" if self.left else "trailer"
        return True

    def take_chunk(self):
        if self.move():
            self.state = "chunk_end"
        return True

    def take_chunk_end(self):
        if len(self.buffer) < 2:
            return False
        if self.until(b"\r\n") != b"":
            raise Malformed("no CRLF after a chunk")
        self.state = "size"
        return True

    def take_trailer(self):
        line = self.until(b"\r\n")
        if line:
            self.trailers += self.parse_fields([line])
        elif line is not None:
            self.state = "over"
        return line is not None


class Wire:
    """A socket that does not block, and what it has yet to take."""

    def __init__(self, sock):
        self.sock, self.out, self.open = sock, bytearray(), True
        sock.setblocking(False)

    def send(self, data=b""):
        if not self.open:
            return
        self.out += data
        try:
            while self.out:
                del self.out[:self.sock.send(memoryview(self.out)[:PIECE].tobytes())]
        except (BlockingIOError, ssl.SSLWantWriteError):
            pass
        except (ConnectionError, ssl.SSLError):
            self.out.clear()  # receiving tells

    def receive(self, limit=PIECE):
        """What has come: None for nothing, b"" at the end; raises ConnectionError if it did not end in order."""
        try:
            return self.sock.recv(limit)
        except (BlockingIOError, ssl.SSLWantReadError):
            return None
        except ssl.SSLError as error:
            raise ConnectionResetError(str(error)) from None

    def end(self):
        """No more is sent."""
        try:
            socket.socket.shutdown(self.sock, socket.SHUT_WR)  # also below TLS
        except OSError:
            pass  # receiving tells

    def close(self):
        self.open = False
        self.sock.close()

    def reset(self):
        if self.open:
            self.open = False
            hang_up(self.sock)


# ---- the origin


class Call:
    """One request at the origin, and what is to be said to it."""

    def __init__(self, connection, message):
        self.connection, self.fields = connection, message.fields
        self.method, self.target, _ = message.start
        self.left = None       # of the response, to be sent; None before it has begun
        self.closes = False    # the connection ends with the response
        self.gone = False      # the node has ended the connection

    def __getitem__(self, name):
        return self.fields.get(name)

    def __repr__(self):
        begun = "" if self.left is None else f", {len(self.left)} bytes to say"
        return f"<{self.method} {self.target} of ask {self['X-Ask']}, {len(self.body)} bytes{' whole' * self.asked}{begun}>"

    @property
    def body(self):
        """What has come of the request's."""
        return self.connection.incoming.data

    @property
    def asked(self):
        """The request is whole."""
        return self.connection.incoming.whole

    def drink(self, count):
        """Takes so much more of the request's body, at once what there is of it."""
        self.connection.thirst = max(self.connection.thirst, 0) + count
        while not self.asked and not self.gone and self.connection.pump():
            pass

    def begin(self, start_line, fields, content, closes=False):
        self.left, self.closes = memoryview(content), closes
        self.connection.wire.send(serialise(start_line, fields))

    def push(self, count):
        piece, self.left = self.left[:count], self.left[count:]
        self.connection.wire.send(piece)

    def said(self):
        """Everything, and all of it was taken by the kernel."""
        return self.left is not None and not self.left and not self.connection.wire.out

    def end(self):
        if self.closes:
            self.connection.close()
        else:
            self.connection.next()


class OriginConnection:
    def __init__(self, origin, sock):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.origin, self.wire = origin, Wire(sock)
        self.incoming, self.call = Incoming(REQUEST_LINE), None
        self.thirst = ALL  # bytes that are taken until it is told to take more

    def pump(self):
        """Whether anything moved."""
        before = len(self.wire.out)
        self.wire.send()
        if self.thirst <= 0:
            return before != len(self.wire.out)
        try:
            data = self.wire.receive(min(self.thirst, PIECE))
        except ConnectionError:
            data = b""
        if data == b"":
            self.close()
            if self.call:
                self.call.gone = True
        elif data:
            self.thirst -= len(data)
            self.incoming.feed(data)
            self.look()
        return bool(data) or data == b"" or before != len(self.wire.out)

    def look(self):
        if self.incoming.state == "framing":
            self.incoming.frame(False, "over")
            self.call = Call(self, self.incoming)
            self.origin.calls.append(self.call)
            if not self.incoming.whole:
                self.thirst = self.origin.thirst(self.call)

    def next(self):
        """The response is over: another request may come."""
        self.call, self.thirst = None, ALL
        if not self.incoming.whole:
            self.close()
            return
        self.incoming.begin()
        self.incoming.feed()
        self.look()

    def close(self):
        self.wire.end()  # what is not read makes it a reset: so the node hears of the end first
        self.wire.close()


class StepwiseOrigin:
    """
    An origin server that says nothing but what it is told to: `calls` are the requests it has taken. thirst(call) says
    how much of a request's body is taken at first.
    """

    def __init__(self, thirst=lambda call: ALL):
        self.thirst = thirst
        self.port, self.listener = 0, None
        self.connections, self.calls = [], []
        self.listen()

    def listen(self):
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=4096)
        # What a request's body may be ahead of what is read of it is kept small.
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1400)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]

    def refuse(self):
        """Connections are refused from now on, those that there are, are reset."""
        self.pump()
        self.listener.close()
        self.listener = None
        for connection in self.connections:
            if connection.call:
                connection.call.gone = True
            connection.wire.reset()

    def close(self):
        if self.listener:
            self.refuse()

    def pump(self):
        moved = False
        while self.listener:
            try:
                sock, _ = self.listener.accept()
            except BlockingIOError:
                break
            self.connections.append(OriginConnection(self, sock))
            moved = True
        for connection in self.connections:
            moved |= connection.wire.open and connection.pump()
        self.connections = [connection for connection in self.connections if connection.wire.open]
        self.calls = [call for call in self.calls if not call.gone]
        return moved

    def over(self, call):
        self.calls.remove(call)

    def drop_connections(self):
        """Those that wait for a request."""
        self.pump()
        for connection in self.connections:
            connection.close()
        self.pump()


# ---- clients: the same interface for the three protocols, a stream for each request


class H1Stream:
    """One request on a connection of HTTP/1.1: what H2Stream and H3Stream are, as far as the driver looks."""

    multiplexed = False

    def __init__(self, connection):
        self.connection, self.method = connection, "GET"
        self.heads, self.data = [], bytearray()
        self.whole, self.code = False, None

    def begin(self, method, target, headers, length=None, bodiless=False, version="1.1"):
        self.method, self.chunked = method, not bodiless and length is None
        framing = [("Content-Length", length)] if length is not None else []
        framing = [("Transfer-Encoding", "chunked")] if self.chunked else framing
        self.connection.streams.append(self)
        self.connection.wire.send(
            serialise(f"{method} {target} HTTP/{version}", [("Host", NAME), *headers, *framing]))

    def push(self, data, _=None):
        self.connection.wire.send(b"%x\r\n%s\r\n" % (len(data), data) if self.chunked and data else data)
        return len(data)

    def finish(self):
        if self.chunked:
            self.connection.wire.send(b"0\r\n\r\n")

    def broken(self):
        return not self.whole and self.connection.gone is not None

    def take(self, limit):
        return self.connection.take(self, limit)

    def reset(self):
        self.connection.abort()


class H1Client:
    """A connection; its streams are requests one behind the other."""

    multiplexed = False

    def __init__(self, port):
        sock = dial(port)
        if SPEAKS.get(port, "h1") != "h1":
            sock = trusting("http/1.1").wrap_socket(sock, server_hostname=NAME, suppress_ragged_eofs=False)
        self.wire = Wire(sock)
        self.incoming, self.streams = Incoming(STATUS_LINE), []
        self.gone = self.goaway = None

    def open(self):
        return H1Stream(self)

    def poll(self):
        """Each request takes for itself what comes."""

    def usable(self):
        return self.gone is None and self.goaway is None

    def end_sending(self):
        self.goaway = "half-closed"
        self.wire.end()

    def take(self, stream, limit):
        """What has come of this stream's body, at most so much. Others behind it are not looked at."""
        if self.gone is None and self.streams and self.streams[0] is stream:
            self.wire.send()
            self.take_in(stream, limit)
        piece = bytes(stream.data[:limit])
        del stream.data[:limit]
        return piece

    def take_in(self, stream, limit):
        self.incoming.feed()
        self.hand_over(stream)
        while not stream.whole and self.gone is None and len(stream.data) < limit:
            try:
                data = self.wire.receive()
            except ConnectionError as error:
                self.leave(f"reset: {error}")
                return
            if data is None:
                return
            if data == b"":
                stream.whole = self.incoming.state == "to_end"
                self.leave("the node has ended the connection")
                return
            self.incoming.feed(data)
            self.hand_over(stream)

    def hand_over(self, stream):
        message = self.incoming
        while message.state == "framing":
            status, fields = int(message.start[1]), message.fields
            stream.heads.append((status, fields))
            if status < 200:
                message.begin()
                message.feed()
                continue
            message.frame(stream.method == "HEAD" or status in (204, 304), "to_end")
            if (fields.get("Connection") or "").lower() == "close":
                self.goaway = "said close"
        stream.data += message.data
        message.data.clear()
        if message.whole:
            stream.whole = True
            self.streams.pop(0)
            message.begin()

    def leave(self, why):
        self.gone = self.gone or why
        self.wire.close()

    def close(self):
        self.leave("closed")

    def abort(self):
        self.gone = self.gone or "aborted"
        self.wire.reset()


def connect(port, protocol):
    return {"h2": H2Connection, "h3": H3Connection}.get(protocol, H1Client)(port)
