"""Ranges of what is not stored: fetched in aligned slices, stored and put together by strong validator."""

import hashlib
import re

import pytest

from harness import CLOSE, Reply, Truncated, disk, eventually, fresh, outlive, pattern, wait_until_stored

SLICE = 64 * 1024
HUGE = 10 * 1024 ** 3
GET_RANGE = re.compile(r"bytes=([0-9]*)-([0-9]*)")


class Resource:
    """A representation of any size, made as it is asked for, whose bytes differ with its version."""

    def __init__(self, size, version=1, etag='"v{}"', headers=(), seconds=60):
        self.size, self.version, self.etag, self.seconds = size, version, etag, seconds
        self.headers = dict(headers)

    def bytes(self, first, end):
        return pattern(end - first, first + self.version * 16 ** 12)

    def fields(self):
        tag = {"ETag": self.etag.format(self.version)} if self.etag else {}
        return {"Cache-Control": f"max-age={self.seconds}", **tag, **self.headers}

    def bounds(self, value):
        """The bytes that a single range asks for, as [first, end); None: not satisfiable."""
        first, last = GET_RANGE.fullmatch(value).groups()
        if not first:
            return max(self.size - int(last), 0), self.size
        end = min(int(last) + 1, self.size) if last else self.size
        return (int(first), end) if int(first) < self.size else None

    def reply(self, request):
        fields, value = self.fields(), request["Range"]
        if request["If-None-Match"] and request["If-None-Match"] == fields.get("ETag"):
            return Reply(304, fields)
        if not value:
            return Reply(200, fields, self.bytes(0, self.size))
        bounds = self.bounds(value)
        if not bounds:
            return Reply(416, {"Content-Range": f"bytes */{self.size}"})
        first, end = bounds
        return Reply(206, {**fields, "Content-Range": f"bytes {first}-{end - 1}/{self.size}"},
                     self.bytes(first, end))

    def __call__(self, exchange):
        exchange.reply(self.reply(exchange.request))


def ask(client, value, headers=()):
    return client.get("/", {"Range": f"bytes={value}", **dict(headers)})


def asked(origin):
    return [request["Range"] for request in origin.requests]


def aligned(*numbers, size=SLICE):
    return [f"bytes={n * size}-{(n + 1) * size - 1}" for n in numbers]


def check(response, resource, first, end):
    assert response.status == 206, response
    assert response["Content-Range"] == f"bytes {first}-{end - 1}/{resource.size}"
    assert response["ETag"] == resource.fields()["ETag"]
    assert len(response.body) == end - first
    assert hashlib.sha256(response.body).digest() == \
        hashlib.sha256(resource.bytes(first, end)).digest()


@pytest.fixture
def node(start):
    return start(cache="slice 64K;")


@pytest.fixture
def sliced(node):
    return node.client


# -- which bytes, and what they cost the origin


@pytest.mark.parametrize("value, first, end, slices", [
    ("0-0", 0, 1, [0]),
    ("0-65535", 0, 65536, [0]),
    ("65535-65536", 65535, 65537, [0, 1]),
    ("65536-131071", 65536, 131072, [1]),
    ("70000-400000", 70000, 400001, [1, 2, 3, 4, 5, 6]),
    ("999999-", 999999, 1000000, [15]),
    ("900000-", 900000, 1000000, [13, 14, 15]),
    ("983040-2000000", 983040, 1000000, [15]),
    ("-1", 999999, 1000000, [0, 15]),
    ("-100000", 900000, 1000000, [0, 13, 14, 15]),
    ("-2000000", 0, 1000000, range(16)),
    ("0-", 0, 1000000, range(16)),
])
def test_the_origin_is_asked_for_aligned_slices_and_once(origin, sliced, value, first, end, slices):
    resource = Resource(1_000_000)
    origin.on("/", resource)
    check(ask(sliced, value), resource, first, end)
    assert asked(origin) == aligned(*slices)
    again = ask(sliced, value)
    check(again, resource, first, end)
    assert again.hit and len(asked(origin)) == len(slices)


@pytest.mark.parametrize("size", [1, SLICE - 1, SLICE, SLICE + 1, 3 * SLICE])
def test_the_last_slice_is_as_short_as_it_is(origin, sliced, size):
    resource = Resource(size)
    origin.on("/", resource)
    check(ask(sliced, "0-"), resource, 0, size)
    check(ask(sliced, "-1"), resource, size - 1, size)
    assert len(asked(origin)) == (size + SLICE - 1) // SLICE


@pytest.mark.parametrize("value, first", [
    ("5000000000-5000000099", 5_000_000_000), ("-100", HUGE - 100),
    (f"{SLICE * 1000 - 50}-{SLICE * 1000 + 49}", SLICE * 1000 - 50),
])
def test_a_hundred_bytes_of_a_huge_file_cost_two_slices_at_most(origin, node, value, first):
    resource = Resource(HUGE)
    origin.on("/", resource)
    check(ask(node.client, value), resource, first, first + 100)
    assert len(asked(origin)) <= 2
    assert node.metric("verge_slices_fetched_total") == len(asked(origin))


def test_the_size_of_slices_is_configured(origin, client):
    resource = Resource(3_000_000)
    origin.on("/", resource)
    check(ask(client, "1000000-1100000"), resource, 1_000_000, 1_100_001)
    assert asked(origin) == aligned(0, 1, size=1 << 20)


def test_slices_of_another_size_are_fetched_anew(origin, node):
    resource = Resource(1_000_000)
    origin.on("/", resource)
    check(ask(node.client, "0-199999"), resource, 0, 200_000)
    node.reload(cache="slice 128K;")
    check(ask(node.client, "0-199999"), resource, 0, 200_000)
    assert asked(origin) == aligned(0, 1, 2, 3) + aligned(0, 1, size=2 * SLICE)


@pytest.mark.parametrize("cache", ["slice off;", "slice 0;", "slice 1M; object_max 512K;"])
def test_without_slices_it_is_forwarded_as_it_was_asked(origin, start, cache):
    resource = Resource(1_000_000)
    origin.on("/", resource)
    client = start(cache=cache).client
    for _ in range(2):
        check(ask(client, "10-19"), resource, 10, 20)
    assert asked(origin) == ["bytes=10-19"] * 2


def test_several_ranges_are_forwarded_as_they_were_asked(origin, sliced):
    origin.on("/", Reply(206, {"Content-Type": "multipart/byteranges; boundary=b"}, b"parts"))
    assert ask(sliced, "0-9,100-109").body == b"parts"
    assert asked(origin) == ["bytes=0-9,100-109"]


def test_a_huge_range_takes_no_more_memory_than_the_budget(origin, start):
    node = start(memory="8M", cache="slice 256K;")
    resource = Resource(HUGE)
    origin.on("/", resource)
    with node.client.connect() as connection:
        connection.request("GET", "/", [("Range", "bytes=1000-")])
        connection.head()
        at = 1000
        for _ in range(24):
            assert connection.read(1 << 20) == resource.bytes(at, at + (1 << 20))
            at += 1 << 20
        assert node.metric("verge_cache_bytes") < 8 << 20


# -- together


def test_two_clients_at_once_make_one_request_for_each_slice(origin, node):
    resource, gate = Resource(200_000), origin.gate()

    def held(exchange):
        exchange.wait(gate)
        resource(exchange)

    origin.on("/", held)
    values = ["0-199999", "100-99999", "150000-199999"]
    connections = [node.client.connect() for _ in values]
    for connection, value in zip(connections, values):
        connection.request("GET", "/", [("Range", f"bytes={value}")])
    origin.wait_for("/", 2)
    gate.set()
    for connection, value in zip(connections, values):
        first, last = map(int, value.split("-"))
        check(connection.response(), resource, first, last + 1)
    assert sorted(asked(origin)) == sorted(aligned(0, 1, 2, 3))


def test_a_client_that_leaves_half_way_leaves_what_it_began(origin, node):
    resource = Resource(HUGE)
    origin.on("/", resource)
    with node.client.connect() as connection:
        connection.request("GET", "/", [("Range", "bytes=0-")])
        connection.head()
        assert connection.read(100_000) == resource.bytes(0, 100_000)
        connection.reset()
    check(ask(node.client, "50000-99999"), resource, 50_000, 100_000)
    assert len(asked(origin)) < 1000


def test_variants_have_slices_of_their_own(origin, sliced):
    def by_language(exchange):
        version = 2 if exchange.request["Accept-Language"] == "de" else 1
        Resource(100_000, version, headers={"Vary": "Accept-Language"})(exchange)

    origin.on("/", by_language)
    for _ in range(2):
        check(ask(sliced, "0-", {"Accept-Language": "de"}), Resource(100_000, 2), 0, 100_000)
        check(ask(sliced, "0-", {"Accept-Language": "en"}), Resource(100_000, 1), 0, 100_000)
    assert len(asked(origin)) == 4


# -- another version


def test_a_version_that_changes_half_way_is_never_mixed(origin, node):
    old, new = Resource(300_000, 1), Resource(300_000, 2)
    origin.on("/", old)
    check(ask(node.client, "0-99999"), old, 0, 100_000)
    origin.on("/", new)
    with pytest.raises(Truncated):
        ask(node.client, "0-")
    check(ask(node.client, "0-"), new, 0, 300_000)
    check(ask(node.client, "0-9"), new, 0, 10)
    assert node.metric("verge_slices_mismatched_total") == 1
    assert node.metric("verge_errors_total", error="representation_changed") == 1


@pytest.mark.parametrize("new", [
    Resource(300_001, 1), Resource(300_000, 1, headers={"Content-Encoding": "gzip"}),
    Resource(100_000, 2), Resource(300_000, 2, etag='W/"v1"'), Resource(300_000, 2, etag=None),
], ids=["length", "coding", "shorter", "weak", "untagged"])
def test_what_is_not_the_same_representation_breaks_the_response_off(origin, sliced, new):
    old = Resource(300_000, 1)
    origin.on("/", old)
    check(ask(sliced, "0-65535"), old, 0, 65536)
    origin.on("/", new)
    with pytest.raises(Truncated):
        ask(sliced, "0-")


@pytest.mark.parametrize("status", [403, 429, 500, 503])
def test_an_origin_that_refuses_says_nothing_of_the_version(origin, node, status):
    resource = Resource(300_000)
    origin.on("/", resource)
    check(ask(node.client, "0-65535"), resource, 0, 65536)
    origin.on("/", Reply(status, body=b"no"))
    with pytest.raises(Truncated):
        ask(node.client, "0-")
    assert ask(node.client, "0-9").hit
    assert node.metric("verge_slices_mismatched_total") == 0


@pytest.mark.parametrize("version", [1, 2])
def test_an_origin_that_stops_knowing_ranges(origin, sliced, version):
    old, new = Resource(300_000), Resource(300_000, version)
    origin.on("/", old)
    check(ask(sliced, "0-65535"), old, 0, 65536)
    origin.on("/", Reply(200, new.fields(), new.bytes(0, new.size)))
    if version == 1:  # all of the same: the rest is in it
        check(ask(sliced, "1000-"), old, 1000, 300_000)
    else:
        with pytest.raises(Truncated):
            ask(sliced, "1000-")
    check(ask(sliced, "0-99"), new, 0, 100)


def test_a_stored_slice_of_an_old_version_is_replaced(origin, sliced):
    old, new = Resource(200_000, 1, seconds=60), Resource(200_000, 2)
    origin.on("/", Resource(200_000, 1, seconds=1), old, old)
    check(ask(sliced, "0-9"), old, 0, 10)
    check(ask(sliced, "150000-150009"), old, 150_000, 150_010)
    outlive(1)
    origin.on("/", new)
    check(ask(sliced, "0-"), new, 0, 200_000)
    assert asked(origin)[2:] == aligned(0, 1, 2, 3)


def test_slices_do_not_outlive_a_whole_that_came_after_them(origin, sliced):
    old, new = Resource(300_000, 1), Resource(300_000, 2, seconds=1)
    origin.on("/", old)
    check(ask(sliced, "0-9"), old, 0, 10)
    origin.on("/", new)
    assert sliced.get("/").body == new.bytes(0, 300_000)
    outlive(1)  # the whole is of no use any more, the older slice would be
    check(ask(sliced, "0-9"), new, 0, 10)


def test_with_nothing_sent_yet_the_request_begins_again(origin, node):
    old, new = Resource(300_000, 1), Resource(400_000, 2)
    origin.on("/", old)
    check(ask(node.client, "0-9"), old, 0, 10)
    origin.on("/", new)
    check(ask(node.client, "-10"), new, 399_990, 400_000)
    check(ask(node.client, "0-9"), new, 0, 10)
    assert node.metric("verge_slices_mismatched_total") == 1


def test_stale_slices_are_validated(origin, sliced):
    resource = Resource(100_000, seconds=1)
    origin.on("/", resource)
    check(ask(sliced, "0-"), resource, 0, 100_000)
    outlive(1)
    response = ask(sliced, "0-")
    check(response, resource, 0, 100_000)
    assert response.fwd == "stale" and response.cache["fwd-status"] == 304
    assert [request["If-None-Match"] for request in origin.requests] == [None, None, '"v1"', '"v1"']
    assert asked(origin) == aligned(0, 1, 0, 1)


@pytest.mark.parametrize("error", [CLOSE, Reply(503)])
def test_stale_slices_stand_in_for_an_origin_that_fails(origin, start, error):
    client = start(cache="slice 64K;", route="stale_if_error 1m;").client
    resource = Resource(50_000, seconds=1)
    origin.on("/", resource, error if isinstance(error, Reply) else [error])
    check(ask(client, "0-9"), resource, 0, 10)
    outlive(1)
    check(ask(client, "0-9"), resource, 0, 10)


# -- invalidation


@pytest.mark.parametrize("name", ["/", "Location", "Content-Location"])
def test_an_unsafe_method_takes_all_slices(origin, sliced, name):
    old, new = Resource(300_000, 1), Resource(300_000, 2)
    origin.on("/", old)
    check(ask(sliced, "0-"), old, 0, 300_000)
    target = "/" if name == "/" else "/other"
    origin.on(target, Reply(201, {} if name == "/" else {name: "/"}))
    assert sliced.request("POST", target, body=b"x").status == 201
    origin.on("/", new)
    for first in range(0, 300_000, 50_000):
        check(ask(sliced, f"{first}-{first + 9}"), new, first, first + 10)


def test_an_unsafe_method_elsewhere_takes_none(origin, sliced):
    resource = Resource(300_000)
    origin.on("/", resource)
    check(ask(sliced, "0-"), resource, 0, 300_000)
    for n in range(300):  # some of them in every shard
        origin.on(f"/{n}", Reply(204))
        sliced.request("POST", f"/{n}", body=b"x")
    assert ask(sliced, "0-9").hit and ask(sliced, "200000-200009").hit


def test_a_slice_that_is_being_fetched_is_not_stored_when_it_was_invalidated(origin, node):
    old, new, gate = Resource(100_000, 1), Resource(100_000, 2), origin.gate()

    def held(exchange):
        if exchange.request.method == "POST":
            exchange.reply(Reply(204))
            return
        reply = old.reply(exchange.request)
        exchange.wait(gate)
        exchange.reply(reply)

    origin.on("/", held)
    with node.client.connect() as connection:
        connection.request("GET", "/", [("Range", "bytes=0-9")])
        origin.wait_for("/")
        assert node.client.request("POST", "/", body=b"x").status == 204
        gate.set()
        check(connection.response(), old, 0, 10)
    origin.on("/", new)
    check(ask(node.client, "0-9"), new, 0, 10)


# -- origins that give no slices


def test_a_200_is_the_whole_and_stored_as_such(origin, sliced):
    body = pattern(200_000)
    origin.on("/", fresh(body, headers={"ETag": '"v1"'}))
    response = ask(sliced, "100000-100009")
    assert (response.status, response.body) == (206, body[100_000:100_010])
    assert response["Content-Range"] == "bytes 100000-100009/200000"
    assert sliced.get("/").hit and sliced.get("/").body == body
    assert ask(sliced, "0-9").hit
    assert asked(origin) == aligned(1)


def test_those_who_wait_for_a_slice_share_the_200(origin, node):
    body, gate = pattern(200_000), origin.gate()
    head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 200000\r\n\r\n"
    origin.on("/", [gate, head + body])
    connections = [node.client.connect() for _ in range(10)]
    for n, connection in enumerate(connections):
        connection.request("GET", "/", [("Range", f"bytes={n}-{n + 9}")])
    origin.wait_for("/")
    eventually(lambda: node.metric("verge_requests_total") >= 10, "all ten wait")
    gate.set()
    for n, connection in enumerate(connections):
        response = connection.response()
        assert (response.status, response.body) == (206, body[n:n + 10])
    assert origin.count("/") == 1


@pytest.mark.parametrize("headers", [{"Cache-Control": "private"}, {"Cache-Control": "no-store"}])
def test_a_200_that_may_not_be_stored_ends_the_asking_for_slices(origin, sliced, headers):
    body = pattern(100_000)
    origin.on("/", Reply(200, headers, body))
    for n in range(3):
        response = ask(sliced, f"{n}-{n + 9}")
        assert (response.status, response.body) == (206, body[n:n + 10])
    assert asked(origin) == [*aligned(0), "bytes=1-10", "bytes=2-11"]


@pytest.mark.parametrize("resource", [
    Resource(100_000, etag='W/"v1"'), Resource(100_000, etag=None),
    Resource(100_000, etag=None, headers={"Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}),
    Resource(100_000, headers={"Cache-Control": "private"}),
], ids=["weak", "none", "date", "private"])
def test_a_206_that_cannot_be_put_together_is_not_stored(origin, sliced, resource):
    origin.on("/", resource)
    for n in range(2):
        response = ask(sliced, f"{n + 70000}-{n + 70009}")
        assert (response.status, response.body) == (206, resource.bytes(n + 70000, n + 70010))
        assert not response.stored
    assert asked(origin) == [*aligned(1), "bytes=70000-70009", "bytes=70001-70010"]


@pytest.mark.parametrize("told", ["bytes 0-99/*", "bytes 0-99/100000", "bytes 1-65536/100000", "bytes 0-65534/100000"])
def test_a_206_of_other_bytes_is_not_used(origin, sliced, told):
    resource = Resource(100_000)
    first, last = map(int, re.findall(r"[0-9]+", told)[:2])
    wrong = Reply(206, {**resource.fields(), "Content-Range": told}, resource.bytes(first, last + 1))
    origin.on("/", wrong, resource)
    check(ask(sliced, "20-29"), resource, 20, 30)
    assert asked(origin) == [*aligned(0), "bytes=20-29"]


@pytest.mark.parametrize("status", [404, 403, 500, 503])
def test_another_status_goes_to_the_client_and_is_not_remembered(origin, sliced, status):
    resource = Resource(100_000)
    origin.on("/", Reply(status, {"Cache-Control": "max-age=60"}, b"no"), resource)
    response = ask(sliced, "0-9")
    assert (response.status, response.body) == (status, b"no")
    check(ask(sliced, "0-9"), resource, 0, 10)


def test_beyond_the_end(origin, sliced):
    origin.on("/", Resource(100_000))
    for value in ("100000-", "500000-600000", "-0"):
        response = ask(sliced, value)
        assert response.status == 416 and response["Content-Range"] == "bytes */100000"
    assert asked(origin) == aligned(1, 7, 0)


def test_a_slice_that_breaks_off_is_asked_for_again(origin, sliced):
    resource = Resource(200_000)

    def broken(exchange):
        reply = resource.reply(exchange.request)
        exchange.send(reply.head() + reply.body[:1000])
        exchange.close()

    origin.on("/", resource, broken, resource)
    check(ask(sliced, "0-"), resource, 0, 200_000)
    assert asked(origin).count(aligned(1)[0]) == 2


def test_an_origin_that_keeps_breaking_off_breaks_the_response_off(origin, sliced):
    resource = Resource(200_000)

    def broken(exchange):
        reply = resource.reply(exchange.request)
        exchange.send(reply.head() + reply.body[:1000])
        exchange.close()

    origin.on("/", resource, broken)
    with pytest.raises(Truncated):
        ask(sliced, "0-")


# -- conditions


@pytest.mark.parametrize("validator, status", [('"v1"', 206), ('"v2"', 200), ('W/"v1"', 200), ("nonsense", 200)])
def test_if_range(origin, sliced, validator, status):
    resource = Resource(200_000)
    origin.on("/", resource)
    for _ in range(2):
        response = ask(sliced, "70000-70009", {"If-Range": validator})
        assert response.status == status
        assert response.body == (resource.bytes(70000, 70010) if status == 206 else resource.bytes(0, 200_000))
    assert asked(origin) == aligned(1) + [None] * (status == 200)


def test_if_range_where_the_range_is_beyond_the_end(origin, sliced):
    origin.on("/", Resource(100_000), fresh(b"all"))
    assert ask(sliced, "500000-", {"If-Range": '"old"'}).body == b"all"
    assert asked(origin) == [*aligned(7), "bytes=500000-"]


def test_preconditions_are_held_against_slices(origin, sliced):
    origin.on("/", Resource(100_000))
    assert ask(sliced, "0-9", {"If-None-Match": '"v1"'}).status == 304
    assert ask(sliced, "0-9", {"If-Match": '"v1"'}).status == 206
    assert asked(origin) == aligned(0)


def test_what_holds_for_no_slice_is_the_origins_to_say(origin, sliced):
    origin.on("/", Resource(100_000))
    ask(sliced, "0-9")
    origin.on("/", Reply(412))
    assert ask(sliced, "0-9", {"If-Match": '"v2"'}).status == 412
    assert (origin.last()["If-Match"], origin.last()["Range"]) == ('"v2"', "bytes=0-9")
    assert asked(origin) == [*aligned(0), "bytes=0-9"]


def test_only_if_cached(origin, sliced):
    resource = Resource(300_000)
    origin.on("/", resource)
    only = {"Cache-Control": "only-if-cached"}
    assert ask(sliced, "0-9", only).status == 504
    check(ask(sliced, "0-99999"), resource, 0, 100_000)
    check(ask(sliced, "50000-131071", only), resource, 50_000, 131_072)
    assert ask(sliced, "50000-131072", only).status == 504
    assert ask(sliced, "-1", only).status == 504
    assert ask(sliced, "0-9", {**only, "If-Range": '"v2"'}).status == 504
    assert asked(origin) == aligned(0, 1)


# -- on the disk


@pytest.fixture
def disked(start):
    return start(**disk("256M", more="slice 64K;"))


@pytest.mark.own_disk
def test_slices_come_back_from_the_disk(origin, disked):
    resource = Resource(300_000)
    origin.on("/", resource)
    check(ask(disked.client, "0-"), resource, 0, 300_000)
    wait_until_stored(disked, 5)
    disked.restart()
    only = {"Cache-Control": "only-if-cached"}
    assert ask(disked.client, "0-", only).hit
    response = ask(disked.client, "-100000")
    check(response, resource, 200_000, 300_000)
    assert response.hit and len(asked(origin)) == 5


@pytest.mark.own_disk
def test_more_slices_than_memory_holds(origin, disked):
    resource = Resource(20_000_000)
    origin.on("/", resource)

    def is_all_stored():  # what the disk's queue had no room for is asked for again
        check(ask(disked.client, "0-"), resource, 0, 20_000_000)
        return disked.metric("verge_disk_objects") >= 306

    eventually(is_all_stored, "all slices are stored")
    count = len(asked(origin))
    check(ask(disked.client, "0-"), resource, 0, 20_000_000)
    assert len(asked(origin)) == count


@pytest.mark.own_disk
@pytest.mark.parametrize("kill", [False, True])
def test_invalidated_slices_do_not_come_back(origin, disked, kill):
    old, new = Resource(300_000, 1), Resource(300_000, 2)
    origin.on("/", old)
    check(ask(disked.client, "0-"), old, 0, 300_000)
    wait_until_stored(disked, 5)
    origin.on("/", Reply(204))
    assert disked.client.request("POST", "/", body=b"x").status == 204
    disked.restart(kill)
    origin.on("/", new)
    check(ask(disked.client, "200000-200009"), new, 200_000, 200_010)
    check(ask(disked.client, "0-"), new, 0, 300_000)


@pytest.mark.own_disk
def test_an_unsafe_method_elsewhere_takes_none_from_the_disk(origin, disked):
    resource = Resource(300_000)
    origin.on("/", resource)
    check(ask(disked.client, "0-"), resource, 0, 300_000)
    wait_until_stored(disked, 5)
    disked.restart()
    for n in range(300):  # some of them in every shard
        origin.on(f"/{n}", Reply(204))
        disked.client.request("POST", f"/{n}", body=b"x")
    assert ask(disked.client, "0-9").hit and ask(disked.client, "200000-200009").hit


@pytest.mark.own_disk
def test_a_stored_slice_of_an_old_version_is_replaced_on_the_disk(origin, disked):
    old, new = Resource(200_000, 1), Resource(200_000, 2)
    origin.on("/", old)
    check(ask(disked.client, "0-"), old, 0, 200_000)
    wait_until_stored(disked, 4)
    origin.on("/", Reply(204))
    disked.client.request("POST", "/", body=b"x")
    origin.on("/", new)
    check(ask(disked.client, "0-"), new, 0, 200_000)
    wait_until_stored(disked, 8)
    disked.restart()
    check(ask(disked.client, "0-"), new, 0, 200_000)
    assert len(asked(origin)) == 9
