"""
Killed at random while it writes: what a node with a disk serves afterwards is what the origin has said, whole,
and never older than what a client has seen before.

Everything at a path has a version, which the origin raises when it is told to; body, length and ETag follow
from path, variant and version. So a response is judged by itself: its head names the version, and its body is
that version's or wrong. What clients have seen is a floor for every later response, also across the kill.

The seed decides what each client does and when the kill comes; threads decide the order.
"""

import random
import threading
import zlib
from collections import Counter

from .client import Connection
from .origin import Origin
from .util import in_parallel
from .verge import Verge
from .wire import Malformed, Truncated, chunk, last_chunk, serialise

CLIENTS = 6
BASE = random.Random(1).randbytes(8 << 20)
KINDS = ["", "a", "b"]
CHUNK_BYTES = 65_472
# Paths of each class, how often they are chosen, the least and the most bytes of a body. Together they are
# several times the disk, and the last ones are too large for memory.
CLASSES = {
    "small": (300, 5, 0, 3_000),
    "page": (300, 5, 3_000, 64_000),
    "vary": (60, 4, 100, 200_000),
    "whole": (100, 2, CHUNK_BYTES - 300, CHUNK_BYTES + 1),
    "image": (200, 3, 200_000, 900_000),
    "large": (40, 1, 1_100_000, 4_000_000),
}
CONFIG = {
    "memory": "8M", "cache": "disk $directory/disk 64M;", "route": "honor_request on;",
    "top": "limits { requests_per_connection 1000000; connections_per_client 0; }",
}


def hashed(*what):
    return zlib.crc32(" ".join(map(str, what)).encode())


def body_of(path, kind, version):
    """What the origin has at a path."""
    _, _, least, most = CLASSES[path.split("/")[1]]
    random_ = hashed(path, kind, version)
    size = least + random_ % (most - least)
    at = hashed(version, kind, path) % (len(BASE) - size)
    return memoryview(BASE)[at:at + size]


class Book:
    """The version of each path, and what clients know of it."""

    def __init__(self):
        self.lock = threading.Lock()
        self.current, self.floors = Counter(), Counter()

    def renew(self, path):
        with self.lock:
            self.current[path] += 1
            return self.current[path]

    def floor(self, path, kind):
        with self.lock:
            return self.floors[path, kind]

    def saw(self, path, kinds, version):
        with self.lock:
            for kind in kinds:
                self.floors[path, kind] = max(self.floors[path, kind], version)


class Answers:
    """The origin's answer to everything."""

    def __init__(self, book, seed):
        self.book, self.seed = book, seed

    def __call__(self, exchange):
        request = exchange.request
        path = request.target
        exchange.read_body()
        if request.method == "POST":
            self.book.renew(path)
            exchange.send(serialise("HTTP/1.1 200 OK", [("X-Version", self.book.current[path]), ("Content-Length", 0)]))
            return
        varies = path.startswith("/vary")
        kind = request["X-Kind"] or "" if varies else ""
        version = self.book.current[path]
        fields = [("X-Version", version), ("ETag", f'"{version}"'), ("Cache-Control", "max-age=3600")]
        if varies:
            fields.append(("Vary", "X-Kind"))
        if request["If-None-Match"] == f'"{version}"':
            exchange.send(serialise("HTTP/1.1 304 Not Modified", fields))
            return
        self.give(exchange, fields, body_of(path, kind, version), hashed(path, version, len(exchange.origin.requests)))

    @staticmethod
    def give(exchange, fields, body, random_):
        """One of seven without a length, one of thirteen broken off."""
        chunked, cut = random_ % 7 == 0, random_ % 13 == 0 and len(body) > 0
        end = random_ % len(body) if cut else len(body)
        framing = ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", len(body))
        exchange.send(serialise("HTTP/1.1 200 OK", fields + [framing]))
        if chunked:
            exchange.send((chunk(bytes(body[:end])) if end else b"") + (b"" if cut else last_chunk()))
        else:
            exchange.send(body[:end])
        if cut:
            exchange.close()


class Wrong(AssertionError):
    """A response that should not have been."""


class Judge:
    """Asks, and compares. One connection."""

    def __init__(self, crash):
        self.crash, self.book = crash, crash.book
        self.connection = Connection(crash.verge.port)

    def ask(self, path, kind="", headers=(), want=None):
        """Status, version and, where all of the body is read, nothing wrong with it. want: how much of it."""
        connection, floor = self.connection, self.book.floor(path, kind)
        connection.request("GET", path, [("X-Kind", kind)] * bool(kind) + list(headers))
        response = connection.head()
        if response.status == 504:
            connection.rest()
            return response
        if response.status not in (200, 206):
            raise Wrong(f"{path} {kind!r}: {response}")
        version = int(response["X-Version"])
        self.book.saw(path, [kind], version)
        self.crash.saw_new(version > floor)
        if version < floor:
            raise Wrong(f"{path} {kind!r}: version {version}, after {floor} was seen: {response}")
        if response["ETag"] != f'"{version}"':
            raise Wrong(f"{path} {kind!r}: heads are mixed: {response}")
        self.compare(path, kind, version, response, want)
        return response

    def compare(self, path, kind, version, response, want):
        body, got = body_of(path, kind, version), self.connection.read(want) if want else self.connection.rest()
        if response.status == 206:
            first, last = map(int, response["Content-Range"][6:].partition("/")[0].split("-"))
            body = body[first:last + 1]
        if want:
            body = body[:want]
        if got != body:
            raise Wrong(f"{path} {kind!r} version {version}: {len(got)} bytes that are not the {len(body)}: {response}")

    def invalidate(self, path):
        self.connection.request("POST", path, body=b"x")
        response = self.connection.response()
        if response.status == 200:
            self.book.saw(path, KINDS, int(response["X-Version"]))
            self.crash.saw_new(True)


class Visitor:
    """One client under load: does one thing after another until the node is gone."""

    def __init__(self, crash, number):
        self.crash, self.rng = crash, random.Random(f"{crash.seed} {crash.kills} {number}")

    def run(self):
        acts = {self.look: 70, self.insist: 12, self.renew: 4, self.invalidate: 4, self.take_a_part: 6, self.leave: 4}
        while not self.crash.killed.is_set():
            try:
                judge = Judge(self.crash)
                while not self.crash.killed.is_set():
                    self.rng.choices(list(acts), acts.values())[0](judge)
            except (Truncated, OSError):
                pass  # broken off by the origin, or the node is gone
            except Malformed as error:
                raise Wrong(str(error)) from None

    def choose(self):
        classes = list(CLASSES)
        name = self.rng.choices(classes, [CLASSES[name][1] for name in classes])[0]
        count = CLASSES[name][0]
        number = int(count * self.rng.random() ** 2)  # some are asked for more often
        return f"/{name}/{number}", self.rng.choice(KINDS) if name == "vary" else ""

    def look(self, judge):
        judge.ask(*self.choose())

    def insist(self, judge):
        path, kind = self.choose()
        if self.rng.random() < 0.7:
            self.crash.book.renew(path)
        judge.ask(path, kind, [("Cache-Control", "no-cache")])

    def renew(self, _):
        self.crash.book.renew(self.choose()[0])

    def invalidate(self, judge):
        judge.invalidate(self.choose()[0])

    def take_a_part(self, judge):
        path = f"/large/{self.rng.randrange(CLASSES['large'][0])}"
        first = self.rng.randrange(1_000_000)
        judge.ask(path, "", [("Range", f"bytes={first}-{first + self.rng.randrange(100_000)}")])

    def leave(self, judge):
        judge.ask(f"/large/{self.rng.randrange(CLASSES['large'][0])}", "", want=self.rng.randrange(1, 200_000))
        judge.connection.reset()
        raise Truncated("left")


class Crash:
    """A node, its origin, and how it is killed."""

    def __init__(self, directory, seed):
        self.seed, self.kills = seed, 0
        self.book, self.seen = Book(), Counter()
        self.rng = random.Random(f"{seed} kills")
        self.origin = Origin()
        self.origin.default = Answers(self.book, seed)
        self.killed = threading.Event()
        self.new_left = None
        self.verge = Verge(directory, self.origin, **CONFIG)

    def saw_new(self, is_new):
        """Half of the kills follow what a client has just seen for the first time."""
        if not is_new or self.new_left is None:
            return
        self.new_left -= 1
        if self.new_left <= 0:
            self.kill()

    def kill_later(self):
        """When the time is over; asks first what the disk has done."""
        for name in ("evictions", "reappended_bytes", "written_bytes", "read_errors", "write_errors"):
            self.seen[name] += int(self.verge.metric(f"verge_disk_{name}_total"))
        self.kill()

    def kill(self):
        self.killed.set()
        self.verge.process.kill()

    def round(self):
        """Load, a kill, another start, and a look at everything."""
        self.killed.clear()
        self.origin.requests.clear()
        by_news = self.rng.random() < 0.5
        self.new_left = self.rng.randrange(1, 400) if by_news else None
        timer = threading.Timer(5 if by_news else self.rng.uniform(0.05, 0.8), self.kill_later)
        timer.start()
        try:
            in_parallel(CLIENTS, lambda number: Visitor(self, number).run())
        finally:
            timer.cancel()
            self.new_left = None
        self.kills += 1
        self.check_alive_until_killed()
        self.verge.start()
        self.look_at_everything()

    def check_alive_until_killed(self):
        code = self.verge.wait()
        if code != -9:
            raise Wrong(f"the node ended with {code} by itself:\n{self.verge.error_log.read_text()[-3000:]}")

    def look_at_everything(self):
        paths = [f"/{name}/{n}" for name, (count, *_) in CLASSES.items() for n in range(count)]
        random.Random(f"{self.seed} {self.kills} look").shuffle(paths)

        def look(number):
            judge = Judge(self)
            for path in paths[number::CLIENTS]:
                for kind in KINDS if path.startswith("/vary") else [""]:
                    response = judge.ask(path, kind, [("Cache-Control", "only-if-cached")])
                    self.seen["not stored" if response.status == 504 else "served"] += 1
            judge.connection.close()

        in_parallel(CLIENTS, look)

    def stop(self):
        """After an end in order it is the same."""
        self.verge.signal(15)
        if self.verge.wait():
            raise Wrong("the node did not end in order")
        self.verge.start()
        self.look_at_everything()
        self.verge.stop()

    def abandon(self):
        self.verge.abandon()
        self.origin.stop()


def run(directory, seed, kills, report=lambda crash: None):
    """Raises Wrong. What was seen is counted in the result."""
    crash = Crash(directory, seed)
    try:
        for _ in range(kills):
            crash.round()
            report(crash)
        crash.stop()
        return crash.seen
    finally:
        crash.abandon()
