"""
A driver of one thread, seeded, between clients and an origin that do nothing but what it says, step by step: a request
here, a piece of a response there, somebody leaves, the content changes, the configuration is read again. Between two
steps it waits until the node has nothing to do any more, so that what happens depends on the seed and hardly on the
machine. Some steps are taken while the node is stopped: it sees their effects in one turn.

Everything the origin says has a serial number, in the head; that tells what of which place it was, and when it was
said. So each response is judged by itself: right bytes, not older than it may be, given to others only if it may be,
and broken off only where the origin broke off.
"""

import os
import random
import signal
import time
import zlib
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from .stepwise import ALL, StepwiseOrigin, connect
from .util import DEADLINE_S, eventually
from .verge import Verge
from .wire import chunk, last_chunk

TIERS = {
    "memory": {"memory": "16M"},
    "disk": {"memory": "16M", "cache": "disk $directory/disk 512M;"},
    "little": {"memory": "3M", "cache": "disk $directory/disk 512M;"},
}
SETTLING_S = 3
# However slow the machine is that runs the steps: what takes long is a step's doing, and no client's fault.
PATIENT = "requests_per_connection 1000000; rate_min 0; body_timeout 1h; send_timeout 1h; idle_timeout 1h;"
STREAMS_MAX = 100  # the node allows some more
LEFT_BEHIND_S = 2  # after that a client is not waited for by others of the same fetch
ROUND = 60     # steps, then everything is brought to its end
PLACES = 14
BASE = random.Random(1).randbytes(12 << 20)
KINDS = ["", "a", "b"]
HOST = "test.example"
SIZES = {"tiny": (0, 3_000), "page": (3_000, 64_000), "image": (200_000, 900_000), "large": (1_500_000, 3_000_000),
         "huge": (7_000_000, 9_000_000)}
SIZE_WEIGHTS = [3, 4, 3, 2, 1.5]
# What an origin says of a response: for how many seconds it may be used, and whether by one request alone.
FRESHNESS = {
    "fresh": ("max-age=3600", 3600, False),
    "brief": ("max-age=1", 1, False),
    "kept": ("max-age=0, stale-if-error=3600", 0, True),
    "renewed": ("max-age=0, stale-while-revalidate=3600", 3600, False),
    "each": ("no-cache", 0, True),
    "nostore": ("no-store", 0, True),
    "private": ("private, max-age=60", 0, True),
    "cookie": ('max-age=3600, private="set-cookie"', 3600, False),
}
NATURES = [*FRESHNESS, "fresh", "fresh"] + ["mixed"] * 6  # mixed: another with each response
VALIDATORS = ["strong", "strong", "weak", "date", "none", "none"]
OWN_FAILURES = {502, 503, 504}
SMUGGLED = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nCache-Control: max-age=9\r\n\r\nsmuggled"
NONSENSE = [
    b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
]


class Wrong(AssertionError):
    """Something that should not have been."""


# ---- what there is


@dataclass
class Place:
    """A path and what the origin has there."""

    number: int
    nature: str
    size: str
    validator: str
    varies: bool
    chunked: bool
    version: int = 0
    floor: int = 0          # no request of now may be answered by what was said up to this serial number
    faults: int = 0         # of the origin, or content that changed under a range
    faults_seen: int = 0    # by the node for certain
    known: list = field(default_factory=list)  # entity tags that clients have seen

    @property
    def path(self):
        vary = "-vary" if self.varies else ""
        framing = "-chunked" if self.chunked else ""
        return f"/{self.number}-{self.nature}-{self.size}-{self.validator}{vary}{framing}"

    def body(self, kind, version):
        """No two versions in a row have one length: where there is no validator, that tells them apart."""
        least, most = SIZES[self.size]
        random_ = zlib.crc32(f"{self.number} {kind}".encode())
        size = least + (random_ + version * 37) % (most - least)
        return memoryview(BASE)[(random_ + version * 7919) % (len(BASE) - size):][:size]

    def validators(self, kind, version):
        tag = f'"{self.number}.{KINDS.index(kind)}.{version}"'
        return {"strong": [("ETag", tag)], "weak": [("ETag", "W/" + tag)], "none": [],
                "date": [("Last-Modified", time.strftime("%a, %d %b %Y %H:%M:%S GMT",
                                                         time.gmtime(10**9 + version * 60)))]}[self.validator]


@dataclass
class Said:
    """One response of the origin."""

    serial: int
    place: Place
    kind: str
    version: int
    status: int
    body: object            # of the whole, as a client of status 200 gets it; None where it is an echo
    lifetime_s: int
    alone: bool             # one request's alone
    at: float
    given: int = 0
    cookies: int = 0        # clients that saw its Set-Cookie

    def __repr__(self):
        return f"<said {self.serial}: {self.status} of {self.place.path} {self.kind!r} version {self.version}>"


class Ask:
    """One request of a client, and what has come of its response."""

    def __init__(self, world, number, place, kind, method, headers):
        self.number, self.place, self.kind, self.method = number, place, kind, method
        self.headers = dict(headers)
        self.floor, self.serial, self.begun = place.floor, world.serial_seen, time.monotonic()
        self.faults = place.faults_seen + world.faults_seen if world.origin.listener else -1
        self.version = place.version
        self.stream = None
        self.body, self.pushed, self.sending = b"", 0, False
        self.appetite = ALL
        self.behind = False     # pipelined: what happens to those before it, happens to it
        self.head = self.said = self.expected = None
        self.parts = None       # of multipart/byteranges: all bytes
        self.taken = 0
        self.resumed = False

    def __repr__(self):
        return f"ask {self.number}: {self.method} {self.place.path} {self.kind!r} {self.headers}"


class World:
    """One scenario: a node, its origin, its clients."""

    def __init__(self, directory, name):
        """The name is seed, protocol, tier and workers, and decides everything."""
        self.name, self.rng = name, random.Random(name)
        _, self.protocol, self.tier, self.workers = name.split()
        self.serial = self.serial_seen = self.faults = self.faults_seen = self.reloads = self.numbers = 0
        self.said, self.asks, self.open, self.clients = {}, {}, [], []
        self.seen, self.trace = Counter(), deque(maxlen=200)
        self.places = [self.make_place(i) for i in range(PLACES)]
        self.hot = self.places[:2]
        self.origin = StepwiseOrigin(self.thirst)
        self.verge = Verge(directory, self.origin, protocol=self.protocol, **self.settings())

    def make_place(self, number):
        rng = self.rng
        size = rng.choices(list(SIZES), SIZE_WEIGHTS)[0]
        return Place(number, rng.choice(NATURES), size, rng.choice(VALIDATORS), rng.random() < 0.2, rng.random() < 0.5)

    def settings(self):
        cache = TIERS[self.tier].get("cache", "")
        window, slice_ = ["1M", "64K"][self.reloads % 2], ["1M", "256K", "off"][self.reloads % 3]
        return {"memory": TIERS[self.tier]["memory"], "cache": f"{cache} window {window}; slice {slice_}; uncacheable_ttl 2s;",
                "origin": "first_byte_timeout 1h; between_bytes_timeout 1h;",
                "route": f"response_header set X-Reload {self.reloads};",
                "top": f"workers {self.workers}; limits {{ {PATIENT} }}"}

    def tell(self, what):
        self.trace.append(what)

    # -- waiting

    def pump(self):
        """Whether anything moved."""
        moved = self.origin.pump()
        for client in self.clients:
            client.poll()
        for ask in list(self.open):
            moved |= self.advance(ask)
        return moved

    def asleep(self):
        """The node, and the program that speaks QUIC for clients, wait for something."""
        if self.verge.process.poll() is not None:
            raise Wrong(f"the node ended with {self.verge.process.poll()}:\n{self.verge.error_log.read_text()[-3000:]}")
        pids = [self.verge.process.pid]
        pids += {client.program.process.pid for client in self.clients if self.protocol == "h3"}
        return all(state in "SI" for pid in pids for state in states(pid))

    def settle(self):
        """Until nothing moves; what never rests, as timers do, is not waited for."""
        quiet, end = 0, time.monotonic() + SETTLING_S
        while quiet < 2 and time.monotonic() < end:
            if self.pump() or not self.asleep():
                quiet = 0
                time.sleep(0.0002)
            else:
                quiet += 1
        self.serial_seen, self.faults_seen = self.serial, self.faults
        for place in self.places:
            place.faults_seen = place.faults

    # -- the origin

    def thirst(self, call):
        """How much it takes of a request's body at first; the same whatever else has just arrived."""
        return random.Random(f"{self.name} {call['X-Ask']}").choice([ALL, 0, 10_000])

    def mint(self, place, kind, status, body, freshness, alone=None):
        self.serial += 1
        _, lifetime_s, for_one = FRESHNESS[freshness]
        said = Said(self.serial, place, kind, place.version, status, body, lifetime_s,
                    for_one if alone is None else alone, time.monotonic())
        self.said[said.serial] = said
        return said

    def place_of(self, call):
        return self.places[int(call.target[1:].partition("-")[0])]

    def begin_answer(self, call):
        rng, place = self.rng, self.place_of(call)
        kind = (call["X-Kind"] or "") if place.varies else ""
        if call.method not in ("GET", "HEAD"):
            self.begin_upload_answer(call, place)
            return
        if rng.random() < 0.04:
            self.begin_error(call, place, kind)
            return
        freshness = rng.choice(["fresh", "kept"]) if place.nature == "mixed" else place.nature
        body = place.body(kind, place.version)
        said = self.mint(place, kind, 200, body, freshness)
        fields = [("X-Serial", said.serial), ("X-Version", said.version), ("Cache-Control", FRESHNESS[freshness][0])]
        fields += place.validators(kind, place.version)
        fields += [("Vary", "X-Kind")] * place.varies + [("Set-Cookie", f"s={said.serial}")] * (freshness == "cookie")
        if self.selects(call, place, kind):
            call.begin("HTTP/1.1 304 Not Modified", fields, b"")
        else:
            self.begin_content(call, place, said, fields, body)
        self.tell(f"origin: {said} to {call.method} {call['Range']} {call['If-None-Match']}")

    @staticmethod
    def selects(call, place, kind):
        """Whether the request's condition says that the client has what there is."""
        have = dict(place.validators(kind, place.version))
        if call["If-None-Match"]:
            tags = [tag.strip().removeprefix("W/") for tag in call["If-None-Match"].split(",")]
            return have.get("ETag", "-").removeprefix("W/") in tags
        return call["If-Modified-Since"] is not None and call["If-Modified-Since"] == have.get("Last-Modified")

    def begin_content(self, call, place, said, fields, body):
        status, parts, rng = "200 OK", ranges_of(call["Range"], len(body)), self.rng
        chunked = place.chunked and rng.random() < 0.9
        strong = dict(fields).get("ETag", "W/").startswith('"')
        applies = call.method == "GET" and call["If-Range"] in (None, dict(fields).get("ETag")) and strong
        if applies and parts and "," not in call["Range"]:
            first, last = parts[0]
            # Of slices that have a length, one without is not the one that belongs there.
            status, chunked = "206 Partial Content", place.chunked
            fields = fields + [("Content-Range", f"bytes {first}-{last}/{len(body)}")]
            body = body[first:last + 1]
        if chunked:
            wire = b"".join(chunk(body[i:i + 30_000]) for i in range(0, len(body), 30_000)) + last_chunk()
            fields = fields + [("Transfer-Encoding", "chunked")]
        else:
            wire, fields = body, fields + [("Content-Length", len(body))]
        if call.method == "HEAD":
            wire = b""
        elif len(wire) < 5000 and rng.random() < 0.05:
            # In one piece with the answer: what came after the next request could be its own.
            call.begin(f"HTTP/1.1 {status}", fields, bytes(wire) + SMUGGLED, closes=True)
            call.push(ALL)
            self.tell("origin: and more than that")
            return
        closes = rng.random() < 0.05
        call.begin(f"HTTP/1.1 {status}", fields + [("Connection", "close")] * closes, wire, closes)

    def begin_error(self, call, place, kind):
        status = self.rng.choice([500, 502, 503, 404])
        place.faults += 1
        said = self.mint(place, kind, status, b"error", "nostore", alone=False)
        fields = [("X-Serial", said.serial), ("X-Version", said.version), ("Content-Length", 5)]
        cookie = self.rng.random() < 0.5
        fields += [("Set-Cookie", f"s={said.serial}"), ("Cache-Control", 'private="set-cookie"')] * cookie
        call.begin(f"HTTP/1.1 {status} Error", fields, b"" if call.method == "HEAD" else b"error")
        self.tell(f"origin: {said}")

    def begin_upload_answer(self, call, place):
        """What it changes is new from here on, for those who see this."""
        other = self.rng.choice(self.places)
        reference = self.rng.choice([None, "Location", "Content-Location"])
        place.version += 1
        if reference and other is not place:
            other.version += 1
        said = self.mint(place, "", 303 if reference == "Location" else 200, b"taken", "nostore")
        said.changed = [place] + [other] * bool(reference)
        fields = [("X-Serial", said.serial), ("X-Version", said.version), ("Content-Length", 5)]
        fields += [(reference, f"{other.path}")] if reference else []
        call.begin(f"HTTP/1.1 {said.status} OK", fields, b"taken")
        self.tell(f"origin: {said} to {call.method}, {reference} {other.path}")

    def serve(self, call, everything=False):
        """One step of an answer."""
        ask = self.asks.get(int(call["X-Ask"]))
        if call.method not in ("GET", "HEAD") and ask and bytes(call.body) != ask.body[:len(call.body)]:
            raise Wrong(f"the origin got {len(call.body)} bytes that were not sent: {ask}")
        if not call.asked:
            call.drink(ALL if everything else self.rng.choice([1, 5000, 50_000]))
            return
        if call.method not in ("GET", "HEAD") and ask and len(call.body) != len(ask.body):
            raise Wrong(f"an upload was cut and looked whole, {len(call.body)} of {len(ask.body)} bytes: {ask}")
        if call.left is None:
            self.begin_answer(call)
        elif call.left:
            call.push(self.rng.choice([1, 1000, 70_000, 300_000, 1_100_000]))
        if everything:
            call.push(len(call.left))
        if call.said():
            self.origin.over(call)
            call.end()

    def fail(self, call):
        """The origin breaks off."""
        place, how = self.place_of(call), self.rng.choice(["close", "reset", "garbage"])
        place.faults += 1
        self.faults += 1  # an idle connection may be the one that is used next
        self.origin.over(call)
        self.tell(f"origin: {how} at {place.path} after {'nothing' if call.left is None else 'a part'}")
        if how == "garbage" and call.left is None:
            call.connection.wire.send(b"HTTP/1.1 2x0 Garbage\r\nContent-Length: 5\r\n\r\nhello")
        if how == "reset":
            call.connection.wire.reset()
        else:
            call.connection.close()

    # -- clients: asking

    def client(self, frozen):
        """A connection for another request; None while the node could not take one."""
        self.clients = [client for client in self.clients if client.gone is None]
        usable = [client for client in self.clients if client.usable() and self.asked_on(client) < STREAMS_MAX]
        if self.protocol.startswith("h1"):
            usable = [client for client in usable if self.may_follow(client)]
            idle = [client for client in usable if not client.streams]
            busy = [client for client in usable if client.streams]
            if busy and self.rng.random() < 0.15:
                return self.rng.choice(busy)
            if idle and self.rng.random() < 0.7:
                return self.rng.choice(idle)
            if frozen and self.protocol == "h1-tls":
                return None
        elif usable and (frozen or len(usable) >= 3 or self.rng.random() < 0.9):
            return self.rng.choice(usable)
        elif frozen:
            return None
        self.clients.append(connect(self.verge.port, self.protocol))
        return self.clients[-1]

    def asked_on(self, client):
        return sum(ask.stream.connection is client for ask in self.open)

    def may_follow(self, client):
        """Pipelining: behind requests that are whole."""
        return not any(ask.sending for ask in self.open if ask.stream.connection is client)

    def choose_place(self):
        return self.rng.choice(self.hot if self.rng.random() < 0.9 else self.places)

    def choose_headers(self, place, method):
        rng, headers = self.rng, []
        kind = rng.choice(KINDS) if place.varies else ""
        headers += [("X-Kind", kind)] if kind else []
        if method == "GET" and rng.random() < 0.25:
            headers.append(("Range", self.choose_range(place)))
            if place.known and rng.random() < 0.2:
                headers.append(("If-Range", rng.choice(place.known)))
        elif method in ("GET", "HEAD") and place.known and rng.random() < 0.12:
            headers.append(("If-None-Match", rng.choice(place.known)))
        if method in ("GET", "HEAD") and rng.random() < 0.02:
            headers.append(("Cache-Control", "only-if-cached"))
        return kind, headers

    def choose_range(self, place):
        most = SIZES[place.size][1]
        first, other = self.rng.randrange(most), self.rng.randrange(most)
        length = self.rng.choice([1, 100, 5000, 300_000, 2_000_000])
        return self.rng.choice([f"bytes={first}-{first + length - 1}", f"bytes={first}-{first + length - 1}",
                                f"bytes={first}-", f"bytes=-{length}", "bytes=0-",
                                f"bytes={first}-{first + 9},{other}-{other + 49}"])

    def ask(self, frozen=False, place=None, method=None, whole=False):
        rng, client = self.rng, self.client(frozen)
        if client is None:
            return
        place = place or self.choose_place()
        method = method or rng.choices(["GET", "HEAD", "POST", "PUT", "DELETE"], [76, 12, 9, 2, 1])[0]
        kind, headers = self.choose_headers(place, method)
        self.numbers += 1
        ask = Ask(self, self.numbers, place, kind, method, headers)
        ask.behind = bool(client.multiplexed is False and client.streams)
        ask.stream = client.open()
        self.asks[ask.number] = ask
        self.open.append(ask)
        headers = headers + [("X-Ask", str(ask.number))]
        if method in ("POST", "PUT"):
            self.begin_upload(ask, headers, whole)
        else:
            self.begin_plain(ask, headers, client)
        if rng.random() < 0.25 and not whole:
            ask.appetite = rng.choice([0, 1, 20_000, 200_000])
        self.tell(f"{ask}{' behind others' * ask.behind}, takes {'all' if ask.appetite == ALL else ask.appetite}")

    def begin_plain(self, ask, headers, client):
        options = {}
        if self.protocol.startswith("h1") and self.rng.random() < 0.05:
            options["version"] = "1.0"
        ask.stream.begin(ask.method, ask.place.path, headers, bodiless=True, **options)
        if options:
            client.goaway = "asked in HTTP/1.0"
        if self.protocol.startswith("h1") and self.rng.random() < 0.05:
            client.end_sending()

    def begin_upload(self, ask, headers, whole):
        size = self.rng.choice([0, 10, 5000, 60_000, 60_000, 300_000])
        ask.body, ask.sending = BASE[ask.number:ask.number + size], True
        ask.stream.begin(ask.method, ask.place.path, headers, length=self.rng.choice([None, size]))
        if whole:
            self.upload(ask, size)

    def upload(self, ask, count):
        piece = ask.body[ask.pushed:ask.pushed + count]
        if piece:
            ask.pushed += ask.stream.push(piece, 0)
        if ask.pushed == len(ask.body):
            ask.stream.finish()
            ask.sending = False

    # -- clients: what has come

    def advance(self, ask):
        """Takes what there is of a response, as much as the client wants; whether anything came."""
        stream, moved = ask.stream, False
        if ask.appetite:
            piece = stream.take(min(ask.appetite, 1 << 18))
            moved = bool(piece)
        else:
            piece = b""
        while stream.heads:
            status, fields = stream.heads.popleft() if isinstance(stream.heads, deque) else stream.heads.pop(0)
            moved = True
            if status >= 200:
                self.judge_head(ask, status, fields)
        if piece:
            ask.appetite -= len(piece) if ask.appetite < ALL else 0
            self.judge_piece(ask, piece)
        if stream.whole and not stream.data and ask.head:
            self.judge_end(ask)
            self.close(ask)
            moved = True
        elif stream.broken() and not stream.data:
            self.judge_broken(ask)
            self.close(ask)
            moved = True
        return moved

    def close(self, ask):
        self.open.remove(ask)
        if ask.sending:
            ask.sending = False
            if not ask.stream.multiplexed:
                ask.stream.connection.close()

    def excused(self, ask):
        """The origin was at fault since it was asked, or what it has has changed."""
        changed = "Range" in ask.headers and ask.place.version != ask.version
        return changed or ask.place.faults + self.faults > ask.faults

    def judge_head(self, ask, status, fields):
        ask.head = (status, fields)
        self.seen[status] += 1
        serial = fields.get("X-Serial")
        if serial is None:
            self.judge_own(ask, status)
            return
        said = ask.said = self.said[int(serial)]
        about = f"{ask}\n got {status} {fields}\n which was {said}"
        if said.place is not ask.place or (said.status == 200 and ask.method in ("GET", "HEAD") and said.kind != ask.kind * ask.place.varies):
            raise Wrong(f"what belongs to another request: {about}")
        if fields.get("X-Version") != str(said.version):
            raise Wrong(f"heads are mixed: {about}")
        if said.serial <= ask.floor:
            raise Wrong(f"older than what replaced it, {ask.floor}: {about}")
        self.judge_age(ask, said, about)
        self.judge_sharing(ask, said, fields, about)
        self.expect(ask, status, fields, said, about)

    def judge_own(self, ask, status):
        """What the node says by itself."""
        if status == 504 and ask.headers.get("Cache-Control") == "only-if-cached":
            return
        if status == 416 and "Range" in ask.headers:
            return
        if not (status in OWN_FAILURES and self.excused(ask)):
            raise Wrong(f"the origin was well, but {ask}\n got {ask.head}")

    def judge_age(self, ask, said, about):
        """What was said before it was asked is stored, and must still be fresh, or stand in for a failure."""
        if said.serial > ask.serial or self.excused(ask):
            return
        if said.lifetime_s == 0 or ask.begun > said.at + said.lifetime_s + 1:
            raise Wrong(f"too old by {ask.begun - said.at - said.lifetime_s:.3f} s: {about}")

    def judge_sharing(self, ask, said, fields, about):
        if not self.excused(ask):
            said.given += 1
        if said.alone and said.given > 1:
            raise Wrong(f"given to {said.given} requests: {about}")
        self.judge_cookie(said, fields, about)

    @staticmethod
    def judge_cookie(said, fields, about):
        if "Set-Cookie" in fields:
            said.cookies += 1
            if fields.get("Set-Cookie") != f"s={said.serial}" or said.cookies > 1:
                raise Wrong(f"somebody else's cookie: {about}")

    def expect(self, ask, status, fields, said, about):
        """The bytes that have to come."""
        body = said.body
        length = fields.get("Content-Length")
        for name, value in said.place.validators(said.kind, said.version) if said.status == 200 and ask.method in ("GET", "HEAD") else []:
            if fields.get(name) != value:
                raise Wrong(f"heads are mixed, {name} is not {value}: {about}")
        if fields.get("ETag"):
            ask.place.known = [*ask.place.known[-3:], fields.get("ETag")]
        if ask.method == "HEAD":
            if length not in (None, str(len(body))) and status == said.status:
                raise Wrong(f"Content-Length of another: {about}")
            ask.expected = b""
        elif status == 304:
            if "If-None-Match" not in ask.headers or fields.get("ETag", "").removeprefix("W/") != ask.headers["If-None-Match"].removeprefix("W/"):
                raise Wrong(f"304 to what the client does not have: {about}")
            ask.expected = b""
        elif status == 206:
            self.expect_part(ask, fields, said, about)
        elif status == 416 and "Range" in ask.headers:
            ask.expected = None
        elif status == said.status:
            ask.expected = body
        else:
            raise Wrong(f"no such status: {about}")
        if ask.expected is not None and status != 304 and ask.method != "HEAD" and length not in (None, str(len(ask.expected))):
            raise Wrong(f"Content-Length is not {len(ask.expected)}: {about}")

    def expect_part(self, ask, fields, said, about):
        if "Range" not in ask.headers:
            raise Wrong(f"a part was not asked for: {about}")
        if (fields.get("Content-Type") or "").startswith("multipart/byteranges"):
            ask.expected, ask.parts = None, bytearray()
            return
        first, last, size = map(int, fields.get("Content-Range", "").removeprefix("bytes ").replace("/", "-").split("-"))
        if size != len(said.body) or (first, last) not in ranges_of(ask.headers["Range"], size):
            raise Wrong(f"another part than the one asked for: {about}")
        ask.expected = said.body[first:last + 1]

    def judge_piece(self, ask, piece):
        at, ask.taken = ask.taken, ask.taken + len(piece)
        if ask.parts is not None:
            ask.parts += piece
        elif ask.expected is not None and ask.expected[at:ask.taken] != piece:
            raise Wrong(f"wrong bytes from {at} on: {ask}\n got {ask.head}\n which was {ask.said}")

    def judge_end(self, ask):
        if ask.expected is not None and ask.taken != len(ask.expected):
            raise Wrong(f"{ask.taken} of {len(ask.expected)} bytes look whole: {ask}\n got {ask.head}")
        if ask.parts is not None:
            self.judge_parts(ask)
        if ask.method not in ("GET", "HEAD") and ask.said:
            for place in ask.said.changed:
                place.floor = max(place.floor, ask.said.serial)
        self.seen["whole"] += 1
        self.seen["hit"] += "hit" in (ask.head[1].get("Cache-Status") or "")

    def judge_parts(self, ask):
        boundary = ask.head[1].get("Content-Type").partition("boundary=")[2].encode()
        size = len(ask.said.body)
        for text in bytes(ask.parts).split(b"--" + boundary)[1:-1]:
            head, _, body = text.partition(b"\r\n\r\n")
            line = next(line for line in head.decode().split("\r\n") if line.lower().startswith("content-range:"))
            first, last, of = map(int, line.partition("bytes ")[2].replace("/", "-").split("-"))
            if of != size or body[:-2] != ask.said.body[first:last + 1]:
                raise Wrong(f"a part is wrong: {line}: {ask}\n got {ask.head}\n which was {ask.said}")

    def judge_broken(self, ask):
        self.seen["broken"] += 1
        if not (self.excused(ask) or ask.behind or ask.appetite < ALL or ask.resumed or self.may_be_left_behind(ask)):
            raise Wrong(f"broken off after {ask.taken} bytes, and the origin was well: {ask}\n got {ask.head}\n"
                        f" since {ask.stream.connection.gone or ask.stream.code}")

    @staticmethod
    def may_be_left_behind(ask):
        """It has taken a while, and what it reads may be more than the node keeps for who is slow."""
        return ask.place.chunked and ask.taken > 1_000_000 and time.monotonic() - ask.begun > LEFT_BEHIND_S

    # -- steps

    def step_ask(self, frozen):
        self.ask(frozen)

    def step_burst(self, frozen):
        """Many at once, of one kind."""
        method = self.rng.choice([None, "GET", "POST", "POST"])
        count = self.rng.choice([5, 20, 40]) if self.protocol in ("h2", "h3") else self.rng.choice([3, 10])
        self.tell(f"{count} at once:")
        for _ in range(count):
            self.ask(frozen, method=method, whole=True)

    def step_serve(self, _):
        calls = sorted(self.origin.calls, key=lambda call: int(call["X-Ask"]))
        if not calls:
            return
        call = self.rng.choice(calls)
        if self.rng.random() < 0.04:
            self.fail(call)
        else:
            self.serve(call, everything=self.rng.random() < 0.4)

    def step_serve_all(self, _):
        for call in sorted(self.origin.calls, key=lambda call: int(call["X-Ask"])):
            self.serve(call, everything=True)

    def step_take(self, _):
        """A client that had stopped goes on for a while, or for good."""
        stopped = [ask for ask in self.open if ask.appetite < ALL]
        if stopped:
            ask = self.rng.choice(stopped)
            ask.appetite = self.rng.choice([1, 3000, 100_000, ALL])
            ask.resumed = True
            self.tell(f"ask {ask.number} takes {ask.appetite}")

    def step_upload(self, _):
        sending = [ask for ask in self.open if ask.sending]
        if sending:
            ask = self.rng.choice(sending)
            self.upload(ask, self.rng.choice([1, 5000, 70_000, 300_000]))
            self.tell(f"ask {ask.number} has sent {ask.pushed} of {len(ask.body)}")

    def step_leave(self, _):
        # quicclient cannot take back a stream that it has not begun.
        leaving = [ask for ask in self.open if self.protocol != "h3" or ask.stream.acked]
        if not leaving:
            return
        ask = self.rng.choice([leaving[0], self.rng.choice(leaving)])  # the first may have what others wait for
        altogether = self.rng.random() < 0.2
        self.tell(f"ask {ask.number} leaves{' with its connection' * altogether}")
        if altogether and ask.stream.multiplexed:
            ask.stream.connection.abort()
        else:
            ask.stream.reset()
        for other in list(self.open):
            if other is ask or (other.stream.connection is ask.stream.connection and other.stream.connection.gone):
                self.open.remove(other)

    def step_renew(self, _):
        place = self.choose_place()
        place.version += 1
        self.tell(f"{place.path} is version {place.version}")

    def step_choose(self, _):
        self.hot = self.rng.sample(self.places, self.rng.choice([1, 1, 2, 3]))
        self.tell(f"places: {[place.path for place in self.hot]}")

    def step_remove(self, frozen):
        if frozen:
            return
        place, serial = self.choose_place(), self.serial
        scheme = "http" if self.protocol == "h1" else "https"
        key = quote(f"{scheme}://{HOST}{place.path}", "")
        status = self.verge.admin(f"/cache/object?key={key}", "DELETE").status
        self.tell(f"{place.path} removed: {status}")
        if status == 200:
            place.floor = max(place.floor, serial)
        elif status != 404:
            raise Wrong(f"removal was answered {status}")

    def step_reload(self, frozen):
        if frozen:
            return
        self.reloads += 1
        self.tell(f"reload {self.reloads}")
        self.verge.reload(**self.settings())

    def step_refuse(self, frozen):
        """The origin is down, and up again some steps later."""
        if self.origin.listener:
            self.faults += 1
            self.origin.refuse()
            self.tell("origin: down")
        else:
            self.origin.listen()
            self.tell("origin: up")

    def step_time(self, frozen):
        """What is fresh for a second becomes stale."""
        if not frozen:
            time.sleep(1.1)

    def step_nonsense(self, frozen):
        if self.protocol != "h1" or frozen:
            return
        client = connect(self.verge.port, self.protocol)
        stream = client.open()
        client.streams.append(stream)
        client.wire.send(self.rng.choice(NONSENSE))
        end = time.monotonic() + DEADLINE_S
        while not stream.whole and client.gone is None and time.monotonic() < end:
            stream.take(1000)
            time.sleep(0.0002)
        if not stream.heads or stream.heads[0][0] != 400 or not stream.whole:
            raise Wrong(f"nonsense was answered {stream.heads}, {client.gone}")

    WEIGHTS = {"ask": 10, "burst": 0.8, "serve": 12, "serve_all": 0.7, "take": 3, "upload": 6, "leave": 2, "renew": 1.5, "choose": 0.8,
               "remove": 0.4, "reload": 0.15, "refuse": 0.15, "time": 0.03, "nonsense": 0.1}
    TOGETHER = 0.06

    def step(self, frozen=False):
        weights = self.WEIGHTS if self.origin.listener else {**self.WEIGHTS, "refuse": 4}
        name = self.rng.choices(list(weights), weights.values())[0]
        getattr(self, "step_" + name)(frozen)

    def together(self):
        """Some steps while the node is stopped: what they do it sees at once."""
        count = self.rng.choice([2, 5, 20])
        self.tell(f"{count} steps in one:")
        self.verge.signal(signal.SIGSTOP)
        pid = self.verge.process.pid
        try:
            while any(state not in "TtSI" for state in states(pid)) or "T" not in states(pid):
                time.sleep(0.0001)
            for _ in range(count):
                self.step(frozen=True)
        finally:
            self.verge.signal(signal.SIGCONT)

    def round(self):
        for _ in range(ROUND):
            if self.rng.random() < self.TOGETHER:
                self.together()
            else:
                self.step()
            self.settle()
        self.drain()

    def drain(self):
        """Everything comes to its end: at first of those who read, then of those who had stopped reading."""
        self.tell("to the end")
        if not self.origin.listener:
            self.origin.listen()
        self.finish(lambda: [ask for ask in self.open if not self.is_held(ask)])
        for ask in self.open:
            ask.appetite, ask.resumed = ALL, True
        self.finish(lambda: self.open or self.origin.calls)
        self.settle()

    def is_held(self, ask):
        """It has stopped reading, or one before it on its connection has."""
        return any(other.appetite < ALL for other in self.open
                   if other is ask or (not other.stream.multiplexed and other.stream.connection is ask.stream.connection))

    def finish(self, left):
        end = time.monotonic() + DEADLINE_S
        while left():
            moved = self.pump()
            for call in list(self.origin.calls):
                before = (call.left is None, len(call.left or b""))
                self.serve(call, everything=True)
                moved |= before != (call.left is None, len(call.left or b""))
            for ask in [ask for ask in self.open if ask.sending]:
                before = ask.pushed
                self.upload(ask, 300_000)
                moved |= before != ask.pushed
            if moved:
                end = time.monotonic() + DEADLINE_S
            else:
                self.asleep()
                time.sleep(0.001)
            if time.monotonic() > end:
                raise Wrong(f"nothing moves any more for {left()}")

    # -- all of it

    def run(self, rounds):
        try:
            for _ in range(rounds):
                self.round()
            self.end()
        except Exception as error:  # of whatever kind: the steps tell how to come there again
            steps = "\n  ".join([*self.trace, "and its log:", *self.failures_logged()])
            raise Wrong(f"{self.name}: {error!r}\nits last steps:\n  {steps}\n{self.name}: {error}") from error
        return self.seen

    def failures_logged(self):
        """The last lines of the access log that tell of an error, once they are written."""
        time.sleep(1.5)
        lines = self.verge.access_log.read_text().splitlines() if self.verge.access_log.exists() else []
        return [line for line in lines if '"error":null' not in line and '"client_gone"' not in line][-10:]

    def end(self):
        """Everybody leaves, and nothing is left but what is stored."""
        self.settle()
        eventually(self.only_stored, "objects are held by nobody but the index")
        for client in self.clients:
            client.close()
        self.verge.stop()

    def only_stored(self):
        metrics = self.verge.metrics()
        return metrics["verge_cache_objects_live"] <= metrics["verge_cache_objects"] + metrics["verge_cache_pending_live"]

    def abandon(self):
        self.verge.abandon()
        self.origin.close()


def run(directory, name, rounds):
    """What was seen, counted; raises Wrong."""
    world = World(directory, name)
    try:
        return world.run(rounds)
    finally:
        world.abandon()


def ranges_of(text, size):
    """First and last byte of each range that can be satisfied by what has `size` bytes."""
    found = []
    for part in (text or "").removeprefix("bytes=").split(","):
        first, dash, last = part.partition("-")
        if not dash or not size or int(first or 0) >= size:
            continue
        start = int(first) if first else max(size - int(last), 0)
        found.append((start, min(int(last), size - 1) if first and last else size - 1))
    return found


def states(pid):
    """Of the threads of a process, a letter each."""
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            found.append(Path(f"/proc/{pid}/task/{task}/stat").read_text().rpartition(")")[2][1])
        except OSError:
            pass  # it has ended
    return found
