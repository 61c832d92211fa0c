"""What a client sees of objects that only the disk has: the same as of others."""

import re
import threading

import pytest

from harness import (CHUNK_BYTES, CLOSE, MEGABYTE, Reply, Truncated, disk, eventually, fresh, in_parallel, outlive,
                     pattern, store, wait_until_stored)

pytestmark = pytest.mark.own_disk

ETAG = '"v1"'
DATE = "Mon, 01 Jan 2024 00:00:00 GMT"
LARGE = 5 * MEGABYTE  # more than an eighth of the memory


@pytest.fixture
def verge(start):
    return start(**disk("256M"))


def restarted(verge, *targets, headers=()):
    """The client, with nothing of them in memory."""
    store(verge, *targets, headers=headers)
    verge.restart()
    return verge.client


def parts_of(response):
    """(Content-Range, bytes) of each part of a multipart/byteranges body."""
    boundary = re.fullmatch(r'multipart/byteranges; ?boundary="?([^"]+)"?', response["Content-Type"])
    heads = [part.partition(b"\r\n\r\n") for part in response.body.split(b"--" + boundary[1].encode())[1:-1]]
    return [(re.search(rb"(?i)content-range: ([^\r]+)", head)[1].decode(), data[:-2]) for head, _, data in heads]


# ---- heads


def test_head_and_body_come_back(origin, verge):
    headers = {"ETag": ETAG, "Last-Modified": DATE, "Content-Type": "text/x-odd; charset=utf-8",
               "X-Empty": "", "Link": "</a>; rel=preload", "Age": "100"}
    origin.on("/", fresh(b"body", 600, headers))
    before = verge.client.get("/")
    wait_until_stored(verge)
    outlive(1)
    verge.restart()
    after = verge.client.get("/")
    assert after.hit and (after.status, after.body) == (200, b"body")
    for name in [*headers, "Content-Length", "Cache-Control", "Date"]:
        assert after[name] == before[name] or name == "Age"
    assert int(after["Age"]) > 100 and after.cache["ttl"] < 500
    assert origin.count() == 1


def test_repeated_fields_stay_apart(origin, verge):
    links = [("Link", f"</{n}>; rel=preload") for n in range(3)]
    origin.on("/", fresh(headers=links))
    response = restarted(verge, "/").get("/")
    assert response.hit and response.fields.all("link") == [value for _, value in links]


@pytest.mark.parametrize("status", [203, 301, 404, 410])
def test_other_status_codes(origin, verge, status):
    origin.on("/", fresh(b"not here", 60, {"Location": "/b"}, status=status))
    response = restarted(verge, "/").get("/")
    assert response.hit and (response.status, response.body) == (status, b"not here")
    assert response["Location"] == "/b"


def test_a_head_request(origin, verge):
    origin.on("/", fresh(bytes(1000)))
    origin.on("/large", fresh(bytes(LARGE)))
    client = restarted(verge, "/", "/large")
    for target, size in (("/", 1000), ("/large", LARGE)):
        response = client.get(target, method="HEAD")
        assert response.hit and response["Content-Length"] == str(size) and response.body == b""
    assert origin.count() == 2


# ---- variants


def test_each_variant_comes_back(origin, verge):
    def answer(exchange):
        kind = exchange.request["X-Kind"] or "none"
        exchange.reply(fresh(kind.encode() * 1000, headers={"Vary": "X-Kind"}))

    origin.on("/", answer)
    kinds = [{"X-Kind": "a"}, {"X-Kind": "b"}, {"X-Kind": ""}, {}]
    for headers in kinds:
        store(verge, "/", headers=headers)
    before = [verge.client.get("/", headers).body for headers in kinds]
    verge.restart()
    assert [verge.client.get("/", headers).body for headers in kinds] == before
    asked = origin.count()
    assert verge.client.get("/", {"X-Kind": "c"}).fwd == "vary-miss"
    assert origin.count() == asked + 1


# ---- bodies


def test_a_body_without_a_length(origin, verge):
    origin.on("/", fresh(pattern(200_000), chunked=True))
    response = restarted(verge, "/").get("/")
    assert response.hit and response.body == pattern(200_000)


@pytest.mark.parametrize("size", [0, 100, 200_000, 2 * MEGABYTE])
def test_trailers(origin, verge, size):
    origin.on("/", fresh(pattern(size), chunked=True, trailers={"X-Sum": "abc"}))
    client = restarted(verge, "/")
    response = client.get("/", {"TE": "trailers"})
    assert response.hit and response.body == pattern(size)
    assert response.trailers.get("X-Sum") == "abc"


def test_very_large_heads(origin, verge):
    headers = {f"X-Long-{n}": str(n) * 6000 for n in range(4)}
    origin.on("/", fresh(pattern(60_000), headers=headers))
    response = restarted(verge, "/").get("/")
    assert response.hit and response.body == pattern(60_000)
    assert all(response[name] == value for name, value in headers.items())


# ---- conditions and ranges


@pytest.mark.parametrize("size", [1000, LARGE])
@pytest.mark.parametrize("headers, status", [
    ({"If-None-Match": ETAG}, 304), ({"If-None-Match": '"other"'}, 200),
    ({"If-Modified-Since": DATE}, 304), ({"If-Match": ETAG}, 200),
])
def test_conditions(origin, verge, size, headers, status):
    origin.on("/", fresh(pattern(size), headers={"ETag": ETAG, "Last-Modified": DATE}))
    response = restarted(verge, "/").get("/", headers)
    assert (response.status, response.body) == (status, pattern(size) if status == 200 else response.body)
    assert origin.count("/") == 1


EDGE = 3 * CHUNK_BYTES


@pytest.mark.parametrize("wanted, first, last", [
    ("0-0", 0, 0), (f"0-{CHUNK_BYTES - 1}", 0, CHUNK_BYTES - 1), (f"{EDGE - 1}-{EDGE}", EDGE - 1, EDGE),
    (f"{EDGE}-{EDGE}", EDGE, EDGE), (f"{EDGE - 10}-{EDGE + 2 * CHUNK_BYTES}", EDGE - 10, EDGE + 2 * CHUNK_BYTES),
    ("-1", LARGE - 1, LARGE - 1), ("-100000", LARGE - 100_000, LARGE - 1), (f"{LARGE - 5}-", LARGE - 5, LARGE - 1),
    ("0-", 0, LARGE - 1),
])
def test_a_range(origin, verge, wanted, first, last):
    origin.on("/", fresh(pattern(LARGE), headers={"ETag": ETAG}))
    response = restarted(verge, "/").get("/", {"Range": f"bytes={wanted}"})
    assert (response.status, response.body) == (206, pattern(last - first + 1, first))
    assert response["Content-Range"] == f"bytes {first}-{last}/{LARGE}" and response.hit
    assert origin.count("/") == 1
    chunks = last // CHUNK_BYTES - first // CHUNK_BYTES + 1
    read = verge.metric("verge_disk_read_bytes_total")
    assert read <= (chunks + 1) * 65_536, "it read more than the chunks of the range and the head"


def test_several_ranges(origin, verge):
    origin.on("/", fresh(pattern(LARGE), headers={"ETag": ETAG}))
    wanted = [(0, 9), (EDGE - 5, EDGE + 4), (LARGE - 10, LARGE - 1)]
    header = "bytes=" + ",".join(f"{first}-{last}" for first, last in wanted)
    response = restarted(verge, "/").get("/", {"Range": header})
    assert response.status == 206 and response.hit
    assert parts_of(response) == [(f"bytes {first}-{last}/{LARGE}", pattern(last - first + 1, first))
                                  for first, last in wanted]


def test_a_range_behind_the_end(origin, verge):
    origin.on("/", fresh(pattern(LARGE)))
    response = restarted(verge, "/").get("/", {"Range": f"bytes={LARGE}-"})
    assert response.status == 416 and response["Content-Range"] == f"bytes */{LARGE}"


# ---- larger than memory


def test_several_clients_share_one_fill(origin, verge):
    """A slow one, one that leaves, one that comes late: what they get comes from the disk meanwhile."""
    body, gate, late = pattern(24 * MEGABYTE), origin.gate(), threading.Event()
    head = f"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    origin.on("/", [head, body[:16 * MEGABYTE], gate, body[16 * MEGABYTE:]])

    def ask(number):
        with verge.client.connect(receive_buffer_bytes=4096 if number == 0 else None) as connection:
            if number == 3:
                late.wait(10)
            connection.request("GET", "/")
            connection.head()
            if number == 1:
                connection.read(MEGABYTE)
                connection.reset()
                return None
            begin = connection.read(12 * MEGABYTE)
            (late if number == 2 else gate).set()
            return begin + connection.rest()

    results = in_parallel(4, ask)
    assert results == [body, None, body, body]
    assert origin.count("/") == 1
    wait_until_stored(verge)
    verge.restart()
    response = verge.client.get("/")
    assert response.hit and response.body == body
    assert origin.count("/") == 1


def test_clients_of_a_stored_one(origin, verge):
    body = pattern(16 * MEGABYTE)
    origin.on("/", fresh(body))
    restarted(verge, "/")

    def ask(number):
        with verge.client.connect(receive_buffer_bytes=4096 if number == 0 else None) as connection:
            connection.request("GET", "/")
            connection.head()
            if number == 1:
                connection.read(100_000)
                connection.reset()
                return None
            return connection.rest()

    assert in_parallel(5, ask) == [body, None, body, body, body]
    assert origin.count("/") == 1
    assert verge.metric("verge_cache_bytes") < 8 * MEGABYTE * 1.05
    eventually(lambda: verge.metric("verge_cache_readers_live") == 0, "all readers are gone")


def test_one_that_breaks_off_is_nobodys(origin, verge):
    """Its client sees the end, and nobody is given what there was of it."""
    head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: %d\r\n\r\n" % LARGE
    origin.on("/", [head + pattern(3 * MEGABYTE), CLOSE], fresh(pattern(LARGE)))
    with verge.client.connect() as connection:
        connection.request("GET", "/")
        connection.head()
        with pytest.raises(Truncated):
            connection.rest()
    verge.restart()
    response = verge.client.get("/")
    assert not response.hit and response.body == pattern(LARGE)


def test_a_reply_of_the_origin_that_says_no_store_is_not_there(origin, verge):
    origin.on("/", Reply(headers={"Cache-Control": "no-store"}, body=bytes(LARGE)))
    origin.on("/kept", fresh())
    verge.client.get("/")
    assert not restarted(verge, "/kept").get("/").hit
    assert origin.count("/") == 2


# ---- invalidation of others


def test_an_unsafe_method_elsewhere_takes_nothing(origin, verge):
    origin.on("/", fresh(b"body", 600))
    client = restarted(verge, "/")
    for n in range(300):  # some of them in every shard
        origin.on(f"/{n}", Reply(204))
        client.request("POST", f"/{n}", body=b"x")
    assert client.get("/").hit
