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


@pytest.fixture
def start(tmp_path, origin):
    """Starts nodes with configurations of the test's own: start(route="ttl 200 1m;")."""
    nodes, clients = [], []

    def run(**options):
        directory = tmp_path / f"node{len(nodes)}"
        directory.mkdir()
        nodes.append(Verge(directory, origin, **options))
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
