"""New TLS connections, each with one small hit: handshakes in full, and resumed with a ticket."""

import json

import tables
from rounds import Measurement, measured
from running import Failure, run_load
from secure import require_hit
from servers import HANDSHAKE, SECURE

SIZE = 1 << 10
CONNECTIONS = 32


def measurements(options):
    title = "TLS 1.3 handshakes (ECDSA P-256, X25519), one request each"
    return (
        Measurement("handshakes", title, ("full", "resumed"), visit, tables.PER_HANDSHAKE),
    )


def drive(options, kind):
    argv = [HANDSHAKE, "-p", str(SECURE), "-c", str(CONNECTIONS), "-d", str(options.duration)]
    stdout, stderr = run_load([*argv, *(["-r"] if kind == "resumed" else []), f"/{SIZE}"])
    result = json.loads(stdout)
    resumed = result["handshakes"] if kind == "resumed" else 0
    if result["errors"] or not result["handshakes"] or result["resumed"] != resumed:
        raise Failure(f"not all handshakes were {kind}: {stdout.strip()} {stderr}")
    return {"requests": result["handshakes"], "seconds": result["seconds"]}


def visit(options, running, origin, kind):
    require_hit(running.server, origin, "h1-tls", SIZE)
    return measured(running, lambda: drive(options, kind))
