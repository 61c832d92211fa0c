"""HTTP/1.1 as it is on the wire, read strictly. Shared by the client and the scripted origin."""

import re
import ssl

TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9]) ([^\x00-\x08\x0a-\x1f\x7f]*)\Z")
REQUEST_LINE = re.compile(rb"([!-~]+) ([!-~]+) HTTP/1\.([01])\Z")


class Truncated(Exception):
    """
    The peer ended before its message was whole: by FIN, by RST, or by resetting the stream, then
    with a `code`. `body` is what had come.
    """

    def __init__(self, what, body=b"", code=None):
        super().__init__(what)
        self.body, self.code = body, code


class Malformed(Exception):
    """The peer sent something that is not HTTP/1.1."""


class Fields(list):
    """(name, value) pairs as they came, in order and in their case."""

    def all(self, name):
        return [v for n, v in self if n.lower() == name.lower()]

    def get(self, name, default=None):
        """The combined value (RFC 9110 section 5.3)."""
        values = self.all(name)
        return ", ".join(values) if values else default

    def __contains__(self, name):
        return bool(self.all(name))

    def names(self):
        """As a set, without case."""
        return {n.lower() for n, _ in self}


def as_pairs(headers):
    return list(headers.items()) if isinstance(headers, dict) else list(headers)


def serialise(start_line, headers):
    lines = [start_line] + [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def last_chunk(trailers=()):
    return b"0\r\n" + "".join(f"{n}: {v}\r\n" for n, v in trailers).encode("latin-1") + b"\r\n"


class Stream:
    """A socket read by lines and by counts. `record` holds all that was taken, when wanted."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = b""
        self.record = None

    def more(self):
        """Receives once; False at the end, however it came."""
        try:
            data = self.sock.recv(65536)
        except (ConnectionError, ssl.SSLError):
            return False
        self.buffer += data
        return bool(data)

    def take(self, n):
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        if self.record is not None:
            self.record += data
        return data

    def line(self):
        while b"\n" not in self.buffer:
            if not self.more():
                raise Truncated(f"end within a line: {self.buffer[:80]!r}")
        line = self.take(self.buffer.index(b"\n") + 1)
        if not line.endswith(b"\r\n"):
            raise Malformed(f"bare LF: {line!r}")
        return line[:-2]

    def some(self, limit):
        """What there is, at most so many bytes; nothing at the end."""
        if not self.buffer:
            self.more()
        return self.take(limit)

    def exactly(self, n):
        parts, left = [], n
        while left:
            if not self.buffer and not self.more():
                raise Truncated(f"{left} of {n} bytes missing", b"".join(parts))
            parts.append(self.take(left))
            left -= len(parts[-1])
        return b"".join(parts)

    def to_end(self):
        while self.more():
            pass
        return self.take(len(self.buffer))

    def at_end(self):
        """Whether the peer has ended; waits until it does or says something."""
        return not self.buffer and not self.more()

    def fields(self):
        fields = Fields()
        while line := self.line():
            name, colon, value = line.partition(b":")
            if not colon or not TOKEN.match(name) or re.search(rb"[\x00\r]", value):
                raise Malformed(f"field line: {line!r}")
            fields.append((name.decode(), value.strip(b" \t").decode("latin-1")))
        return fields


def content_length(fields):
    values = fields.all("Content-Length")
    if len(values) > 1 or (values and not re.match(r"[0-9]+\Z", values[0])):
        raise Malformed(f"Content-Length: {values}")
    return int(values[0]) if values else None


def is_chunked(fields):
    codings = fields.all("Transfer-Encoding")
    if not codings:
        return False
    if codings != ["chunked"] or "Content-Length" in fields:
        raise Malformed(f"framing: {fields}")
    return True


class Pieces:
    """Reads upon `some(limit)`, which gives what has come next, up to a limit; nothing at the end."""

    def read(self, n):
        """Exactly so many bytes."""
        data = self.up_to(n)
        if len(data) < n:
            raise Truncated(f"{n - len(data)} of {n} bytes missing", data)
        return data

    def rest(self):
        return self.up_to(float("inf"))

    def up_to(self, n):
        parts = []
        try:
            while n and (piece := self.some(min(n, 1 << 20))):
                parts.append(piece)
                n -= len(piece)
        except Truncated as error:
            raise Truncated(str(error), b"".join(parts), error.code) from None
        return b"".join(parts)


class Body(Pieces):
    """The body of one message by its framing, taken in pieces as they are wanted."""

    def __init__(self, stream, fields, length=None):
        """`length` is what counts where the fields do not say: None is up to the end."""
        declared = content_length(fields)
        self.stream, self.trailers = stream, Fields()
        self.chunked = is_chunked(fields)
        self.left = 0 if self.chunked else length if declared is None else declared
        self.over = self.left == 0 and not self.chunked

    def some(self, limit):
        """At most so many bytes; none at the end."""
        if self.chunked and not self.left and not self.over:
            self.next_chunk()
        if self.over:
            return b""
        data = self.stream.some(limit if self.left is None else min(limit, self.left))
        if self.left is None:
            self.over = not data
        else:
            self.passed(len(data))
        return data

    def passed(self, n):
        if not n:
            raise Truncated(f"{self.left} bytes missing")
        self.left -= n
        if self.left:
            return
        if not self.chunked:
            self.over = True
        elif self.stream.exactly(2) != b"\r\n":
            raise Malformed("no CRLF after a chunk")

    def next_chunk(self):
        size = self.stream.line().partition(b";")[0]
        if not re.match(rb"[0-9A-Fa-f]{1,16}\Z", size):
            raise Malformed(f"chunk size: {size!r}")
        self.left = int(size, 16)
        if not self.left:
            self.trailers, self.over = self.stream.fields(), True
