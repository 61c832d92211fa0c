"""HTTP/1.1 hits from the disk: a working set four times what the cache may have of memory.

That limit is Verge's alone: nginx and Varnish (whose storage is a mapped file) have no memory of
their own for bodies and rely on the system's page cache, as Verge's disk tier does. It is left as it
is, the same for all, and holds all of the working set: what is measured is what a hit costs, not
what the disk does.
"""

import json
import os
import time

from rounds import Measurement, measured
from running import Failure, get, run_load
from servers import HITS, LOAD

MEMORY_BYTES, DISK, CONNECTIONS = 64 << 20, "1G", 16
WORKING_SET_BYTES = 4 * MEMORY_BYTES
ZIPF_EXPONENT = 0.9
COLUMNS = {
    f"{name}, {law}": (size, exponent)
    for name, size in (("10 KiB", 10 << 10), ("1 MiB", 1 << 20))
    for law, exponent in (("uniform", 0), ("Zipf", ZIPF_EXPONENT))
}


def measurements(_options):
    title = (
        f"Hits from a working set of {WORKING_SET_BYTES >> 20} MiB on the disk, "
        f"{MEMORY_BYTES >> 20} MiB of memory for Verge, {CONNECTIONS} connections"
    )
    return (
        Measurement(
            "disk",
            title,
            tuple(COLUMNS),
            visit,
            memory=f"{MEMORY_BYTES >> 20}M",
            disk=DISK,
        ),
    )


def write_targets(path, size):
    with open(path, "w") as file:
        for number in range(WORKING_SET_BYTES // size):
            print(f"/{size}?{number} {size}", file=file)


def drive(targets, *how):
    argv = [LOAD, "-p", str(HITS), "-c", str(CONNECTIONS), "-f", targets, *how]
    stdout, stderr = run_load(argv)
    result = json.loads(stdout)
    if result["errors"] or not result["requests"]:
        raise Failure(f"{result['errors']} errors under load; {stderr}")
    return result


def fill(server, origin, targets, size):
    """Until all is stored: what comes too fast for the disk is written when it is asked for again."""
    quiet = 0
    for _ in range(6):
        before = origin.requests
        drive(targets, "-1", "-d", "120")
        time.sleep(0.5)
        hit = server.says_hit(get(HITS, f"/{size}?0")[1])
        quiet = quiet + 1 if hit and origin.requests == before else 0
        if quiet == 2:
            return
    raise Failure(f"{server.name} does not keep {WORKING_SET_BYTES >> 20} MiB")


def visit(options, running, origin, column):
    size, exponent = COLUMNS[column]
    targets = f"{running.directory}/targets-{size}"
    if not os.path.exists(targets):
        write_targets(targets, size)
        fill(running.server, origin, targets, size)
    how = ("-z", str(exponent), "-d", str(options.duration))
    before = origin.requests
    result = measured(running, lambda: drive(targets, *how))
    if origin.requests != before:
        raise Failure(f"{running.server.name} asked the origin under load")
    return result
