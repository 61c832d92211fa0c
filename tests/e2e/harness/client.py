"""The client: raw bytes where a scenario is about bytes, `get` and `request` where it is not."""

import re
import socket
import ssl
import struct

from .util import DEADLINE_S
from .wire import (STATUS_LINE, Fields, Malformed, Stream, as_pairs, chunk, content_length,
                   is_chunked, last_chunk, serialise)


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


TLS_PORTS = set()  # where nodes speak TLS


def trusting():
    """A context that takes any certificate: whose it is, is its own scenario's business."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


class Connection:
    """One TCP connection, with TLS where the node wants it. Every wait has the harness's deadline."""

    def __init__(self, port, receive_buffer_bytes=None):
        self.sock = socket.socket()
        if receive_buffer_bytes:  # before connect, so that the window is small from the start
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self.sock.settimeout(DEADLINE_S)
        self.sock.connect(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if port in TLS_PORTS:
            self.sock = trusting().wrap_socket(self.sock, server_hostname="test.example")
        self.stream = Stream(self.sock)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

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
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def ended(self):
        """Whether the node closes next; waits for that or for a byte."""
        return self.stream.at_end()

    def request(self, method, target, headers=(), body=None, trailers=()):
        """Sends a request: bytes with a length, any other iterable in chunks."""
        headers = as_pairs(headers)
        names = {name.lower() for name, _ in headers}
        if "host" not in names:
            headers.insert(0, ("Host", "test.example"))
        if isinstance(body, bytes):
            headers.append(("Content-Length", str(len(body))))
            self.send(serialise(f"{method} {target} HTTP/1.1", headers) + body)
            return
        if body is not None:
            headers.append(("Transfer-Encoding", "chunked"))
        self.send(serialise(f"{method} {target} HTTP/1.1", headers))
        if body is not None:
            for piece in body:
                self.send(chunk(piece))
            self.send(last_chunk(trailers))

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
                return response
            interim = interim + [response]

    def response(self, method="GET"):
        """Exactly one final response, by its framing."""
        response = self.head()
        fields, stream = response.fields, self.stream
        length, chunked = content_length(fields), is_chunked(fields)
        if method == "HEAD" or response.status in (204, 304):
            pass
        elif chunked:
            response.body, response.trailers = stream.chunks()
        elif length is not None:
            response.body = stream.exactly(length)
        else:
            response.body = stream.to_end()
        return response


class Client:
    """A client with one connection at a time, opened again where the node has closed it."""

    def __init__(self, port):
        self.port = port
        self.kept = None
        self.opened = []

    def connect(self, **options):
        connection = Connection(self.port, **options)
        self.opened.append(connection)
        return connection

    def request(self, method, target, headers=(), body=None, trailers=()):
        connection, self.kept = self.kept or self.connect(), None
        connection.request(method, target, headers, body, trailers)
        response = connection.response(method)
        if (response["Connection"] or "").lower() != "close":
            self.kept = connection
        return response

    def get(self, target, headers=(), method="GET"):
        return self.request(method, target, headers)

    def raw(self, data):
        """Sends bytes on a connection of its own; returns the response and the connection."""
        connection = self.connect()
        connection.send(data)
        return connection.response(), connection

    def close(self):
        for connection in self.opened:
            connection.close()
