"""HTTP/1.1 without TLS: hits from the cache, and misses passed through."""

import json
import re

from rounds import Measurement, measured
from running import Failure, get, run_load
from servers import HITS, LOAD, MISSES

HIT_SIZES = (100, 1 << 10, 10 << 10, 100 << 10, 1 << 20, 16 << 20)
MISS_SIZES = (1 << 10, 100 << 10, 1 << 20)


def measurements(options):
    title = f"{options.connections} keep-alive connections"
    return (
        Measurement("hits", f"Cached hits, {title}", options.sizes or HIT_SIZES, visit_hits),
        Measurement(
            "misses", f"Misses passed through, {title}", options.sizes or MISS_SIZES, visit_misses
        ),
    )


# ---- the load ----


def drive(options, port, size):
    """One run of the load generator.

    bench/load is the default: it checks the length of every response and drops bodies inside the
    kernel, as a client elsewhere would look to the server. wrk copies every body, and on a machine
    whose memory it shares that doubles what a large response costs the server; it also cannot keep
    the faster servers busy. It is here for whoever trusts the tool they know.
    """
    run = drive_wrk if options.load == "wrk" else drive_load
    return run(options, port, size)


def drive_load(options, port, size):
    argv = [LOAD, "-p", str(port), "-c", str(options.connections), "-d", str(options.duration)]
    stdout, stderr = run_load([*argv, f"/{size}", str(size)])
    result = json.loads(stdout)
    if result["errors"] or not result["requests"]:
        raise Failure(f"{result['errors']} errors under load; {stderr}")
    return result


def drive_wrk(options, port, size):
    url = f"http://127.0.0.1:{port}/{size}"
    argv = ["wrk", "-t1", f"-c{options.connections}", f"-d{max(1, round(options.duration))}s", url]
    said, _ = run_load(argv)
    total = re.search(r"(\d+) requests in ([\d.]+)s", said)
    if not total or "Non-2xx" in said or "Socket errors" in said:
        raise Failure(f"wrk said: {said.strip()[-300:]}")
    return {"requests": int(total[1]), "seconds": float(total[2])}


# ---- what has to be true before a figure is one ----


def require_size(server, port, size):
    status, fields, length = get(port, f"/{size}")
    if (status, length) != (200, size):
        raise Failure(
            f"{server.name} answered {status} with {length} bytes instead of 200 with {size}"
        )
    return fields


def require_hit(server, origin, size):
    """Fills the cache. Some need a second request before they have stored the first."""
    for _ in range(5):
        before = origin.requests
        fields = require_size(server, HITS, size)
        if origin.requests == before and server.says_hit(fields):
            return
    raise Failure(f"{server.name} does not answer /{size} from its cache")


# ---- one visit ----


def visit_hits(options, running, origin, size):
    require_hit(running.server, origin, size)
    before = origin.requests
    result = measured(running, lambda: drive(options, HITS, size))
    if origin.requests != before:
        raise Failure(f"{running.server.name} asked the origin for /{size} under load")
    return result


def visit_misses(options, running, _origin, size):
    require_size(running.server, MISSES, size)
    return measured(running, lambda: drive(options, MISSES, size))
