"""`verge cache`, and what it asks the administrative listener: what is stored, and that it goes."""

import json
import socket
import struct
import subprocess
from urllib.parse import quote

import pytest

from harness import (CLOSE, DEADLINE_S, MEGABYTE, Reply, disk, eventually, fresh, in_parallel, pattern, store,
                     wait_until_stored)
from harness.verge import CONFIG, PROGRAM


def run(*arguments):
    return subprocess.run([PROGRAM, "cache", *arguments], capture_output=True, text=True, timeout=DEADLINE_S)


def cache(verge, *arguments):
    """The command's output; it must succeed without a complaint."""
    done = run("--admin", f"127.0.0.1:{verge.admin_port}", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def stat(verge):
    return json.loads(cache(verge, "stat", "--json"))


def get(verge, key):
    return json.loads(cache(verge, "get", key, "--json"))["objects"]


def remove(verge, key):
    return json.loads(cache(verge, "rm", key, "--json"))


def pages(verge, limit, prefix=None):
    """All pages of the list, by the admin listener itself."""
    target = f"/cache/objects?limit={limit}" + (f"&prefix={quote(prefix, '')}" if prefix else "")
    cursor = ""
    for _ in range(20_000):
        page = json.loads(verge.admin(target + cursor).body)
        yield page
        if page["cursor"] is None:
            return
        cursor = f"&cursor={page['cursor']}"
    raise AssertionError("the list does not end")


def listed(verge, limit=100, prefix=None):
    return [row for page in pages(verge, limit, prefix) for row in page["objects"]]


def keys(rows):
    return sorted(row["key"] for row in rows)


def url(target):
    return f"http://test.example{target}"


def assert_not_found(verge, *arguments):
    done = run("--admin", f"127.0.0.1:{verge.admin_port}", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "verge: the node says: nothing is stored under that key\n"


@pytest.fixture
def stored(start):
    return start(**disk())


# ---- stat


def test_stat_without_a_disk(origin, verge):
    origin.on("/", fresh(b"x" * 1000))
    verge.client.get("/")
    figures = stat(verge)
    assert figures["disk"] is None
    memory = figures["memory"]
    assert (memory["objects"], memory["pending"]) == (1, 0)
    assert 1000 < memory["used"] < memory["budget"] <= 64 << 20
    text = cache(verge, "stat")
    assert "1 objects, 0 pending" in text and "disk    none" in text


def test_stat_with_a_disk(origin, stored):
    origin.on("/", fresh(b"x" * 1000))
    store(stored, "/")
    disk_ = stat(stored)["disk"]
    assert disk_["up"] and disk_["size"] == 64 << 20 and disk_["objects"] == 1
    assert disk_["written"] >= 1000 and disk_["used"] >= 1000 and disk_["dropped"] == 0
    assert disk_["path"] == str(stored.directory / "disk")
    assert disk_["path"] in cache(stored, "stat")


def test_memory_gives_up_what_the_disk_has(origin, stored):
    bodies = {"/small": b"x" * 1000, "/large": pattern(3 * MEGABYTE), "/none": b""}
    for target, body in bodies.items():
        origin.on(target, fresh(body))
    store(stored, *bodies)
    assert stored.evict() == 3
    assert stat(stored)["memory"]["objects"] == 0
    for target, body in bodies.items():
        response = stored.client.get(target)
        assert response.hit and response.body == body
    assert origin.count() == 3


def test_memory_keeps_what_nothing_else_has(origin, verge):
    origin.on("/", fresh(b"x"))
    verge.client.get("/")
    assert verge.evict() == 0 and verge.client.get("/").hit


def test_what_is_fetched_is_pending(origin, verge):
    gate = origin.gate()
    origin.on("/", [gate, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"])
    connection = verge.client.connect()
    connection.request("GET", "/")
    origin.wait_for("/")
    assert stat(verge)["memory"]["pending"] == 1
    gate.set()
    assert connection.response().body == b"x"
    assert stat(verge)["memory"]["pending"] == 0


# ---- ls


@pytest.fixture
def thousand(origin, verge):
    """A node with 1,000 objects; their keys."""
    targets = [f"/{'a' if i % 10 else 'b'}/{i}" for i in range(1000)]

    def fetch(worker):
        for target in targets[worker::4]:
            origin.on(target, fresh(b"x"))
            verge.client.get(target)
    in_parallel(4, fetch)
    return sorted(url(target) for target in targets)


@pytest.mark.parametrize("limit", [1, 7, 100, 1000])
def test_pages(verge, thousand, limit):
    every = list(pages(verge, limit))
    assert all(len(page["objects"]) <= limit for page in every)
    assert keys(row for page in every for row in page["objects"]) == thousand


def test_a_prefix(verge, thousand):
    assert keys(listed(verge, 10, url("/b/"))) == [key for key in thousand if "/b/" in key]
    assert listed(verge, 10, url("/c")) == []


def test_the_command_shows_all_pages(verge, thousand):
    lines = cache(verge, "ls").splitlines()
    assert lines[0].split() == ["TIER", "STATUS", "SIZE", "AGE", "TTL", "HITS", "KEY"]
    assert sorted(line.split()[-1] for line in lines[1:]) == thousand
    assert all(line.split()[:3] == ["memory", "200", "1B"] for line in lines[1:])


def test_a_reader_who_leaves_early(verge, thousand):
    command = f"'{PROGRAM}' cache --admin 127.0.0.1:{verge.admin_port} ls | head -n 3"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=DEADLINE_S)
    assert len(done.stdout.splitlines()) == 3 and done.stderr == ""


def test_output_that_cannot_be_written(verge):
    command = [PROGRAM, "cache", "--admin", f"127.0.0.1:{verge.admin_port}", "stat"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=DEADLINE_S)
    assert (done.returncode, done.stderr) == (1, "verge: cannot write: No space left on device\n")


def test_what_a_row_tells(origin, start):
    verge = start(site="stale_while_revalidate 30s;")
    origin.on("/", Reply(headers={"Cache-Control": "max-age=600", "Age": "100", "Vary": "X-Kind",
                                  "Cache-Tag": "one, two"}, body=b"x" * 10))
    for _ in range(3):
        verge.client.get("/", {"X-Kind": "a b"})
    verge.client.get("/")
    rows = {row["variant"]: row for row in listed(verge)}
    assert set(rows) == {"x-kind=a%20b", "x-kind"}
    row = rows["x-kind=a%20b"]
    assert (row["tier"], row["state"], row["status"], row["size"]) == ("memory", "whole", 200, 10)
    assert (row["hits"], row["tags"]) == (2, 2) and rows["x-kind"]["hits"] == 0
    assert row["age"] >= 100 and row["age"] + row["ttl"] in (599, 600)
    full = get(verge, row["key"])
    assert len(full) == 2 and {o["variant"] for o in full} == set(rows)
    assert all(["Vary", "X-Kind"] in o["fields"] and o["vary"] == "X-Kind" for o in full)
    assert all((o["lifetime"], o["stale_while_revalidate"]) == (600, 30) for o in full)


def test_what_fills_is_listed(origin, verge):
    gate = origin.gate()
    origin.on("/", [b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 6\r\n\r\nabc", gate, b"def"])
    connection = verge.client.connect()
    connection.request("GET", "/")
    eventually(lambda: [row["size"] for row in listed(verge)] == [3], "half of it is there")
    assert listed(verge)[0]["state"] == "filling"
    gate.set()
    assert connection.response().body == b"abcdef"
    eventually(lambda: listed(verge)[0]["state"] == "whole", "all of it is there")


# ---- tiers


def test_tiers(origin, stored):
    for target in ("/one", "/two"):
        origin.on(target, fresh(b"x" * 1000, headers={"X-Name": target}))
    store(stored, "/one", "/two")
    one, two = url("/one"), url("/two")
    assert keys(listed(stored)) == [one, two]
    assert [o["tier"] for o in get(stored, one)] == ["both"]
    stored.restart(kill=True)
    rows = listed(stored)
    assert [(row["tier"], row["size"]) for row in rows] == [("disk", 1000)] * 2
    assert all(row["key"].startswith("disk:") and "status" not in row for row in rows)
    assert keys(o for row in rows for o in get(stored, row["key"])) == [one, two]
    found, = get(stored, one)
    assert (found["key"], found["tier"], found["status"], found["size"]) == (one, "disk", 200, 1000)
    assert ["X-Name", "/one"] in found["fields"]
    assert stored.metric("verge_disk_loads_total") == 0  # nothing came into memory by being looked at
    assert stored.client.get("/one").hit
    assert sorted((row["tier"], row["key"][:5]) for row in listed(stored)) == [("both", "http:"), ("disk", "disk:")]
    assert [o["tier"] for o in get(stored, one)] == ["both"]


def test_a_body_that_is_only_on_the_disk(origin, stored):
    """Too large for memory, which has its head only."""
    origin.on("/", fresh(pattern(3 * MEGABYTE)))
    store(stored, "/")
    eventually(lambda: [row["tier"] for row in listed(stored)] == ["disk"], "it is on the disk")
    row, = listed(stored)
    assert (row["key"], row["status"], row["size"]) == (url("/"), 200, 3 * MEGABYTE)
    assert remove(stored, row["key"])["removed"] == 1
    assert listed(stored) == []


def test_a_prefix_says_that_the_disk_is_not_listed(origin, stored):
    origin.on("/", fresh())
    store(stored, "/")
    stored.restart()
    assert [page["disk_listed"] for page in pages(stored, 10, "http")] == [False]
    assert [page["disk_listed"] for page in pages(stored, 10)] == [True]
    done = run("--admin", f"127.0.0.1:{stored.admin_port}", "ls", "http")
    assert done.returncode == 0 and "only the disk has" in done.stderr


def test_pages_over_both_tiers(origin, stored):
    for i in range(120):
        origin.on(f"/{i}", fresh(b"x"))
    store(stored, *[f"/{i}" for i in range(120)])
    stored.restart()
    for i in range(0, 120, 3):
        assert stored.client.get(f"/{i}").hit
    rows = listed(stored, 7)
    assert sum(row["tier"] == "both" for row in rows) == 40
    assert sum(row["tier"] == "disk" for row in rows) == 80
    assert len(set(keys(rows))) == 120


def test_variants_on_the_disk(origin, stored):
    origin.on("/", lambda exchange: exchange.reply(fresh(exchange.request["X-Kind"].encode(),
                                                         headers={"Vary": "X-Kind"})))
    for kind in "ab":
        store(stored, "/", headers={"X-Kind": kind})
    stored.restart()
    found = get(stored, url("/"))
    assert sorted(o["variant"] for o in found) == ["x-kind=a", "x-kind=b"]
    assert remove(stored, listed(stored)[0]["key"])["removed"] == 2
    assert listed(stored) == []


# ---- rm


def test_what_is_removed_is_a_miss(origin, verge):
    origin.on("/", fresh())
    verge.client.get("/")
    assert cache(verge, "rm", url("/")) == "removed 1\n"
    assert listed(verge) == []
    assert verge.client.get("/").fwd == "uri-miss"


@pytest.mark.parametrize("from_disk", [False, True], ids=["both", "disk"])
def test_what_is_removed_stays_away(origin, stored, from_disk):
    for target in ("/one", "/two"):
        origin.on(target, fresh(b"x" * 1000))
    store(stored, "/one", "/two")
    if from_disk:
        stored.restart()
    assert remove(stored, url("/one")) == {"removed": 1, "lasting": True}
    assert_not_found(stored, "get", url("/one"))
    stored.restart(kill=True)
    assert_not_found(stored, "get", url("/one"))
    assert not stored.client.get("/one").hit
    assert stored.client.get("/two").hit


def test_what_only_the_disk_has_counts_as_removed(origin, stored):
    origin.on("/", fresh(headers={"Vary": "X-Kind"}))
    for n, kind in enumerate("ab"):
        stored.client.get("/", {"X-Kind": kind})
        wait_until_stored(stored, n + 1)
    stored.restart()
    assert remove(stored, url("/"))["removed"] == 2
    assert stored.metric("verge_cache_invalidations_total") == 2


def test_what_only_the_disk_has_is_removed_by_its_hash(origin, stored):
    origin.on("/", fresh())
    store(stored, "/")
    stored.restart()
    name = listed(stored)[0]["key"]
    assert remove(stored, name)["removed"] == 1
    assert_not_found(stored, "rm", name)
    assert not stored.client.get("/").hit


def test_what_is_being_fetched_is_not_stored(origin, verge):
    gate = origin.gate()
    origin.on("/", fresh(b"old"))
    verge.client.get("/")
    origin.on("/", [gate, b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 3\r\n\r\nmid"], fresh(b"new"))
    remove(verge, url("/"))
    connection = verge.client.connect()
    connection.request("GET", "/")
    origin.wait_for("/", 2)
    assert_not_found(verge, "rm", url("/"))
    gate.set()
    assert connection.response().body == b"mid"
    assert verge.client.get("/").body == b"new"


def test_askers_who_leave(origin, stored):
    """While heads are read for them, or the disk forgets for them."""
    for i in range(50):
        origin.on(f"/{i}", fresh())
    store(stored, *[f"/{i}" for i in range(50)])
    stored.restart()
    for i in range(50):
        for method in ("GET", "DELETE"):
            with socket.create_connection(("127.0.0.1", stored.admin_port)) as connection:
                request = f"{method} /cache/object?key={quote(url(f'/{i}'), '')} HTTP/1.1\r\nHost: x\r\n\r\n"
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.sendall(request.encode())
    assert stored.admin("/healthz").status == 200
    for i in range(50):
        stored.admin(f"/cache/object?key={quote(url(f'/{i}'), '')}", "DELETE")
    assert listed(stored) == []


def test_nothing_to_remove(verge):
    assert_not_found(verge, "rm", url("/"))
    assert_not_found(verge, "get", url("/"))
    assert_not_found(verge, "get", "disk:0123456789abcdef")


# ---- slices


class Large:
    """Answers ranges of ten megabytes."""

    def __init__(self, size=10 << 20):
        self.size = size

    def __call__(self, exchange):
        first, last = map(int, exchange.request["Range"].removeprefix("bytes=").split("-"))
        last = min(last, self.size - 1)
        exchange.reply(Reply(206, {"Cache-Control": "max-age=60", "ETag": '"1"',
                                   "Content-Range": f"bytes {first}-{last}/{self.size}"},
                             b"x" * (last + 1 - first)))


@pytest.mark.parametrize("snippets", [{}, disk()], ids=["memory", "disk"])
def test_slices_are_listed_under_their_key(origin, start, snippets):
    verge = start(**snippets)
    origin.on("/", Large())
    for byte in (0, 5 << 20):
        assert verge.client.get("/", {"Range": f"bytes={byte}-{byte}"}).status == 206
    key = url("/")
    eventually(lambda: sorted(o["slice"] for o in get(verge, key)) == [0, 5], "both slices are there")
    assert keys(listed(verge)) == [f"slice 0 {key}", f"slice 5 {key}"]
    assert [o["slice"] for o in get(verge, f"slice 5 {key}")] == [5]
    assert remove(verge, key)["removed"] == 2
    assert listed(verge) == []
    assert_not_found(verge, "rm", key)


def test_slices_on_the_disk(origin, stored):
    origin.on("/", Large())
    before = stored.metric("verge_disk_stored_total")
    for byte in (0, 5 << 20):
        stored.client.get("/", {"Range": f"bytes={byte}-{byte}"})
    eventually(lambda: stored.metric("verge_disk_stored_total") == before + 2, "both are stored")
    stored.restart()
    key = url("/")
    assert sorted(o["slice"] for o in get(stored, key)) == [0, 5]
    assert sorted(row["slice"] for row in listed(stored)) == [0, 5]
    assert [o["slice"] for o in get(stored, f"slice 0 {key}")] == [0]
    assert remove(stored, f"slice 0 {key}")["removed"] == 2
    assert listed(stored) == []


# ---- keys


@pytest.mark.parametrize("target", [
    "/a%20b", "/%C3%A4%2F?x=%26", "/?", "/?a=1&b=2&a=1", "/a?b?c", "/%25?%", "/a\"b\\c", "//x/y", "/" + "l" * 2000,
], ids=lambda target: target[:10])
def test_odd_targets(origin, verge, target):
    origin.on(target, fresh())
    verge.client.get(target)
    row, = listed(verge)
    assert row["key"] == url(target)
    assert get(verge, row["key"])[0]["key"] == row["key"]
    assert remove(verge, row["key"])["removed"] == 1
    assert listed(verge) == []


def test_a_path_in_another_spelling(origin, verge):
    origin.on("/b/~c", fresh())
    verge.client.get("/b/~c")
    assert remove(verge, url("/a/../%62/%7Ec"))["removed"] == 1
    assert listed(verge) == []


@pytest.mark.parametrize("host, shown", [
    ("[2001:db8::1]:8080", "[2001:db8::1]:8080"), ("Shop.Example:80", "shop.example"), ("[::1]", "[::1]"),
])
def test_hosts(origin, verge, host, shown):
    origin.on("/", fresh())
    verge.client.get("/", {"Host": host})
    row, = listed(verge)
    assert row["key"] == f"http://{shown}/"
    assert remove(verge, f"http://{host}/")["removed"] == 1


@pytest.mark.parametrize("value", ["1", "a b", "50%", "x header y=1", "ä"])
def test_what_else_joins_the_key(origin, start, value):
    verge = start(route="key_header X-Device; key_cookie lang;")
    origin.on("/", fresh())
    verge.client.get("/", {"X-Device": value, "Cookie": "lang=de"})
    verge.client.get("/")
    rows = listed(verge)
    assert len(rows) == 2
    for row in rows:
        assert [o["key"] for o in get(verge, row["key"])] == [row["key"]]
        assert remove(verge, row["key"])["removed"] == 1
    assert listed(verge) == []


# ---- wrong input


@pytest.mark.parametrize("key", [
    "http://a b/", "http://a/b c", "/path", "ftp://a/", "http://a", "", "disk:12", "disk:0123456789abcdeg",
])
def test_what_is_no_key(verge, key):
    done = run("--admin", f"127.0.0.1:{verge.admin_port}", "get", key)
    assert done.returncode == 1 and done.stderr.startswith("verge: the node says: key is not of the form")


@pytest.mark.parametrize("target, method, status, why", [
    ("/cache?x=1", "GET", 400, 'there is no parameter "x"'),
    ("/cache/objects?limit=0", "GET", 400, "limit is"),
    ("/cache/objects?limit=1001", "GET", 400, "limit is"),
    ("/cache/objects?limit=-1", "GET", 400, "limit is"),
    ("/cache/objects?limit=5&limit=6", "GET", 400, "limit is given twice"),
    ("/cache/objects?cursor=x", "GET", 400, "cursor is none"),
    ("/cache/objects?cursor=m-1-2-3x", "GET", 400, "cursor is none"),
    ("/cache/object", "GET", 400, "key is missing"),
    ("/cache/object?key=%zz", "GET", 400, "key has a '%'"),
    ("/cache/object", "DELETE", 400, "key is missing"),
    ("/cache/object?key=a", "POST", 405, "method not allowed"),
    ("/cache", "DELETE", 405, "method not allowed"),
    ("/cache/objects", "DELETE", 405, "method not allowed"),
    ("/cache/", "GET", 404, "not found"),
])
def test_what_the_listener_refuses(verge, target, method, status, why):
    response = verge.admin(target, method)
    assert response.status == status and response.body.decode().startswith(why)


@pytest.mark.parametrize("cursor", [
    "m-64-0-0", "m-4294967295-18446744073709551615-4294967295", "d-0-0-0", "d-64-0-0", "d-18446744073709551615-1-1",
])
def test_any_cursor_leads_to_the_end(origin, stored, cursor):
    origin.on("/", fresh())
    store(stored, "/")
    for _ in range(10):
        page = json.loads(stored.admin(f"/cache/objects?cursor={cursor}").body)
        if page["cursor"] is None:
            return
        cursor = page["cursor"]
    raise AssertionError("it does not end")


@pytest.mark.parametrize("arguments", [
    [], ["list"], ["stat", "x"], ["get"], ["rm"], ["get", "a", "b"], ["ls", "a", "b"], ["--admin"], ["-x", "stat"],
    ["--admin", "127.0.0.1:1", "-c", "x", "stat"],
])
def test_wrong_use(arguments):
    done = run(*arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("verge: cache takes ") and "usage:" in done.stderr


@pytest.mark.parametrize("address, why", [
    ("127.0.0.1:1", "Connection refused"), ("nowhere", "that is no HOST:PORT"), ("::1:80", "that is no HOST:PORT"),
    ("[::1]x:80", "that is no HOST:PORT"), ("127.0.0.1:", "that is no HOST:PORT"),
])
def test_no_node(address, why):
    done = run("--admin", address, "stat")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"verge: no answer from the node at {address}: {why}\n"


def test_somebody_else_answers(origin):
    origin.on("/cache", [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", CLOSE])
    done = run("--admin", f"127.0.0.1:{origin.port}", "stat")
    assert done.returncode == 1 and "no whole response" in done.stderr


def test_the_address_of_a_configuration(origin, start):
    verge = start(config=CONFIG.replace("listen 127.0.0.1:$admin_port", "listen $admin_port"))
    origin.on("/", fresh())
    verge.client.get("/")
    done = run("-c", str(verge.file), "ls")
    assert done.returncode == 0 and url("/") in done.stdout


def test_a_configuration_without_admin(tmp_path):
    file = tmp_path / "verge.conf"
    file.write_text("origin a { server 127.0.0.1:1; }\nsite * { listen 127.0.0.1:2; route * { origin a; } }\n")
    done = run("-c", str(file), "stat")
    assert done.returncode == 2 and "has no admin listener" in done.stderr
    file.write_text("nonsense;")
    assert run("-c", str(file), "stat").returncode == 2


def test_nothing_of_it_is_on_the_public_side(origin, verge):
    for path in ("/cache", "/cache/objects", "/cache/object"):
        verge.client.get(path)
        assert origin.count(path) == 1
