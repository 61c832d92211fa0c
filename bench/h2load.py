"""nghttp2's load generator, built with HTTP/3: how it is asked for a protocol, and what it says."""

import re

from running import Failure, run_load
from servers import H2LOAD, HITS, SECURE

# The protocol's name in tables, in ALPN, and what makes h2load speak it.
ALPN = {"h1": None, "h1-tls": "http/1.1", "h2": "h2", "h3": "h3"}


def url(protocol, size):
    scheme, port = ("http", HITS) if protocol == "h1" else ("https", SECURE)
    return f"{scheme}://127.0.0.1:{port}/{size}"


def command(protocol, size, *arguments):
    version = ["--h1"] if protocol.startswith("h1") else [f"--alpn-list={ALPN[protocol]}"]
    # One cipher and one group for all servers, whatever they would prefer.
    tls = ["--tls13-ciphers=TLS_AES_128_GCM_SHA256", "--groups=X25519"]
    return [H2LOAD, *version, *tls, *map(str, arguments), url(protocol, size)]


def parse(protocol, size, said):
    """Responses, seconds, bytes of their bodies. One that failed is a Failure of all."""
    seconds = re.search(r"finished in ([\d.]+)(us|ms|s),", said)
    counts = re.search(r"requests: .* (\d+) succeeded, (\d+) failed, (\d+) errored", said)
    body = re.search(r"\((\d+)\) data$", said, re.M)
    spoken = re.search(r"Application protocol: (\S+)", said)
    if not (seconds and counts and body) or int(counts[2]) or int(counts[3]):
        raise Failure(f"h2load said of {protocol}: {said.strip()[-400:]}")
    if ALPN[protocol] and (not spoken or spoken[1] != ALPN[protocol]):
        raise Failure(f"no {protocol} was spoken")
    return {
        "requests": _whole_responses(int(counts[1]), int(body[1]), size),
        "seconds": float(seconds[1]) / {"us": 1e6, "ms": 1e3, "s": 1}[seconds[2]],
        "bytes": int(body[1]),
    }


def h2load(protocol, size, *arguments):
    """One run of it, to its end."""
    said, _ = run_load(command(protocol, size, *arguments))
    return parse(protocol, size, said)


def _whole_responses(succeeded, body_bytes, size):
    """When the time is up h2load leaves what is under way. The server has done that part of a large
    response, so its share is counted."""
    return max(succeeded, body_bytes / size if size >= 1 << 16 else 0)
