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
# Connections made at once, more of which would only queue up (and with QUIC be lost and tried again),
# and the seconds from the first one to the end of all.
BATCH, HOLD_S = {"h3": 500}, {"h3": 45}
BATCH_OF_OTHERS, HOLD_OTHERS_S = 2500, 24
LOOK_S, QUIET_CPU_S = 0.4, 0.004


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
    end_s = time.monotonic() + HOLD_S.get(protocol, HOLD_OTHERS_S)
    loads = []
    try:
        batch = BATCH.get(protocol, BATCH_OF_OTHERS)
        for first in range(0, options.idle, batch):
            loads.append(hold(protocol, min(batch, options.idle - first), end_s))
            wait_until_quiet(running, end_s - 2)
        grown = running.resident_bytes() - before
        said = [load.communicate()[0] for load in loads]
    finally:
        for load in loads:
            machine.stop(load)
    answered = sum(h2load.parse(protocol, SIZE, text)["requests"] for text in said)
    if answered != options.idle:
        raise Failure(f"{running.server.name} answered on {answered} of {options.idle} connections")
    return {"bytes": grown / options.idle}


def hold(protocol, count, end_s):
    """Connections with one request at once, and the next after a hundred seconds, which is never."""
    seconds = int(end_s - time.monotonic())
    argv = h2load.command(protocol, SIZE, f"-c{count}", "-m1", "--rps=0.01", "-D", seconds)
    return machine.start(argv, machine.LOAD_CORE, stdout=subprocess.PIPE, text=True)


def wait_until_quiet(running, deadline_s):
    """All connections are made when the server has been busy, and then has nothing to do."""
    before = running.cpu_seconds()
    while time.monotonic() < deadline_s:
        time.sleep(LOOK_S)
        now = running.cpu_seconds()
        if now - before < QUIET_CPU_S:
            return
        before = now
    raise Failure(f"{running.server.name} is still busy when the load is about to end")
