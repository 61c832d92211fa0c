"""
Everything at once, and every byte looked at: clients that read slowly, leave, pipeline, upload and
ask for ranges, before an origin that delays, stalls, truncates, resets and talks unasked, while the
configuration is read again. A response that looks whole must be what the origin said; what is not
must look cut off.

The seed decides what each client and the origin do, and is printed; threads decide the order.
    CHAOS_SEED=n CHAOS_SECONDS=s tools/run-tests e2e
"""

import itertools
import os
import random
import re
import signal
import threading
import time
import zlib
from collections import Counter
from dataclasses import dataclass

from harness import Connection, Reply, Truncated, fresh, in_parallel
from harness.wire import chunk, content_length, is_chunked, last_chunk, serialise

SEED = int(os.environ.get("CHAOS_SEED", random.randrange(1 << 32)))
SECONDS = float(os.environ.get("CHAOS_SECONDS", 10))
CLIENTS = 24
SIZES = [0, 1, 100, 4000, 8192, 60_000, 200_000, 1_500_000]
SIZE_WEIGHTS = [2, 2, 6, 6, 4, 4, 2, 1]
BASE = random.Random(SEED).randbytes(1 << 22)
STEADY = "/steady"  # always well answered
SMUGGLED = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nCache-Control: max-age=9\r\n\r\nsmuggled"
# What the node may say by itself. All else has to carry the origin's version.
OWN_ANSWERS = {400, 408, 416, 502, 503, 504}

CACHE = "object_max 1M; window $window; uncacheable_ttl 1s;"
ORIGIN = "first_byte_timeout 1s; between_bytes_timeout 1s; connect_timeout 2s;"
ROUTE = "stale_while_revalidate 1s; stale_if_error 2s; response_header set X-Reload $reload;"
LIMITS = """limits { header_timeout 5s; idle_timeout 5s; body_timeout 2s; send_timeout 3s; }
workers 2;"""


# ---- what the origin says


@dataclass
class Said:
    """One version of what is at a path, never to change."""

    version: int
    path: str
    kind: str  # the request's X-Kind, where the path varies by it
    size: int
    shared: bool
    given: int = 0  # to how many responses, where it is for one client

    @property
    def body(self):
        at = self.version * 7919 % (len(BASE) // 2)
        return BASE[at:at + self.size]

    @property
    def etag(self):
        return f'"{self.version}"'


class Book:
    """All that was ever said. Versions grow; the origin answers with a path's current one."""

    def __init__(self):
        self.lock = threading.Lock()
        self.versions = itertools.count(1)
        self.said, self.current = {}, {}
        self.floor = Counter()  # by path: what a client was told replaced all before it

    def write(self, path, kind=""):
        version = next(self.versions)
        rng = random.Random(f"{SEED} {version}")
        size = rng.choices(SIZES, SIZE_WEIGHTS)[0]
        said = Said(version, path, kind, size, shared=not path.startswith("/private"))
        self.said[version] = self.current[path, kind] = said
        return said

    def renew(self, path):
        """An unsafe request: everything at the path is new."""
        with self.lock:
            for known, kind in list(self.current):
                if known == path:
                    self.write(path, kind)
            return self.write(path)

    def read(self, path, kind, rng):
        with self.lock:
            said = self.current.get((path, kind))
            if said is None or not said.shared or rng.random() < 0.2:
                said = self.write(path, kind)
            return said


def checksum(body):
    return f"{len(body)}-{zlib.crc32(body)}"


class Misbehaving:
    """The origin's answer to everything."""

    def __init__(self, book):
        self.book = book
        self.turns = itertools.count()

    def __call__(self, exchange):
        request = exchange.request
        rng = random.Random(f"{SEED} origin {next(self.turns)}")
        path = request.target.partition("?")[0]
        if path == STEADY:
            exchange.reply(fresh(b"steady", 600))
            return
        if rng.random() < 0.1:
            time.sleep(rng.random() / 20)
        if self.fault_before_head(exchange, rng):
            return
        if request.method not in ("GET", "HEAD"):
            self.take_upload(exchange, path)
            return
        exchange.read_body()
        kind = request["X-Kind"] or "" if path.startswith("/vary") else ""
        self.give(exchange, self.book.read(path, kind, rng), rng)

    @staticmethod
    def fault_before_head(exchange, rng):
        """Also while the request is still being sent."""
        fault = rng.choices(["", "close", "reset", "stall", "garbage"], [100, 1, 1, 0.5, 1])[0]
        if fault == "close":
            exchange.close()
        elif fault == "reset":
            exchange.reset()
        elif fault == "stall":
            time.sleep(1.5)
            exchange.close()
        elif fault == "garbage":
            exchange.send(b"HTTP/1.1 2x0 Garbage\r\nContent-Length: 5\r\n\r\nhello")
            exchange.close()
        return fault != ""

    def take_upload(self, exchange, path):
        """What arrives whole is what the client meant to send: a field says its checksum."""
        body = exchange.read_body()
        meant = exchange.request["X-Meant"]
        assert meant == checksum(body), "an upload arrived changed, or cut and looked whole"
        said = self.book.renew(path)
        exchange.reply(Reply(headers=[("X-Renewed", str(said.version))], body=meant.encode()))

    def give(self, exchange, said, rng):
        request = exchange.request
        fields = [("X-Version", str(said.version)), ("ETag", said.etag)]
        age = rng.choice(["max-age=0", "max-age=1", "max-age=60"])
        fields.append(("Cache-Control", age if said.shared else "no-store"))
        if said.path.startswith("/vary"):
            fields.append(("Vary", "X-Kind"))
        if request["If-None-Match"] == said.etag:
            exchange.send(serialise("HTTP/1.1 304 Not Modified", fields[1:]))
            return
        if rng.random() < 0.05:
            exchange.send(serialise("HTTP/1.1 103 Early Hints", [("Link", "</a>")]))
        status, body = "200 OK", said.body
        part = re.match(r"bytes=([0-9]+)-([0-9]+)\Z", request["Range"] or "")
        part = part if request.method == "GET" else None
        applies = part and int(part[1]) < said.size and request["If-Range"] in (None, said.etag)
        if applies and rng.random() < 0.6:
            first, last = int(part[1]), min(int(part[2]), said.size - 1)
            status, body = "206 Partial Content", body[first:last + 1]
            fields.append(("Content-Range", f"bytes {first}-{last}/{said.size}"))
        self.send(exchange, f"HTTP/1.1 {status}", fields, body, rng)

    def send(self, exchange, start_line, fields, body, rng):
        framing = rng.choices(["length", "chunked", "crumbs", "close"], [6, 4, 1, 1])[0]
        if framing == "length":
            fields.append(("Content-Length", str(len(body))))
            wire = body
        elif framing == "close":
            fields.append(("Connection", "close"))
            wire = body
        else:
            fields.append(("Transfer-Encoding", "chunked"))
            wire = self.in_chunks(body, 3 if framing == "crumbs" else rng.choice([700, 20_000]))
        head = serialise(start_line, fields)
        if exchange.request.method == "HEAD":
            wire = b""
        self.send_body(exchange, head, wire, framing, rng)

    @staticmethod
    def in_chunks(body, size):
        crumbs = body[:6000] if size < 10 else body
        parts = [chunk(crumbs[i:i + size]) for i in range(0, len(crumbs), size)]
        if len(crumbs) < len(body):
            parts.append(chunk(body[len(crumbs):]))
        return b"".join(parts) + last_chunk([("X-Trailer", "t")])

    def send_body(self, exchange, head, wire, framing, rng):
        fault = rng.choices(["", "cut", "reset", "stall", "extra"], [40, 2, 2, 0.5, 2])[0]
        if fault == "extra" and framing != "close" and len(wire) < 5000:
            # In one piece with the answer: what came after the next request could be its own.
            exchange.send(head + wire + SMUGGLED)
            exchange.close()
            return
        cut = fault in ("cut", "reset", "stall") and len(wire) > 0
        exchange.send(head)
        self.send_pieces(exchange, wire[:rng.randrange(len(wire))] if cut else wire, rng)
        if fault == "stall":
            time.sleep(1.5)
        if cut and (fault == "reset" or framing == "close"):
            exchange.reset()  # an end in order would make it whole
        elif cut or framing == "close":
            exchange.close()

    @staticmethod
    def send_pieces(exchange, wire, rng):
        pieces = rng.choice([1, 1, 1, 2, 5])
        step = len(wire) // pieces + 1
        for at in range(0, len(wire), step):
            exchange.send(wire[at:at + step])
            if pieces > 1:
                time.sleep(rng.random() / 50)


# ---- what a client makes of it


class Judge:
    """Compares responses with the book."""

    def __init__(self, book):
        self.book, self.seen = book, Counter()

    def floor(self, target):
        return self.book.floor[target]

    def check(self, asked, response):
        """`asked` is what was sent; `response` came whole."""
        self.seen[response.status] += 1
        self.seen["hit"] += response.hit
        if asked.path == STEADY:
            assert response.status in OWN_ANSWERS or response["Content-Length"] == "6", response
            return
        if response["X-Version"] is None:
            assert response.status in OWN_ANSWERS, response
            return
        said = self.book.said[int(response["X-Version"])]
        assert (said.path, said.kind) == (asked.path, asked.kind), (asked, response)
        assert said.version >= asked.floor, f"older than what replaced it: {asked} {response}"
        self.check_shared(said)
        self.check_body(asked, said, response)

    def check_shared(self, said):
        with self.book.lock:
            said.given += 1
        assert said.shared or said.given == 1, f"{said} was for one client"

    def check_body(self, asked, said, response):
        if asked.method == "HEAD":
            assert response["Content-Length"] in (None, str(said.size)), (said, response)
        elif response.status == 304:
            assert asked.headers.get("If-None-Match") == said.etag, (asked, response)
        elif response.status == 206:
            self.check_parts(asked, said, response)
        else:
            assert response.status == 200 and response.body == said.body, (asked, said, response)

    @staticmethod
    def check_parts(asked, said, response):
        assert "Range" in asked.headers, (asked, response)
        boundary = re.match(r"multipart/byteranges; boundary=(\S+)", response["Content-Type"] or "")
        parts = [(response["Content-Range"], response.body)]
        if boundary:
            texts = response.body.split(b"--" + boundary[1].encode())[1:-1]
            heads = [text.partition(b"\r\n\r\n") for text in texts]
            parts = [(re.search(r"Content-Range: (.*)", head.decode())[1].strip(), body[:-2])
                     for head, _, body in heads]
        for told, body in parts:
            match = re.match(r"bytes ([0-9]+)-([0-9]+)/([0-9]+)\Z", told)
            first, last, size = map(int, match.groups())
            assert size == said.size and body == said.body[first:last + 1], (asked, said, told)


@dataclass
class Asked:
    method: str
    path: str
    kind: str
    headers: dict
    floor: int

    def wire(self, version="1.1"):
        headers = [("Host", "chaos.example"), *self.headers.items()]
        return serialise(f"{self.method} {self.path} HTTP/{version}", headers)


def read_whole(connection, method):
    """One response. Without a length it is whole only if the connection ends in order."""
    response = connection.head()
    fields, stream = response.fields, connection.stream
    if method == "HEAD" or response.status in (204, 304):
        return response
    if is_chunked(fields) or content_length(fields) is not None:
        response.body = connection.rest()
    else:
        try:
            while data := connection.sock.recv(65536):
                stream.buffer += data
        except ConnectionError:
            raise Truncated("reset") from None
        response.body = stream.take(len(stream.buffer))
    return response


class Chaotic:
    """One client: does one thing after another until the time is over."""

    def __init__(self, number, verge, judge, until):
        self.rng = random.Random(f"{SEED} client {number}")
        self.port, self.judge, self.until = verge.port, judge, until
        self.etags = {}

    def run(self):
        acts = {self.ask_some: 10, self.pipeline: 4, self.upload: 3, self.leave: 3,
                self.read_slowly: 1, self.ask_1_0: 2, self.talk_nonsense: 1}
        while time.monotonic() < self.until:
            act = self.rng.choices(list(acts), acts.values())[0]
            try:
                with Connection(self.port) as connection:
                    act(connection)
            except TimeoutError:
                raise  # nothing may hang
            except (Truncated, OSError) as error:
                assert self.begun or self.excused, f"{act.__name__}: no answer at all: {error!r}"

    # -- asking

    def choose(self):
        rng = self.rng
        place = rng.choice(["shared", "shared", "private", "vary"])
        path = f"/{place}/{rng.randrange(12)}"
        kind = rng.choice(["", "a", "b"]) if place == "vary" else ""
        headers = {"X-Kind": kind} if kind else {}
        method = "HEAD" if rng.random() < 0.1 else "GET"
        if rng.random() < 0.15:
            headers["Range"] = self.range()
        elif path in self.etags and rng.random() < 0.3:
            headers["If-None-Match"] = self.etags[path]
        return Asked(method, path, kind, headers, self.judge.floor(path))

    def range(self):
        at = self.rng.choice([0, 10, 3000, 50_000])
        other = self.rng.choice([0, 20, 5000, 100_000])
        several = f"bytes={at}-{at + 9},{other}-{other + 49}"
        return self.rng.choice([f"bytes={at}-{at + 99}", f"bytes={at}-", "bytes=-50", several])

    def expect(self, *asked):
        """A reset may come before the head it cuts off, and take with it what was queued before."""
        self.begun = self.excused = False
        self.may_break_off = any(one.method == "GET" and one.path != STEADY for one in asked)

    def receive(self, connection, asked):
        response = self.begin(connection, asked)
        self.judge.check(asked, response)
        if response["ETag"]:
            self.etags[asked.path] = response["ETag"]
        return response["Connection"] != "close"

    def begin(self, connection, asked):
        """As soon as there is a byte of an answer, it may be cut off."""
        stream = connection.stream
        if not stream.buffer:
            try:
                stream.buffer = connection.sock.recv(65536)
            except ConnectionError:
                self.excused |= self.may_break_off
                raise
        if not stream.buffer:
            raise Truncated("the end")
        self.begun = True
        return read_whole(connection, asked.method)

    def ask_some(self, connection):
        for turn in range(self.rng.randrange(1, 6)):
            asked = self.choose()
            self.expect(asked)
            self.excused = turn > 0  # a connection may end between two requests
            connection.send(asked.wire())
            if not self.receive(connection, asked):
                return

    def pipeline(self, connection):
        """Now and then more than the node takes in at once."""
        batch = [self.choose() for _ in range(self.rng.choice([2, 5, 20]))]
        if self.rng.random() < 0.2:
            batch = batch[:1] + [Asked("HEAD", STEADY, "", {"X-Padding": "x" * 50}, 0)] * 1500
        wire = b"".join(asked.wire() for asked in batch)
        threading.Thread(target=self.send_all, args=(connection, wire), daemon=True).start()
        for i, asked in enumerate(batch):
            self.expect(*batch[i:i + 20])
            if not self.receive(connection, asked) or time.monotonic() > self.until:
                return

    @staticmethod
    def send_all(connection, wire):
        try:
            connection.send(wire)
        except OSError:
            pass  # the other thread sees it, too

    def ask_1_0(self, connection):
        asked = self.choose()
        self.expect(asked)
        connection.send(asked.wire("1.0"))
        if self.rng.random() < 0.3:
            connection.end_sending()
        self.receive(connection, asked)

    # -- doing harm

    def upload(self, connection):
        self.begun, self.excused = False, True  # the origin may answer early, and cut it off
        body = BASE[:self.rng.choice([0, 10, 5000, 300_000])]
        path = "/shared/%d" % self.rng.randrange(12)
        cut = self.rng.random() < 0.2
        pieces = [body[i:i + 50_000] for i in range(0, len(body), 50_000)]
        chunked = self.rng.random() < 0.5
        length = ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(len(body)))
        headers = [("Host", "chaos.example"), ("X-Meant", checksum(body)), length]
        connection.send(serialise(f"POST {path} HTTP/1.1", headers))
        for piece in pieces[:-1] if cut else pieces:
            connection.send(chunk(piece) if chunked else piece)
        if cut:
            self.hang_up(connection)
            return
        if chunked:
            connection.send(last_chunk())
        response = read_whole(connection, "POST")
        if response.status == 200:
            assert response.body.decode() == checksum(body), response
            with self.judge.book.lock:
                floor = self.judge.book.floor
                floor[path] = max(floor[path], int(response["X-Renewed"]))
        self.judge.seen["POST", response.status] += 1

    def hang_up(self, connection):
        self.rng.choice([connection.reset, connection.close])()

    def leave(self, connection):
        """In the middle of the head, of the wait, or of the answer."""
        self.begun = self.excused = True
        wire = self.choose().wire()
        when = self.rng.choice(["asking", "waiting", "answered"])
        connection.send(wire[:self.rng.randrange(len(wire))] if when == "asking" else wire)
        if when == "answered":
            connection.sock.recv(self.rng.choice([1, 1000, 50_000]))
        self.hang_up(connection)

    def read_slowly(self, _):
        self.begun = self.excused = True  # the node may lose its patience
        with Connection(self.port, receive_buffer_bytes=4096) as connection:
            asked = Asked("GET", "/shared/%d" % self.rng.randrange(12), "", {}, 0)
            connection.send(asked.wire())
            time.sleep(self.rng.choice([0.2, 1, 4]))
            self.receive(connection, asked)

    def talk_nonsense(self, connection):
        self.expect()
        connection.send(self.rng.choice([
            b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        ]))
        response = read_whole(connection, "GET")
        assert response.status == 400 and connection.ended(), response


# ---- all together


def reload_now_and_then(verge, until):
    for reload in itertools.count():
        if time.monotonic() > until:
            return
        verge.write_config(**settings(reload))
        verge.signal(signal.SIGHUP)
        time.sleep(0.7)


def settings(reload):
    return {"cache": CACHE, "window": ["64K", "1M"][reload % 2], "origin": ORIGIN, "route": ROUTE,
            "reload": reload, "top": LIMITS}


def test_whatever_happens_nobody_gets_a_wrong_byte(origin, start):
    print(f"CHAOS_SEED={SEED}")
    book = Book()
    origin.default = Misbehaving(book)
    verge = start(**settings(0))
    verge.client.get(STEADY)
    until = time.monotonic() + SECONDS
    judge = Judge(book)
    clients = [Chaotic(i, verge, judge, until) for i in range(CLIENTS)]
    reloads = threading.Thread(target=reload_now_and_then, args=(verge, until), daemon=True)
    reloads.start()
    try:
        in_parallel(CLIENTS, lambda i: clients[i].run())
    finally:
        print(sorted(judge.seen.items(), key=str))
        assert verge.process.poll() is None, verge.error_log.read_text()[-2000:]
    reloads.join()
    for outcome in (200, 206, 304, 502, "hit", ("POST", 200)):
        assert judge.seen[outcome], f"never seen: {outcome}"
