"""Memory per idle connection: the growth of the server's own memory while many connections are open,
on each of which one request was answered. What the kernel needs for a connection is not in it.
"""

import subprocess
import time

import h2load
import machine
import tables
from rounds import Measurement
from running import Failure
from secure import require_hit

SIZE = 100
# What a server has to be measured with, to be measured here.
PROTOCOLS = {"h1": "hits", "h1-tls": "h1-tls", "h2": "h2", "h3": "h3"}
HOLD_S = 20
QUIET_CPU_S = 0.01  # in a second


def measurements(options):
    return (
        Measurement(
            "idle",
            f"Memory of {options.idle:,} idle connections",
            tuple(PROTOCOLS),
            visit,
            tables.PER_CONNECTION,
            serves=lambda server, protocol: PROTOCOLS[protocol] in server.tables,
            alone=True,  # a process keeps what it needed once
            steady=True,
        ),
    )


def visit(options, running, origin, protocol):
    require_hit(running.server, origin, protocol, SIZE)
    before = running.resident_bytes()
    # One request at once and the next after a hundred seconds: until HOLD_S is over all are idle.
    argv = h2load.command(
        protocol, SIZE, f"-c{options.idle}", "-m1", "--rps=0.01", "-D", HOLD_S
    )
    load = machine.start(argv, machine.LOAD_CORE, stdout=subprocess.PIPE, text=True)
    wait_until_quiet(running)
    grown = running.resident_bytes() - before
    said, _ = load.communicate()
    if h2load.parse(protocol, SIZE, said)["requests"] != options.idle:
        raise Failure(f"{running.server.name} did not answer on all {options.idle} connections")
    return {"bytes": grown / options.idle}


def wait_until_quiet(running):
    """All connections are made when the server has been busy, and then has nothing to do."""
    before, deadline = running.cpu_seconds(), time.monotonic() + HOLD_S - 2
    while time.monotonic() < deadline:
        time.sleep(1)
        now = running.cpu_seconds()
        if now - before < QUIET_CPU_S:
            return
        before = now
    raise Failure(f"{running.server.name} is still busy after {HOLD_S} s")
