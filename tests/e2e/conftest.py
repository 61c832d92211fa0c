"""Fixtures: a scripted origin, the node before it, and a client before that. Fresh for each test."""

import itertools

import pytest

pytest.register_assert_rewrite("harness")

from harness import Client, Origin, Verge  # noqa: E402


@pytest.fixture
def origin():
    origin = Origin()
    yield origin
    origin.stop()
    assert origin.errors == [], "an answer of the origin failed, or the node sent it what is not HTTP"


PROTOCOLS = ["h1", "h1-tls", "h2", "h3"]

# What is behind the cache: nothing; a disk; a disk, and a memory that gives up before each request what the
# disk has, so that each hit is read from there.
TIERS = ["memory", "disk", "reread"]

# What a scenario runs over. All of both with --everything.
MATRIX = [("h1", "memory"), ("h1", "disk"), ("h1", "reread"), ("h1-tls", "memory"), ("h2", "disk"), ("h3", "disk")]

# What a client sees of these must depend neither on the protocol it speaks nor on what is behind the cache.
# A scenario about the bytes of HTTP/1.1 among them is marked `http1`, one that brings its own disk or is about
# having none `own_disk`.
OVER_ALL = {f"test_{name}" for name in (
    "alt_svc",
    "chunked", "collapse", "conditional", "disk_hit", "duration", "forwarding", "freshness", "head", "hit", "http10", "interim",
    "invalidate", "keepalive", "key", "limits", "methods", "origin_faults", "paths", "pipelining", "range",
    "reload", "revalidate", "route", "same_request", "shutdown", "slices", "slow_client", "stale", "upload",
    "vary")}

# These are about one protocol.
ABOUT_ONE = {"test_h2": "h2", "test_h3": "h3"}

# What these are about, several threads touch: the index, objects that fill, the disk's writer, sinks, keys of
# tickets, packets for another worker, configurations that change. With --threads, only they run.
THREADS = {f"test_{name}" for name in (
    "cache_command", "collapse", "disk", "disk_faults", "disk_hit", "h3", "hit", "invalidate", "log", "reload",
    "revalidate", "shutdown", "slices", "stale", "tls", "vary")}


def pytest_addoption(parser):
    parser.addoption("--everything", action="store_true", help="each protocol with each tier")
    parser.addoption("--threads", action="store_true", help="only what several threads touch")


def pytest_configure(config):
    config.addinivalue_line("markers", "http1: about the bytes of HTTP/1.1, runs over h1 and h1-tls")
    config.addinivalue_line("markers", "own_disk: brings its own disk, or is about having none")


def module_of(item):
    return item.module.__name__.rpartition(".")[2]


def pytest_collection_modifyitems(config, items):
    if config.getoption("threads"):
        left = [item for item in items if module_of(item) not in THREADS]
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if module_of(item) in THREADS]


def combinations(module, is_marked, everything):
    """Of protocol and tier, for a scenario of that module."""
    if module not in OVER_ALL:
        return [(ABOUT_ONE.get(module, "h1"), "memory")]
    if is_marked("own_disk"):
        chosen = [(protocol, "memory") for protocol in PROTOCOLS]
    elif everything:
        chosen = list(itertools.product(PROTOCOLS, TIERS))
    else:
        chosen = MATRIX
    return [(protocol, tier) for protocol, tier in chosen if protocol.startswith("h1") or not is_marked("http1")]


def pytest_generate_tests(metafunc):
    if "protocol" not in metafunc.fixturenames:
        return
    module = module_of(metafunc)
    chosen = combinations(module, metafunc.definition.get_closest_marker, metafunc.config.getoption("everything"))
    ids = [protocol if tier == "memory" else f"{protocol}-{tier}" for protocol, tier in chosen]
    metafunc.parametrize("protocol, tier", chosen, ids=ids)


@pytest.fixture
def scheme(protocol):
    return "http" if protocol == "h1" else "https"


@pytest.fixture
def start(tmp_path, origin, protocol, tier):
    """Starts nodes with configurations of the test's own: start(route="ttl 200 1m;")."""
    nodes, clients = [], []

    def run(**options):
        directory = tmp_path / f"node{len(nodes)}"
        directory.mkdir()
        nodes.append(Verge(directory, origin, protocol=protocol, tier=tier, **options))
        clients.append(Client(nodes[-1].port))
        nodes[-1].client = clients[-1]
        return nodes[-1]

    yield run
    try:
        for client in clients:
            client.close()
        for gate in origin.gates:
            gate.set()
        for node in nodes:
            node.stop()
    finally:
        for node in nodes:
            node.abandon()


@pytest.fixture
def verge(start):
    """The node with the plain configuration: one site, one route, one origin."""
    return start()


@pytest.fixture
def client(verge):
    """A client of that node. Scenarios that are not about bytes on the wire ask through it."""
    return verge.client
