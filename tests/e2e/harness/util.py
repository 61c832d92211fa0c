"""Deadlines, ports and bytes. Deadlines are for hanging, never for measuring."""

import itertools
import os
import random
import socket
import threading
import time

BUILD = os.environ.get("VERGE_BUILD", "")
DEADLINE_S = 60 if BUILD else 30


def claim_ports():
    """
    The first of a hundred ports that are this process's own while it lives, below the ephemeral range. The
    claim is a name that one socket at a time may have, of those in the network that the ports are of.
    """
    for first in range(19000, 32700, 100):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0verge-test-ports-{first}")
        except OSError:
            claim.close()
            continue
        return first, claim
    raise AssertionError("all ports are taken by other tests")


_first, _claim = claim_ports()
_start = random.randrange(100)
_ports = (_first + (_start + n) % 100 for n in itertools.count())


def eventually(condition, what="condition"):
    """Returns the first true value of `condition()`; fails when the deadline has passed."""
    end = time.monotonic() + DEADLINE_S
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"still not so after {DEADLINE_S} s: {what}"
        time.sleep(0.01)


def outlive(seconds=1):
    """Lets what is fresh for so long become stale. Nothing may depend on how much later it is."""
    time.sleep(seconds + 0.1)


def free_port():
    """
    A port nobody listens at, and no other test may: in turn, so that it is not one that was just in use.
    """
    for port in itertools.islice(_ports, 100):
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tcp.bind(("127.0.0.1", port))
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError(f"no free port from {_first}")


def in_parallel(count, work):
    """Runs `work(0)` ... `work(count - 1)`, each in a thread; returns the results in order."""
    results = [None] * count

    def run(i):
        try:
            results[i] = work(i)
        except BaseException as error:  # handed to the caller below
            results[i] = error

    threads = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * DEADLINE_S)
        assert not thread.is_alive(), "a client hangs"
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def pattern(size, offset=0):
    """The bytes of the demo origin: each 16 are their own offset, in 15 hex digits and a newline."""
    first, last = offset // 16, (offset + size + 15) // 16
    text = b"".join(b"%015x\n" % (i * 16) for i in range(first, last))
    return text[offset % 16:][:size]
