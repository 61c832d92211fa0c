"""The disk tier across the lives of a node: what comes back, what must not, and what the folder may hold."""

import re
import threading

import pytest

from harness import (CHUNK_BYTES, CLOSE, MEGABYTE, Reply, disk, eventually, fresh, outlive, pattern, store,
                     wait_until_stored)

SIZE = 64 * MEGABYTE
# Around what fits one value with its head, and around the borders of chunks.
SIZES = [0, 1, 100, 4096, 60_000, *range(CHUNK_BYTES - 400, CHUNK_BYTES, 50), CHUNK_BYTES - 1, CHUNK_BYTES,
         CHUNK_BYTES + 1, 2 * CHUNK_BYTES - 1, 2 * CHUNK_BYTES, 2 * CHUNK_BYTES + 1, MEGABYTE - 1, MEGABYTE,
         MEGABYTE + 1, 16 * CHUNK_BYTES, 17 * CHUNK_BYTES, 17 * CHUNK_BYTES + 1, 5 * MEGABYTE]
by_both_ends = pytest.mark.parametrize("kill", [False, True], ids=["term", "kill"])


@pytest.fixture
def verge(start):
    return start(**disk())


def bytes_on_disk(folder):
    """Of all files: what they take, and how long they are, whichever is more."""
    stats = [file.stat() for file in folder.iterdir()]
    return sum(max(stat.st_size, stat.st_blocks * 512) for stat in stats)


def only_if_cached(verge, target, headers=()):
    """What the node has of it; None where it has nothing that may be used."""
    response = verge.client.get(target, {"Cache-Control": "only-if-cached", **dict(headers)})
    return None if response.status == 504 else response


# ---- what comes back


@by_both_ends
def test_every_size_comes_back(origin, verge, kill):
    for size in SIZES:
        origin.on(f"/{size}", fresh(pattern(size)))
    store(verge, *[f"/{size}" for size in SIZES])
    verge.restart(kill)
    assert verge.metric("verge_disk_objects") == len(SIZES)
    for size in SIZES:
        response = verge.client.get(f"/{size}")
        assert response.hit and response.body == pattern(size), size
    assert origin.count() == len(SIZES)


@by_both_ends
def test_it_comes_back_again_and_again(origin, verge, kill):
    for round_ in range(4):
        origin.on(f"/{round_}", fresh(pattern(100_000, 16 * round_)))
        store(verge, f"/{round_}")
        verge.restart(kill)
    for round_ in range(4):
        response = verge.client.get(f"/{round_}")
        assert response.hit and response.body == pattern(100_000, 16 * round_)


def test_a_clean_end_writes_what_waits(origin, verge):
    for n in range(50):
        origin.on(f"/{n}", fresh(pattern(1000 * n)))
        verge.client.get(f"/{n}")
    verge.restart()
    assert all(only_if_cached(verge, f"/{n}").body == pattern(1000 * n) for n in range(50))


def test_a_reload_changes_nothing_of_it(origin, verge):
    origin.on("/", fresh(pattern(3 * MEGABYTE)))
    store(verge, "/")
    verge.reload(route="response_header set X-New yes;", **disk())
    response = verge.client.get("/")
    assert response.hit and response.body == pattern(3 * MEGABYTE) and response["X-New"] == "yes"
    verge.restart()
    assert only_if_cached(verge, "/").body == pattern(3 * MEGABYTE)


def test_what_is_stale_is_validated(origin, verge):
    origin.on("/", fresh(pattern(3 * MEGABYTE), 1, {"ETag": '"v1"'}), Reply(304, {"Cache-Control": "max-age=600"}))
    store(verge, "/")
    outlive(1)
    verge.restart()
    assert verge.client.get("/").body == pattern(3 * MEGABYTE)
    assert origin.last()["If-None-Match"] == '"v1"'
    assert verge.client.get("/").hit and origin.count() == 2


@by_both_ends
@pytest.mark.parametrize("size", [100, 3 * MEGABYTE])
def test_a_304_renews_the_head_on_the_disk(origin, verge, size, kill):
    origin.on("/", fresh(pattern(size), 1, {"ETag": '"v1"', "X-Head": "old"}),
              Reply(304, {"Cache-Control": "max-age=600", "ETag": '"v1"', "X-Head": "new"}))
    store(verge, "/")
    verge.restart(kill)
    outlive(1)
    store(verge, "/")
    verge.restart(kill)
    response = verge.client.get("/")
    assert response.hit and response.body == pattern(size) and response["X-Head"] == "new"
    assert origin.count() == 2


@by_both_ends
def test_stale_while_revalidate_goes_on(origin, verge, kill):
    swr = {"Cache-Control": "max-age=1, stale-while-revalidate=60", "ETag": '"v1"'}
    origin.on("/", Reply(headers=swr, body=b"old"), fresh(b"new"))
    store(verge, "/")
    outlive(1)
    verge.restart(kill)
    response = verge.client.get("/")
    assert response.hit and response.body == b"old"
    eventually(lambda: verge.client.get("/").body == b"new", "the refresh arrives")
    assert origin.count() == 2


@by_both_ends
def test_stale_if_error_goes_on(origin, verge, kill):
    origin.on("/", Reply(headers={"Cache-Control": "max-age=1, stale-if-error=60"}, body=b"old"), [CLOSE])
    store(verge, "/")
    outlive(1)
    verge.restart(kill)
    response = verge.client.get("/")
    assert (response.status, response.body) == (200, b"old")


# ---- what must not come back, also where the kill follows at once


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_what_was_invalidated(origin, verge, method):
    origin.on("/", fresh(pattern(100_000)))
    for _ in range(5):
        store(verge, "/")
        verge.restart(kill=True)
        assert only_if_cached(verge, "/")
        assert verge.client.request(method, "/", body=b"x").status == 200
        verge.restart(kill=True)
        assert only_if_cached(verge, "/") is None


def test_all_variants_of_what_was_invalidated(origin, verge):
    origin.on("/", lambda exchange: exchange.reply(fresh(b"x" * 1000, headers={"Vary": "X-Kind"})))
    for kind in "abc":
        store(verge, "/", headers={"X-Kind": kind})
    verge.restart(kill=True)
    only_if_cached(verge, "/", {"X-Kind": "a"})  # in memory, the others only on the disk
    verge.client.request("POST", "/", body=b"x")
    verge.restart(kill=True)
    assert [only_if_cached(verge, "/", {"X-Kind": kind}) for kind in "abc"] == [None] * 3


@pytest.mark.parametrize("size", [1000, 3 * MEGABYTE])
def test_what_another_version_has_replaced(origin, start, size):
    """The client has the new one's head, and the node dies."""
    verge = start(route="honor_request on;", **disk())
    for round_ in range(4):
        path, gate = f"/{round_}", origin.gate()
        head = f"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: {size}\r\n\r\n".encode()
        origin.on(path, fresh(b"a" * size, 600, {"ETag": '"a"'}), [head, gate, b"b" * size])
        store(verge, path)
        verge.restart(kill=True)
        assert only_if_cached(verge, path).body == b"a" * size
        connection = verge.client.connect()
        connection.request("GET", path, {"Cache-Control": "no-cache"})
        connection.head()
        verge.restart(kill=True)
        gate.set()
        assert only_if_cached(verge, path) is None


def test_a_fill_that_was_under_way(origin, verge):
    gate = origin.gate()
    head = f"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: {6 * MEGABYTE}\r\n\r\n".encode()
    origin.on("/", [head, bytes(4 * MEGABYTE), gate], fresh(b"whole"))
    with verge.client.connect() as connection:
        connection.request("GET", "/")
        connection.head()
        connection.read(3 * MEGABYTE)
        eventually(lambda: verge.metric("verge_disk_written_bytes_total") > MEGABYTE, "some of it is written")
        verge.restart(kill=True)
    assert verge.metric("verge_disk_objects") == 0
    gate.set()
    assert verge.client.get("/").body == b"whole"


# ---- the budget


def fill(verge, origin, count, size, between=lambda: None):
    """So many objects, each missed twice before long, so that it is let in."""
    def answer(exchange):
        offset = int(exchange.request.target.partition("?")[2]) * 16
        exchange.reply(fresh(pattern(size, offset), 600))

    origin.on("/fill", answer)
    for first in range(0, count, 200):
        for n in 2 * list(range(first, min(first + 200, count))):
            verge.client.get(f"/fill?{n}")
            if n % 10 == 0:
                between()


@pytest.mark.parametrize("size, count", [(MEGABYTE + 1, 150), (100_000, 1600)])
def test_the_folder_keeps_its_size(origin, verge, size, count):
    """Filled with more than it holds: the hot ones stay, also across kill -9, and the rest has been right."""
    hot = [f"/hot/{n}" for n in range(5)]
    for n, path in enumerate(hot):
        origin.on(path, fresh(pattern(50_000, 16 * n), 600))
    most, over = 0, threading.Event()

    def watch():
        nonlocal most
        while not over.wait(0.1):
            most = max(most, bytes_on_disk(verge.directory / "disk"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        fill(verge, origin, count, size, lambda: [verge.client.get(path) for path in hot])
    finally:
        over.set()
        watcher.join()
    assert most <= SIZE * 1.05
    assert verge.metric("verge_disk_evictions_total") > 0
    assert verge.metric("verge_disk_written_bytes_total") > 1.5 * SIZE
    assert verge.metric("verge_disk_write_errors_total") == 0
    wait_until_stored(verge, 100)
    verge.restart(kill=True)
    for n, path in enumerate(hot):
        response = verge.client.get(path)
        assert response.hit and response.body == pattern(50_000, 16 * n)
    found = 0
    for n in range(0, count, 7):
        response = only_if_cached(verge, f"/fill?{n}")
        found += response is not None
        assert response is None or response.body == pattern(size, n * 16)
    assert found > 0


def test_a_smaller_size_begins_anew(origin, start):
    verge = start(**disk("256M"))
    fill(verge, origin, 100, MEGABYTE + 1)
    wait_until_stored(verge, 100)
    verge.write_config(**disk("64M"))
    verge.restart()
    assert any("larger than its size" in line for line in verge.errors())
    assert bytes_on_disk(verge.directory / "disk") < SIZE
    store(verge, "/fill?1")
    assert verge.client.get("/fill?1").hit


# ---- what the stamp says


def edit_stamp(verge, *changes):
    """While no process runs."""
    file = verge.directory / "disk" / "stamp"
    text = file.read_text()
    for pattern_, replacement in changes:
        text, count = re.subn(pattern_, replacement, text)
        assert count == 1, text
    file.write_text(text)


def dead(verge, origin, kill):
    """With one object, and no process."""
    origin.on("/", fresh(pattern(100_000)))
    store(verge, "/")
    verge.kill() if kill else (verge.signal(15), verge.wait())
    verge.client.close()
    return verge


def test_another_format_is_set_aside(origin, verge):
    edit_stamp(dead(verge, origin, kill=False), (r"format \d+", "format 999"))
    verge.start()
    assert any("set aside" in line and "999" in line for line in verge.errors())
    aside = {file.name for file in (verge.directory / "disk").iterdir()}
    assert {"log.format-999", "catalog.format-999", "stamp.format-999"} <= aside
    assert only_if_cached(verge, "/") is None
    store(verge, "/")
    verge.restart(kill=True)
    assert only_if_cached(verge, "/").body == pattern(100_000)


def test_the_machine_went_down_while_it_was_in_use(origin, verge):
    edit_stamp(dead(verge, origin, kill=True), (r"boot .*", "boot 01234567-0123-0123-0123-0123456789ab"))
    verge.start()
    assert any("begun anew" in line and "machine went down" in line for line in verge.errors())
    assert only_if_cached(verge, "/") is None
    store(verge, "/")
    verge.restart(kill=True)
    assert only_if_cached(verge, "/")


def test_the_machine_went_down_after_a_clean_end(origin, verge):
    edit_stamp(dead(verge, origin, kill=False), (r"boot .*", "boot 01234567-0123-0123-0123-0123456789ab"))
    verge.start()
    assert only_if_cached(verge, "/").body == pattern(100_000)


@pytest.mark.parametrize("text", ["", "nonsense\n", "verge cache, format 1\nstate", "\0" * 100])
def test_a_stamp_that_says_nothing(origin, verge, text):
    (dead(verge, origin, kill=True).directory / "disk" / "stamp").write_text(text)
    verge.start()
    assert only_if_cached(verge, "/") is None
    store(verge, "/")
    verge.restart(kill=True)
    assert only_if_cached(verge, "/")


# ---- the folder


def test_two_processes_do_not_share_a_folder(origin, start, tmp_path):
    shared = {"memory": "8M", "cache": f"disk {tmp_path}/shared 64M;"}
    origin.on("/", fresh())
    first, second = start(**shared), start(**shared)
    assert (first.metric("verge_disk_up"), second.metric("verge_disk_up")) == (1, 0)
    assert any("disk cache" in line and "error" in line for line in second.errors())
    assert not second.client.get("/").hit and second.client.get("/").hit
    store(first, "/")
    first.restart(kill=True)
    assert only_if_cached(first, "/")
    first.client.close()
    first.stop()
    eventually(lambda: second.metric("verge_disk_up") == 1, "the second takes the folder")


def test_a_folder_that_cannot_be_made(origin, start, tmp_path):
    """Until it can."""
    obstacle = tmp_path / "obstacle"
    obstacle.write_text("a file, where a folder was to be")
    origin.on("/", fresh())
    verge = start(memory="8M", cache=f"disk {obstacle}/disk 64M;")
    assert verge.metric("verge_disk_up") == 0
    assert any("disk cache" in line and "Not a directory" in line for line in verge.errors())
    verge.client.get("/")
    assert verge.client.get("/").hit
    obstacle.unlink()
    eventually(lambda: verge.metric("verge_disk_up") == 1, "it tries again")
    origin.on("/b", fresh())
    store(verge, "/b")
    verge.restart(kill=True)
    assert only_if_cached(verge, "/b")
