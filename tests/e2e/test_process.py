"""What the node makes of the process that it is started as: descriptors, limits."""

import os
import subprocess
import sys

import pytest

from harness import DEADLINE_S, Truncated, eventually, fresh
from harness.util import free_port
from harness.verge import PROGRAM


def shell(script):
    """A launcher that does something first."""
    return ["sh", "-c", f'{script}; exec "$@"', "sh"]


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- >&- 2>&-"])
def test_standard_descriptors_that_are_closed(origin, start, tmp_path, closed):
    """Nothing that is written to standard error may reach a client's connection."""
    origin.on("/", fresh(b"body"))
    node = start(launcher=shell(f"exec {closed}"), top=f"error_log {tmp_path}/errors;")
    assert node.client.get("/").body == b"body"
    for number in (0, 1, 2):
        target = os.readlink(f"/proc/{node.process.pid}/fd/{number}")
        assert target == "/dev/null" or target.startswith(str(tmp_path)), (number, target)


# -- descriptors

def test_the_administrator_is_answered_when_descriptors_are_used_up(origin, start):
    gate = origin.gate()
    origin.on("/held", [gate, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"])
    origin.on("/", fresh(b"body"))
    node = start(launcher=["prlimit", "--nofile=128:128"], top="workers 1;")
    held = []

    def is_full():
        connection = node.client.connect()
        held.append(connection)
        connection.send(b"POST /held HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        return node.metric("verge_connections_refused_total", error="system") > 0

    eventually(is_full, "no descriptor is left for clients")
    for _ in range(3):
        assert node.admin("/healthz").status == 200
    for connection in held:
        connection.close()
    gate.set()

    def is_served():
        try:
            return node.client.get("/").status == 200
        except (OSError, Truncated):
            node.client.close()

    eventually(is_served, "descriptors are free again")


# -- locked memory

def locking(kib):
    """
    As a user of its own, since what all processes of a user lock counts together; one that may read
    and write as root, but not lock as much.
    """
    user = str(40000 + free_port())
    return ["setpriv", f"--reuid={user}", "--inh-caps=+dac_override", "--ambient-caps=+dac_override",
            "prlimit", f"--memlock={kib * 1024}:{kib * 1024}"]


alone = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")


@alone
@pytest.mark.parametrize("workers, kib", [(1, 64), (16, 8192)])
def test_rings_fit_into_what_may_be_locked(origin, start, workers, kib):
    origin.on("/", fresh(b"x" * 100_000))
    node = start(launcher=locking(kib), top=f"workers {workers};")
    for _ in range(3):
        node.client.close()  # so that another worker answers next
        assert len(node.client.get("/").body) == 100_000


@alone
def test_a_killed_node_is_replaced_at_once(origin, start):
    """The kernel gives back what a process had locked a moment after its end."""
    origin.on("/", fresh(b"body"))
    node = start(launcher=locking(8192), top="workers 12;")
    for _ in range(4):
        node.restart(kill=True)
        assert node.client.get("/").body == b"body"


CONFIG = "origin app {{ server 127.0.0.1:1; }} site * {{ listen 127.0.0.1:{port}; route * {{ origin app; }} }} workers {workers};"


def refused(tmp_path, launcher, workers=1):
    """What a node says that does not start."""
    file = tmp_path / "verge.conf"
    file.write_text(CONFIG.format(port=free_port(), workers=workers))
    done = subprocess.run([*launcher, PROGRAM, "run", "-c", file], capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 1, done
    return done.stderr


@alone
@pytest.mark.parametrize("workers", [1, 16])
def test_too_little_to_lock_is_told_with_the_limit(tmp_path, workers):
    assert "may lock 4 KiB (RLIMIT_MEMLOCK)" in refused(tmp_path, locking(4), workers)


# -- system calls that are forbidden

FORBID = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
number, error = int(sys.argv[1]), int(sys.argv[2])
steps = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x50000 | error), (0x06, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
program = ctypes.create_string_buffer(struct.pack("@HP", len(steps), ctypes.addressof(code)))
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program, 0, 0) == 0
os.execvp(sys.argv[3], sys.argv[3:])
"""
# Of the generic table, which every architecture has for calls as new as these.
CALLS = {"io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427}


@pytest.mark.parametrize("error", [1, 38], ids=["EPERM", "ENOSYS"])
@pytest.mark.parametrize("call", ["io_uring_enter", "io_uring_register"])
def test_a_call_that_is_forbidden_is_told(tmp_path, call, error):
    forbid = [sys.executable, "-c", FORBID, str(CALLS[call]), str(error)]
    assert "io_uring is forbidden here" in refused(tmp_path, forbid)
