"""
What HTTP/2 and HTTP/3 have in common for a scenario: a connection of streams, each one exchange. A
connection has the interface that client.py describes, for the stream begun last; scenarios about
several at a time use the streams, which have it too.
"""

import time
from collections import deque

from .client import NAME, Asking, Response
from .util import DEADLINE_S
from .wire import Fields, Pieces, Truncated, as_pairs


def pseudo(method, target, headers, length=None):
    """The header section of a request: pseudo-fields first, names in lower case, Host as :authority."""
    pairs = [(name.lower(), value) for name, value in as_pairs(headers)]
    authority = next((value for name, value in pairs if name == "host"), NAME)
    head = [(":method", method), (":scheme", "https"), (":authority", authority), (":path", target)]
    head += [(name, value) for name, value in pairs if name != "host"]
    return head + ([("content-length", str(length))] if length is not None else [])


class Stream(Pieces, Asking):
    """One exchange. What has come waits here until somebody asks; only then is more of it allowed."""

    multiplexed = True

    def __init__(self, connection):
        self.connection, self.port, self.method = connection, connection.port, "GET"
        self.heads, self.data = deque(), bytearray()
        self.trailers = Fields()
        self.whole = False  # the end has come
        self.code = None    # with which it was reset by the node
        self.begun = False

    # -- what the connection tells of it

    def arrived(self, fields):
        """A header section: of a response, or its trailers."""
        if fields and fields[0][0] == ":status":
            self.heads.append((int(fields[0][1]), Fields(fields[1:])))
        else:
            self.trailers = Fields(fields)

    def broken(self):
        return self.code is not None or self.connection.gone

    def over(self):
        return self.whole or self.broken()

    # -- a request

    def begin(self, method, target, headers=(), length=None, bodiless=False):
        self.method, self.begun = method, True
        self.connection.send_head(self, pseudo(method, target, headers, length), bodiless)
        self.unfinished = not bodiless

    def push(self, data, patience_s=1):
        """Sends until nothing is taken for so long; returns how much was."""
        return self.connection.send_body(self, data, patience_s)

    def finish(self, trailers=()):
        if self.unfinished and not self.broken():
            self.connection.send_end(self, [(n.lower(), v) for n, v in as_pairs(trailers)])
        self.unfinished = False

    # -- its response

    def wait(self, condition):
        self.connection.wait(lambda: condition() or self.broken())

    def head_of_one(self):
        self.wait(lambda: self.heads or self.whole)
        if not self.heads:
            raise Truncated(f"no head: {self.connection.gone or self.code}", code=self.code)
        status, fields = self.heads.popleft()
        return Response(self.connection.version, status, "", fields, [])

    def interim(self):
        response = self.head_of_one()
        assert 100 <= response.status < 200, response
        return response

    def head(self):
        interim = []
        while (response := self.head_of_one()).status < 200:
            interim.append(response)
        response.interim = interim
        return response

    def some(self, limit):
        """At most so many bytes of the body; none at the end."""
        self.wait(lambda: self.data or self.whole)
        if not self.data:
            if not self.whole:
                why = self.connection.gone or f"the stream is reset: {self.code}"
                raise Truncated(why, code=self.code)
            return b""
        piece = bytes(self.data[:limit])
        del self.data[:len(piece)]
        if not self.connection.gone:  # also of a stream that is over: the connection's window is for all
            self.connection.allow(self, len(piece))
        return piece

    def take(self, limit):
        """What has come of the body, at most so much, without waiting. The connection is polled by whoever asks."""
        return self.some(limit) if self.data and limit else b""

    def reset(self, code=None):
        """Wants neither to send nor to receive any more."""
        self.connection.cancel(self, code)

    close = reset


class Multiplexed(Asking):
    """A connection. A protocol's own class says how heads and bodies are sent and waited for."""

    multiplexed = True

    def __init__(self, port):
        self.port = port
        self.current = None
        self.gone = None    # why there is no connection any more
        self.goaway = None  # the last stream the node says it has taken, as (stream, code)

    def open(self):
        """A stream that has not begun."""
        return self.new_stream()

    def begin(self, *request, **options):
        self.current = self.open()
        self.current.begin(*request, **options)

    def reset(self):
        """The request in flight; without one the connection."""
        if self.current and not self.current.over():
            self.current.reset()
        else:
            self.abort()

    def usable(self):
        """Whether another request may be begun here, as far as the node has said."""
        self.poll()
        return not self.gone and self.goaway is None

    def ended(self):
        """Waits for the node to end the connection."""
        self.wait(lambda: False)
        return True

    def __getattr__(self, name):
        """The rest of the interface is that of the stream begun last."""
        if name in ("push", "finish", "interim", "head", "read", "rest", "trailers", "some"):
            return getattr(self.current, name)
        raise AttributeError(name)

    @staticmethod
    def deadline(seconds=DEADLINE_S):
        return time.monotonic() + seconds
