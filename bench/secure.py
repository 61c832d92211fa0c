"""Cached hits over TLS: HTTP/1.1, HTTP/2 and HTTP/3, all driven by h2load."""

from h2load import h2load
from rounds import Measurement, measured
from running import Failure

SIZES = (1 << 10, 10 << 10, 100 << 10, 1 << 20)
CONNECTIONS, STREAMS = 16, 32


def measurements(options):
    sizes = options.sizes or SIZES
    many = f"{CONNECTIONS} connections with {STREAMS} streams (from 1 MiB on, 4)"
    mtu = f", MTU {options.mtu}" if options.mtu else ""
    titles = {
        "h1-tls": f"Cached hits with TLS 1.3, {options.connections} keep-alive connections",
        "h2": f"Cached hits over HTTP/2, {many}",
        "h3": f"Cached hits over HTTP/3, {many}",
    }
    return tuple(
        Measurement(protocol, title + mtu, sizes, lambda *a, p=protocol: visit(p, *a))
        for protocol, title in titles.items()
    )


def require_hit(server, origin, protocol, size):
    """Fills the cache. Some need a second request before they have stored the first."""
    for _ in range(5):
        before = origin.requests
        if h2load(protocol, size, "-n1", "-c1")["bytes"] != size:
            raise Failure(f"{server.name} answered /{size} with another length")
        if origin.requests == before:
            return
    raise Failure(f"{server.name} does not answer /{size} from its cache")


def shape(options, protocol, size):
    """Sixty-four large responses at once, as with HTTP/1.1; a small one takes more to fill a core."""
    if protocol == "h1-tls":
        return [f"-c{options.connections}", "-m1"]
    return [f"-c{CONNECTIONS}", f"-m{STREAMS if size < 1 << 20 else 4}"]


def visit(protocol, options, running, origin, size):
    require_hit(running.server, origin, protocol, size)
    before = origin.requests
    load = ["-D", f"{options.duration:g}", *shape(options, protocol, size)]
    result = measured(running, lambda: h2load(protocol, size, *load))
    if origin.requests != before:
        raise Failure(f"{running.server.name} asked the origin for /{size} under load")
    return result
