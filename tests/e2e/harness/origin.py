"""
The scripted origin. `on(path, first, second, ...)` says what the first, the second and, with the
last one, all later requests for a path get. An answer is a Reply; or a list of steps: bytes to
send, an Event to wait for, CLOSE or RESET; or a function of the exchange.
"""

import socket
import struct
import threading
from dataclasses import dataclass, field

from .util import DEADLINE_S, eventually
from .wire import (REQUEST_LINE, Body, Fields, Malformed, Stream, Truncated, as_pairs, chunk,
                   last_chunk, serialise)

CLOSE, RESET = object(), object()


@dataclass
class Reply:
    status: int = 200
    headers: object = ()
    body: bytes = b""
    chunked: bool = False
    trailers: object = ()
    interim: object = ()  # (status, headers) pairs sent first

    def head(self):
        headers = as_pairs(self.headers)
        names = {name.lower() for name, _ in headers}
        if self.chunked:
            headers.append(("Transfer-Encoding", "chunked"))
        elif self.status not in (204, 304) and "content-length" not in names:
            headers.append(("Content-Length", str(len(self.body))))
        return serialise(f"HTTP/1.1 {self.status} Scripted", headers)

    def content(self):
        if not self.chunked:
            return self.body
        half = (len(self.body) + 1) // 2
        pieces = [self.body[:half], self.body[half:]]
        return b"".join(chunk(p) for p in pieces if p) + last_chunk(as_pairs(self.trailers))


def fresh(body=b"fresh", seconds=60, headers=(), **more):
    """A reply that may be stored for so long."""
    headers = [("Cache-Control", f"max-age={seconds}")] + as_pairs(headers)
    return Reply(headers=headers, body=body, **more)


@dataclass
class Request:
    method: str
    target: str
    version: str
    fields: Fields
    connection: int  # the number of the connection it came on
    body: bytes = None  # None until read
    trailers: Fields = field(default_factory=Fields)
    raw: bytes = b""

    def __getitem__(self, name):
        return self.fields.get(name)


class Exchange:
    """One request at the origin, as a function that answers it sees it."""

    def __init__(self, origin, sock, stream, request):
        self.origin, self.sock, self.stream, self.request = origin, sock, stream, request
        self.open = True

    def send(self, data):
        self.sock.sendall(data)

    def wait(self, event):
        assert event.wait(DEADLINE_S), "the event the origin waits for never came"

    def read_body(self):
        request = self.request
        if request.body is not None:
            return request.body
        if request["Expect"]:
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = Body(self.stream, request.fields, length=0)
        request.body, request.trailers = body.rest(), body.trailers
        return request.body

    def close(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.open = False

    def reset(self):
        """The socket is only marked; the thread that owns it closes it."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.open = False

    def reply(self, reply):
        self.read_body()
        for status, headers in reply.interim:
            self.send(serialise(f"HTTP/1.1 {status} Interim", as_pairs(headers)))
        bodiless = self.request.method == "HEAD" or reply.status in (204, 304)
        self.send(reply.head() + (b"" if bodiless else reply.content()))

    def steps(self, steps):
        self.read_body()
        for step in steps:
            if step is CLOSE:
                self.close()
            elif step is RESET:
                self.reset()
            elif isinstance(step, bytes):
                self.send(step)
            else:
                self.wait(step)

    def answer(self, answer):
        if isinstance(answer, Reply):
            self.reply(answer)
        elif callable(answer):
            answer(self)
        else:
            self.steps(answer)
        # What was not read would be taken for the next request.
        if self.request.body is None:
            self.open = False


class Origin:
    def __init__(self):
        self.lock = threading.Lock()
        self.answers, self.seen = {}, {}
        self.requests, self.errors = [], []
        self.sockets, self.gates = set(), []
        self.connections = 0
        self.default = Reply(404, body=b"nothing here")
        self.tls = None  # a context of the ssl module: it speaks TLS
        self.sessions, self.resumptions, self.refusals = [], [], []
        self.listen(0)

    # -- scripting

    def on(self, path, *answers):
        with self.lock:
            self.answers[path] = list(answers)
            self.seen.pop(path, None)

    def gate(self):
        """An event for answers to wait at, opened at the end whatever happens."""
        self.gates.append(threading.Event())
        return self.gates[-1]

    # -- what it saw

    def count(self, target=None):
        return len([r for r in self.requests if target in (None, r.target)])

    def last(self, target=None):
        return [r for r in self.requests if target in (None, r.target)][-1]

    def wait_for(self, target, count=1):
        """Returns the request that makes it `count` for this target."""
        eventually(lambda: self.count(target) >= count, f"{count} requests for {target}")
        return [r for r in self.requests if r.target == target][count - 1]

    # -- running

    def listen(self, port):
        self.listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with self.lock:
                self.connections += 1
                self.sockets.add(sock)
                number = self.connections
            threading.Thread(target=self.serve, args=(sock, number), daemon=True).start()

    def secure(self, sock):
        """The session in place of the socket; None where the handshake fails."""
        try:
            session = self.tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            session.settimeout(DEADLINE_S)
            session.do_handshake()
        except (OSError, ValueError) as error:
            self.refusals.append(error)
            return None
        with self.lock:
            self.sockets.discard(sock)
            self.sockets.add(session)
        self.sessions.append(session)
        self.resumptions.append(session.session_reused)
        return session

    def serve(self, sock, number):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.tls:
            plain, sock = sock, self.secure(sock)
            if not sock:
                plain.close()
                return
        stream = Stream(sock)
        try:
            while self.serve_one(sock, stream, number):
                pass
        except (OSError, Truncated):
            pass  # the node may close or reset at any time
        except (AssertionError, Malformed) as error:
            self.errors.append(error)
        finally:
            with self.lock:
                self.sockets.discard(sock)
            sock.close()

    def serve_one(self, sock, stream, number):
        if stream.at_end():
            return False
        stream.record = b""
        match = REQUEST_LINE.match(line := stream.line())
        if not match:
            raise Malformed(f"request line: {line!r}")
        method, target, version = (group.decode() for group in match.groups())
        request = Request(method, target, f"1.{version}", stream.fields(), number)
        request.raw, stream.record = stream.record, None
        exchange = Exchange(self, sock, stream, request)
        exchange.answer(self.choose(request))
        return exchange.open

    def choose(self, request):
        """Records the request and takes the answer that is due."""
        path = request.target.partition("?")[0]
        with self.lock:
            self.requests.append(request)
            key = request.target if request.target in self.answers else path
            answers = self.answers.get(key, [self.default])
            turn = self.seen[key] = self.seen.get(key, -1) + 1
        return answers[min(turn, len(answers) - 1)]

    def drop_connections(self):
        with self.lock:
            for sock in self.sockets:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # already gone

    def refuse(self):
        """Stops listening and drops everybody: connections are refused from now on."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.drop_connections()

    def accept_again(self):
        self.listen(self.port)

    def stop(self):
        for gate in self.gates:
            gate.set()
        try:
            self.refuse()
        except OSError:
            pass  # refused already
