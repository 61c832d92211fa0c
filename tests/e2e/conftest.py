"""Fixtures: a scripted origin, the node before it, and a client before that. Fresh for each test."""

import pytest

pytest.register_assert_rewrite("harness")

from harness import Client, Origin, Verge  # noqa: E402


@pytest.fixture
def origin():
    origin = Origin()
    yield origin
    origin.stop()
    assert origin.errors == [], "an answer of the origin failed, or the node sent it what is not HTTP"


# What a client sees of these must not depend on whether there is TLS below HTTP.
OVER_TLS = {f"test_{name}" for name in (
    "chunked", "collapse", "conditional", "head", "hit", "http10", "interim", "keepalive",
    "limits", "methods", "pipelining", "range", "slow_client", "upload", "vary")}


def pytest_generate_tests(metafunc):
    if "protocol" in metafunc.fixturenames:
        module = metafunc.module.__name__.rpartition(".")[2]
        protocols = ["h1", "h1-tls"] if module in OVER_TLS else ["h1"]
        metafunc.parametrize("protocol", protocols)


@pytest.fixture
def start(tmp_path, origin, protocol):
    """Starts nodes with configurations of the test's own: start(route="ttl 200 1m;")."""
    nodes, clients = [], []

    def run(**options):
        directory = tmp_path / f"node{len(nodes)}"
        directory.mkdir()
        nodes.append(Verge(directory, origin, tls=protocol == "h1-tls", **options))
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
