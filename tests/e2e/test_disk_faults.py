"""
Disks that fail, under load. Whatever happens to the disk: no client gets an error, a wrong or a shorter body; a
counter and one line of the log say what it is; and once the disk is well, the node stores and reads again.
"""

import itertools
import json
import os
import random
import re
import shutil
import struct
import subprocess
from urllib.parse import quote

import pytest

from harness import (CHUNK_BYTES, CLOSE, MEGABYTE, Client, Reply, Truncated, disk, eventually, fresh, pattern, store,
                     wait_until_stored)
from harness.crash import CLASSES, body_of
from harness.faults import Fault, Load
from harness.util import BUILD

PAGE_BYTES, VALUE_MAGIC = 4096, 0x56524731


@pytest.fixture
def fault(tmp_path):
    fault = Fault(tmp_path)
    yield fault
    fault.clear()


@pytest.fixture
def verge(start, fault):
    return start_with(start, fault)


def start_with(start, fault, size="64M", more=""):
    return start(environment=fault.environment, memory="8M", cache=f"disk {fault.folder} {size}; {more}",
                 top="limits { requests_per_connection 1000000; }")


def lines(verge, text):
    return [line for line in verge.errors() if text in line]


def keep_new(verge, origin, size):
    """Something new that is on the disk. What finds the queue full is not tried again, so another one is."""
    for n in itertools.count():
        path = f"/new/{size}/{n}"
        origin.on(path, fresh(pattern(size)))
        stored, dropped = verge.metric("verge_disk_stored_total"), verge.metric("verge_disk_dropped_total")
        for _ in range(2):  # a full disk takes what is missed twice
            verge.client.get(path)
        if verge.metric("verge_disk_dropped_total") == dropped:
            wait_until_stored(verge, stored + 1)
            return path


def is_well(verge, origin):
    """What is new is written, and there after kill -9; what else is there is right."""
    eventually(lambda: verge.metric("verge_disk_up") == 1, "the disk is used again")
    stored = [keep_new(verge, origin, size) for size in (1000, 2 * MEGABYTE)]
    verge.restart(kill=True)
    assert all(verge.client.get(path).hit for path in stored)
    served = 0
    for class_ in ("small", "page", "image", "large"):
        for n in range(CLASSES[class_][0]):
            response = verge.client.get(f"/{class_}/{n}", {"Cache-Control": "only-if-cached"})
            assert response.status == 504 or response.body == body_of(f"/{class_}/{n}", "", 0)
            served += response.status == 200
    return served


@pytest.mark.parametrize("kill", [False, True], ids=["term", "kill"])
def test_what_is_forgotten_while_writing_fails_stays_away(origin, verge, fault, kill):
    origin.on("/", fresh(b"old"))
    store(verge, "/")
    fault.set("EIO")

    def is_down(numbers=itertools.count()):
        path = f"/another/{next(numbers)}"
        origin.on(path, fresh(b"another"))
        verge.client.get(path)
        return verge.metric("verge_disk_up") == 0

    eventually(is_down, "writing fails")
    origin.on("/", fresh(b"new"))
    assert verge.client.request("POST", "/", body=b"x").status == 200
    verge.restart(kill=kill)
    fault.clear()
    assert verge.client.get("/").body == b"new"
    eventually(lambda: verge.metric("verge_disk_up") == 1, "the disk is used again")


# ---- writing


@pytest.mark.parametrize("what, told", [("ENOSPC", "No space left on device"), ("EIO", "Input/output error"),
                                        ("EROFS", "Read-only file system"), ("PARTIAL", "Input/output error"),
                                        ("FULL", "No space left on device")])
def test_writing_fails(origin, verge, fault, what, told):
    with Load(verge, origin) as load:
        load.go_on(200)
        fault.set(what)
        eventually(lambda: verge.metric("verge_disk_write_errors_total") > 0, "writing fails")
        load.go_on(200)
        assert verge.metric("verge_disk_up") == 0
        eventually(lambda: lines(verge, "nothing is written for now"), "the log says so")
        assert len(lines(verge, "nothing is written for now")) == 1 and told in lines(verge, "nothing is written")[0]
        fault.clear()
        eventually(lambda: verge.metric("verge_disk_up") == 1, "it is tried again")
        eventually(lambda: len(lines(verge, "writing again")) == 1, "the log says so")
        before = verge.metric("verge_disk_stored_total")
        load.go_on(100)
        wait_until_stored(verge, before + 10)
    assert is_well(verge, origin) > 50


def test_a_folder_that_cannot_be_written_from_the_start(origin, start, fault):
    fault.set("EROFS")
    verge = start_with(start, fault)
    with Load(verge, origin) as load:
        load.go_on(100)
        assert verge.metric("verge_disk_up") == 0
        eventually(lambda: lines(verge, "Read-only file system"), "the log says so")
        fault.clear()
        eventually(lambda: verge.metric("verge_disk_up") == 1, "it is tried again")
        load.go_on(100)
    is_well(verge, origin)


def test_a_writer_that_hangs(origin, verge, fault):
    """Nobody waits for it: not who reads what spills, nor who invalidates what the disk has."""
    with Load(verge, origin) as load:
        load.go_on(200)
        fault.set("HANG")
        load.go_on(300)
        fault.clear()
        before = verge.metric("verge_disk_stored_total")
        wait_until_stored(verge, before + 10)
        load.go_on(100)
    assert is_well(verge, origin) > 50


def test_the_end_of_a_node_whose_disk_fails(origin, verge, fault):
    with Load(verge, origin) as load:
        load.go_on(200)
        fault.set("EIO")
        load.go_on(50)
    fault.set("EIO")
    verge.restart()
    fault.clear()
    is_well(verge, origin)


@pytest.mark.skipif(os.geteuid() != 0, reason="file systems are root's to mount")
def test_a_full_file_system(origin, start, tmp_path):
    """To its last byte, then larger."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20M", "none", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"not permitted: {mounted.stderr}")
    try:
        verge = start(memory="8M", cache=f"disk {folder}/disk 64M;", top="limits { requests_per_connection 1000000; }")
        with Load(verge, origin) as load:
            eventually(lambda: verge.metric("verge_disk_write_errors_total") > 0, "it is full")
            load.go_on(200)
            eventually(lambda: lines(verge, "nothing is written for now"), "the log says so")
            subprocess.run(["mount", "-o", "remount,size=200M", folder], check=True)
            eventually(lambda: verge.metric("verge_disk_up") == 1, "it is tried again")
            load.go_on(100)
        is_well(verge, origin)
        verge.client.close()
        verge.stop()
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


# ---- what is there goes bad


@pytest.mark.parametrize("share", [0, 0.5])
@pytest.mark.parametrize("name", ["log", "catalog"])
def test_a_file_is_cut_under_the_node(origin, verge, fault, name, share):
    with Load(verge, origin) as load:
        load.go_on(300)
        file = fault.folder / name
        os.truncate(file, int(file.stat().st_size * share))
        load.go_on(500)
    is_well(verge, origin)


@pytest.mark.parametrize("name", ["log", "catalog", "everything"])
def test_files_are_deleted_under_the_node(origin, verge, fault, name):
    with Load(verge, origin) as load:
        load.go_on(300)
        shutil.rmtree(fault.folder) if name == "everything" else (fault.folder / name).unlink()
        load.go_on(300)
    verge.restart(kill=True)
    with Load(verge, origin) as load:
        load.go_on(100)
    is_well(verge, origin)


@pytest.mark.parametrize("name", ["log", "catalog", "everything"])
def test_removed_files_are_noticed_and_begun_anew(origin, verge, fault, name):
    origin.on("/old", fresh(b"old"))
    origin.on("/new", fresh(b"new"))
    store(verge, "/old")
    shutil.rmtree(fault.folder) if name == "everything" else (fault.folder / name).unlink()
    verge.client.get("/new")  # the next write notices it, or a look every half minute
    eventually(lambda: lines(verge, "its files were removed"), "the log says so")
    eventually(lambda: lines(verge, "writing again"), "it is begun anew")
    assert all((fault.folder / file).exists() for file in ("log", "catalog", "stamp"))
    assert len(lines(verge, "its files were removed")) == 1
    wait_until_stored(verge, verge.metric("verge_disk_stored_total"))
    path = keep_new(verge, origin, 1000)
    verge.restart(kill=True)
    assert verge.client.get(path).hit
    assert not verge.client.get("/old").hit  # it went with the files


def test_a_folder_of_another_node(origin, start, fault):
    start_with(start, fault)
    second = start_with(start, fault)
    assert "another process uses the folder" in lines(second, "nothing is written for now")[0]


def flip(log, rng, share):
    """One bit in the first page of so many of the values. LMDB's own pages are for what follows below."""
    data = log.read_bytes()
    for page in range(0, len(data), PAGE_BYTES):
        magic, body_bytes = struct.unpack_from("<32xI20xI", data, page)
        if magic != VALUE_MAGIC or body_bytes == 0 or rng.random() > share:
            continue
        at = page + 64 + rng.randrange(min(body_bytes, PAGE_BYTES - 64))
        with open(log, "r+b") as f:
            f.seek(at)
            f.write(bytes([data[at] ^ 1 << rng.randrange(8)]))


def test_flipped_bits_in_values(origin, verge, fault):
    """They are looked at before they are used."""
    with Load(verge, origin) as load:
        load.go_on(300)
        flip(fault.folder / "log", random.Random(1), 0.3)
        load.go_on(500)
    assert verge.metric("verge_disk_read_errors_total") > 0
    eventually(lambda: lines(verge, "an object is forgotten: it is not what was written"), "the log says so")
    is_well(verge, origin)


def overwrite(file, first, last):
    with open(file, "r+b") as f:
        f.seek(first)
        f.write(random.Random(1).randbytes(last - first))


@pytest.mark.parametrize("name", ["log", "catalog"])
@pytest.mark.parametrize("damage", [
    lambda file: os.truncate(file, file.stat().st_size // 2),
    lambda file: os.truncate(file, 2 * PAGE_BYTES),
    lambda file: os.truncate(file, 0),
    lambda file: overwrite(file, 0, 2 * PAGE_BYTES),
    lambda file: file.unlink(),
], ids=["half", "only its head", "nothing", "no head", "gone"])
def test_damage_before_a_start(origin, verge, fault, name, damage):
    with Load(verge, origin) as load:
        load.go_on(300)
    verge.kill()
    verge.client.close()
    damage(fault.folder / name)
    verge.start()
    with Load(verge, origin) as load:
        load.go_on(200)
    is_well(verge, origin)


# ---- a bad chunk, when the head of the response is out already


LARGE = 5 * MEGABYTE


def corrupted(verge, origin, fault, reply, chunk):
    """A large object of which that chunk is bad; nothing of it is in memory."""
    origin.on("/", reply)
    store(verge, "/")
    verge.kill()
    verge.client.close()
    wanted = pattern(64, chunk * CHUNK_BYTES + 1024)
    log = (fault.folder / "log").read_bytes()
    assert log.count(wanted) == 1
    with open(fault.folder / "log", "r+b") as f:
        f.seek(log.index(wanted))
        f.write(b"X")
    verge.start()


def breaks_off_before(verge, at):
    """What came is right; how much of it came is up to the connection."""
    with pytest.raises(Truncated) as end:
        verge.client.get("/")
    assert len(end.value.body) <= at and end.value.body == pattern(len(end.value.body))


@pytest.mark.parametrize("chunk", [0, 1, 40, LARGE // CHUNK_BYTES - 1])  # the last one is with the head
def test_a_bad_chunk_in_the_middle(origin, verge, fault, chunk):
    """The response goes on from the origin, with exactly what is missing."""
    def ranged(exchange):
        first, _, last = exchange.request["Range"][6:].partition("-")
        first, last = int(first), min(int(last or LARGE), LARGE - 1)
        headers = {"Cache-Control": "max-age=60", "ETag": '"v1"', "Content-Range": f"bytes {first}-{last}/{LARGE}"}
        exchange.reply(Reply(206, headers, pattern(last - first + 1, first)))

    corrupted(verge, origin, fault, fresh(pattern(LARGE), headers={"ETag": '"v1"'}), chunk)
    origin.on("/", ranged)
    response = verge.client.get("/")
    assert response.status == 200 and response.body == pattern(LARGE)
    assert verge.metric("verge_disk_read_errors_total") == 1 and verge.metric("verge_disk_mended_total") == 1


@pytest.mark.parametrize("second", [
    fresh(b"b" * LARGE, headers={"ETag": '"v2"'}),  # another version by now
    fresh(b"b" * LARGE),
    [CLOSE],
])
def test_a_bad_chunk_that_cannot_be_mended(origin, verge, fault, second):
    """It breaks off before the first wrong byte, and the next client has all."""
    corrupted(verge, origin, fault, fresh(pattern(LARGE), headers={"ETag": '"v1"'}), 40)
    origin.on("/", second)
    breaks_off_before(verge, 40 * CHUNK_BYTES)
    origin.on("/", fresh(b"c" * LARGE))
    assert verge.client.get("/").body == b"c" * LARGE


def test_a_bad_chunk_of_a_body_without_a_validator(origin, verge, fault):
    """Nobody can say whether the origin still has the same: nothing is put together."""
    corrupted(verge, origin, fault, fresh(pattern(LARGE)), 40)
    breaks_off_before(verge, 40 * CHUNK_BYTES)
    assert verge.client.get("/").body == pattern(LARGE)


# ---- reads that do not end

KINDS = "abcde"
hangs_reads = pytest.mark.skipif(BUILD == "tsan", reason="ThreadSanitizer's fstat goes past tests/fault.c")


def kinds_on_disk(origin, start, fault):
    """A key with five variants that only the disk has."""
    verge = start_with(start, fault)
    origin.on("/", *[Reply(headers={"Cache-Control": "max-age=600", "Vary": "X-Kind"}, body=f"old {kind}".encode())
                     for kind in KINDS])
    for n, kind in enumerate(KINDS):
        verge.client.get("/", {"X-Kind": kind})
        wait_until_stored(verge, n + 1)
    verge.restart()
    origin.on("/", lambda exchange: exchange.reply(
        Reply(headers={"Cache-Control": "max-age=600", "Vary": "X-Kind"},
              body=f"new {exchange.request['X-Kind']}".encode())))
    return verge


OBJECT = "/cache/object?key=" + quote("http://test.example/", "")


@hangs_reads
def test_heads_that_cannot_be_read_are_not_asked_for_twice(origin, start, fault):
    """The list of a key's objects, while a read is out: it tells what there is."""
    verge = kinds_on_disk(origin, start, fault)
    assert len(json.loads(verge.admin(OBJECT).body)["objects"]) == len(KINDS)
    fault.hang_reads()
    for _ in range(2):
        answer = verge.admin(OBJECT)
        assert answer.status == 200 and json.loads(answer.body) == {"objects": [], "more": True}
    named = verge.admin("/cache/object?key=" + quote(stored_name(verge), ""))
    assert named.status == 503 and b"does not answer" in named.body
    fault.clear()
    eventually(lambda: len(json.loads(verge.admin(OBJECT).body)["objects"]) == len(KINDS),
               "the disk answers")


def stored_name(verge):
    """The key of an object that only the disk has, as the list shows it."""
    return json.loads(verge.admin("/cache/objects").body)["objects"][0]["key"]


@hangs_reads
def test_a_read_that_does_not_end_costs_only_what_was_asked_for(origin, start, fault):
    verge = kinds_on_disk(origin, start, fault)
    fault.hang_reads()
    answer = verge.client.get("/", {"X-Kind": "c"})
    assert answer.body == b"new c" and not answer.hit
    assert verge.metric("verge_disk_read_timeouts_total") == 1
    assert verge.client.get("/", {"X-Kind": "c"}).hit  # from memory, and nobody waits again
    fault.clear()
    stored = {"X-Kind": "a", "Cache-Control": "only-if-cached"}
    eventually(lambda: verge.client.get("/", stored).status == 200, "the read has ended")
    for kind in KINDS:
        response = verge.client.get("/", {"X-Kind": kind})
        assert response.hit and response.body == (b"new c" if kind == "c" else f"old {kind}".encode())
    wait_until_stored(verge, 1)
    verge.restart(kill=True)
    assert verge.client.get("/", {"X-Kind": "c"}).body == b"new c"  # and the old one is nowhere
    assert verge.client.get("/", {"X-Kind": "d"}).body == b"old d"


@hangs_reads
def test_a_disk_that_answers_nothing_is_left_alone(origin, start, fault):
    verge = start_with(start, fault)
    paths = [f"/{n}" for n in range(6)]
    for path in paths:
        origin.on(path, fresh(b"old"))
    store(verge, *paths)
    verge.restart()
    for path in paths:
        origin.on(path, fresh(b"new"))
    fault.hang_reads()
    for n in range(3):
        assert verge.client.get(paths[n]).body == b"new"
    eventually(lambda: lines(verge, "left alone"), "the log says so")
    assert verge.client.get(paths[3]).body == b"new"
    assert verge.metric("verge_disk_read_timeouts_total") == 3  # the fourth was not tried
    fault.clear()
    assert len(lines(verge, "left alone")) == 1
    assert verge.metric("verge_disk_read_errors_total") == 0
    origin.on(paths[5], fresh(b"old"))

    def is_read_again():
        return verge.client.get(paths[4], {"Cache-Control": "only-if-cached"}).status == 200

    eventually(is_read_again, "it is tried again")
    assert verge.client.get(paths[4]).body == b"old"


@hangs_reads
@pytest.mark.parametrize("etag", [True, False], ids=["etag", "none"])
def test_a_body_whose_read_does_not_end_keeps_its_place(origin, start, fault, etag):
    verge = start_with(start, fault)
    tag = {"ETag": '"v1"'} if etag else {}
    origin.on("/", fresh(pattern(LARGE), headers=tag))
    store(verge, "/")
    fault.hang_reads()
    if etag:
        origin.on("/", lambda exchange: exchange.reply(part_of(exchange)))
        assert verge.client.get("/").body == pattern(LARGE)  # gone on with from the origin
    else:
        connection = verge.client.connect()
        connection.request("GET", "/")
        eventually(lambda: verge.metric("verge_disk_read_timeouts_total") > 0, "it is not waited for")
        fault.clear()
        with pytest.raises(Truncated):
            connection.response()
    fault.clear()
    origin.on("/", Reply(500))
    eventually(lambda: verge.client.get("/").hit, "it is there again")
    assert verge.client.get("/").body == pattern(LARGE)


def part_of(exchange):
    first, last = map(int, re.fullmatch(r"bytes=([0-9]+)-([0-9]+)", exchange.request["Range"]).groups())
    last = min(last, LARGE - 1)
    headers = {"Cache-Control": "max-age=60", "ETag": '"v1"', "Content-Range": f"bytes {first}-{last}/{LARGE}"}
    return Reply(206, headers, pattern(last - first + 1, first))


# ---- too much at once


def test_more_than_may_wait(origin, start, fault):
    verge = start_with(start, fault, more="disk_queue 1M;")
    with Load(verge, origin, clients=6, classes=("image", "large")) as load:
        fault.set("HANG")  # so that the queue fills
        eventually(lambda: verge.metric("verge_disk_dropped_total", cause="queue") > 0, "the queue is full")
        load.go_on(50)
        fault.clear()
        load.go_on(100)
    is_well(verge, origin)


def test_very_many_tiny_objects(origin, start):
    """The catalog has room for as many as the log can hold."""
    verge = start(**disk(), top="limits { requests_per_connection 1000000; }")
    with Load(verge, origin, clients=1) as load:
        load.over.set()
    origin.default = fresh(b"tiny")
    client = Client(verge.port)
    for n in range(16_000):
        client.get(f"/tiny?{n}")
    client.close()
    eventually(lambda: verge.metric("verge_disk_evictions_total") > 0, "the log is full")
    assert verge.metric("verge_disk_write_errors_total") == 0
    verge.restart(kill=True)
    assert verge.metric("verge_disk_objects") > 10_000
    assert verge.client.get("/tiny?15999").body == b"tiny"
