"""
The client: `get` and `request` where a scenario is about meaning, a connection where it is about
what comes when, and raw bytes where it is about bytes.

Connections of all protocols have the same interface, so that a scenario runs over each of them:

    request(method, target, headers, body, trailers)    a request, whole
    begin(method, target, headers, length), write(data), finish(trailers)      the same in pieces
    push(data)            writes until nothing is taken any more; how much was
    interim(), head()     the next interim head, the head of the response
    read(n), rest()       exactly so much of the body, the rest; what is not read is not asked for
    response()            head and body
    reset(), close()      leaves the request abruptly; leaves altogether
    usable(), ended()     whether another request may be asked; whether the node ends the connection next

What breaks off raises Truncated. `multiplexed` says whether a request can end without its connection.
"""

import re
import socket
import ssl
import struct

from .util import DEADLINE_S
from .wire import (STATUS_LINE, Body, Fields, Malformed, Stream, Truncated, as_pairs, chunk,
                   last_chunk, serialise)


class CacheStatus(dict):
    """The member of Cache-Status (RFC 9211) that is ours, as parameters; True where bare."""

    def __init__(self, value, name="verge"):
        super().__init__()
        for member in re.split(r",\s*(?=(?:[^\"]*\"[^\"]*\")*[^\"]*\Z)", value or ""):
            cache, *parameters = [part.strip() for part in member.split(";")]
            if cache != name:
                continue
            for parameter in parameters:
                key, equals, text = parameter.partition("=")
                self[key] = self.typed(text) if equals else True

    @staticmethod
    def typed(text):
        return int(text) if re.match(r"-?[0-9]+\Z", text) else text.strip('"')


class Response:
    def __init__(self, version, status, reason, fields, interim):
        self.version, self.status, self.reason = version, status, reason
        self.fields, self.interim = fields, interim
        self.body, self.trailers = b"", Fields()

    def __getitem__(self, name):
        return self.fields.get(name)

    def __repr__(self):
        return f"<{self.status} {self.fields} {self.body[:60]!r}>"

    @property
    def cache(self):
        return CacheStatus(self.fields.get("Cache-Status"))

    @property
    def hit(self):
        return self.cache.get("hit", False)

    @property
    def fwd(self):
        return self.cache.get("fwd")

    @property
    def stored(self):
        return self.cache.get("stored", False)


NAME = "test.example"  # whom a client asks for, where nothing else is said
SPEAKS = {}  # the protocol of each node's port: "h1" unless said otherwise here
BEFORE = {}  # by port too: what is done before each request that is sent whole


def trusting(*protocols):
    """A context that takes any certificate: whose it is, is its own scenario's business."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(protocols or ["http/1.1"])
    return context


def dial(port, receive_buffer_bytes=None):
    """A TCP connection whose every wait has the harness's deadline."""
    sock = socket.socket()
    if receive_buffer_bytes:  # before connect, so that the window is small from the start
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    sock.settimeout(DEADLINE_S)
    sock.connect(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def dial_tls(port, protocol, name, receive_buffer_bytes=None):
    return trusting(protocol).wrap_socket(dial(port, receive_buffer_bytes), server_hostname=name)


def hang_up(sock):
    """Ends a TCP connection by RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class Asking:
    """What all connections have in common: a request whole from its pieces, a response too. To be given: port."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def request(self, method, target, headers=(), body=None, trailers=()):
        """Sends a request: a body of bytes with a length, any other iterable without."""
        pieces = [body] if isinstance(body, bytes) else body
        length = len(body) if isinstance(body, bytes) else None
        if self.port in BEFORE:
            BEFORE[self.port]()
        self.begin(method, target, headers, length, bodiless=body is None)
        for piece in pieces or ():
            self.write(piece)
        self.finish(trailers)

    def write(self, data):
        taken = self.push(data, DEADLINE_S)
        if taken < len(data):
            raise Truncated(f"the node took {taken} of {len(data)} bytes")

    def response(self):
        """Exactly one final response."""
        response = self.head()
        response.body = self.rest()
        response.trailers = self.trailers
        return response


class Connection(Asking):
    """HTTP/1.1: one TCP connection, with TLS where the node wants it."""

    multiplexed = False

    def __init__(self, port, name=NAME, receive_buffer_bytes=None):
        self.port = port
        if SPEAKS.get(port, "h1") == "h1":
            self.sock = dial(port, receive_buffer_bytes)
        else:
            self.sock = dial_tls(port, "http/1.1", name, receive_buffer_bytes)
        self.stream = Stream(self.sock)
        self.method, self.body, self.chunked = "GET", None, False

    # -- bytes

    def send(self, data):
        self.sock.sendall(data.encode("latin-1") if isinstance(data, str) else data)

    def end_sending(self):
        try:
            socket.socket.shutdown(self.sock, socket.SHUT_WR)  # also below TLS
        except OSError:
            pass  # the node has ended the connection: reading tells how

    def close(self):
        self.sock.close()

    def reset(self):
        hang_up(self.sock)

    def usable(self):
        """Whether another request may be asked here, as far as the node has said."""
        return True

    def ended(self):
        """Whether the node closes next; waits for that or for a byte."""
        return self.stream.at_end()

    # -- a request

    def begin(self, method, target, headers=(), length=None, bodiless=False):
        """The head. What comes after is counted by `length`, or in chunks."""
        headers = as_pairs(headers)
        if "host" not in {name.lower() for name, _ in headers}:
            headers.insert(0, ("Host", NAME))
        self.method, self.chunked = method, length is None and not bodiless
        if length is not None:
            headers.append(("Content-Length", str(length)))
        elif self.chunked:
            headers.append(("Transfer-Encoding", "chunked"))
        self.send(serialise(f"{method} {target} HTTP/1.1", headers))

    def push(self, data, patience_s=1):
        """Sends until nothing is taken for so long; returns how much was. Whole chunks only."""
        if self.chunked:
            self.send(chunk(data) if data else b"")
            return len(data)
        view, taken = memoryview(data), 0
        self.sock.settimeout(patience_s)
        try:
            while taken < len(view):
                taken += self.sock.send(view[taken:taken + 65536])
        except TimeoutError:
            pass
        finally:
            self.sock.settimeout(DEADLINE_S)
        return taken

    def finish(self, trailers=()):
        if self.chunked:
            self.send(last_chunk(trailers))

    # -- its response

    def head_of_one(self):
        line = self.stream.line()
        match = STATUS_LINE.match(line)
        if not match:
            raise Malformed(f"status line: {line!r}")
        version, status, reason = match.groups()
        return f"1.{int(version)}", int(status), reason.decode("latin-1"), self.stream.fields()

    def interim(self):
        """The next head, which must be an interim one."""
        response = Response(*self.head_of_one(), [])
        assert 100 <= response.status < 200, response
        return response

    def head(self):
        """The head of the next final response, with the interim ones before it."""
        interim = []
        while True:
            response = Response(*self.head_of_one(), interim)
            if response.status >= 200 or response.status == 101:
                break
            interim = interim + [response]
        self.body = Body(self.stream, response.fields)
        if self.method == "HEAD" or response.status in (204, 304):
            self.body.over = True
        return response

    def read(self, n):
        return self.body.read(n)

    def rest(self):
        return self.body.rest()

    @property
    def trailers(self):
        return self.body.trailers


def name_asked(headers):
    """What a client puts into its hello for a request with these fields."""
    hosts = [value for name, value in as_pairs(headers) if name.lower() == "host"]
    return hosts[0].rpartition(":")[0] or hosts[0] if hosts else NAME


class Client:
    """A client with one connection to each name, opened again where the node has closed it."""

    def __init__(self, port):
        self.port = port
        self.kept = {}
        self.opened = []

    def connect(self, **options):
        connection = PROTOCOLS[SPEAKS.get(self.port, "h1")](self.port, **options)
        self.opened.append(connection)
        return connection

    def request(self, method, target, headers=(), body=None, trailers=()):
        name = NAME if SPEAKS.get(self.port, "h1") == "h1" else name_asked(headers)
        connection = self.kept.pop(name, None)
        if not connection or not connection.usable():
            connection = self.connect(name=name)
        connection.request(method, target, headers, body, trailers)
        response = connection.response()
        if (response["Connection"] or "").lower() != "close":
            self.kept[name] = connection
        return response

    def get(self, target, headers=(), method="GET"):
        return self.request(method, target, headers)

    def raw(self, data, method="GET"):
        """Sends bytes on a connection of its own; returns the response and the connection."""
        connection = self.connect()
        connection.send(data)
        connection.method = method
        return connection.response(), connection

    def close(self):
        """Leaves; who asks again comes back on a new connection."""
        for connection in self.opened:
            connection.close()
        self.kept, self.opened = {}, []


# Of each protocol; the others are added where they are defined.
PROTOCOLS = {"h1": Connection, "h1-tls": Connection}
