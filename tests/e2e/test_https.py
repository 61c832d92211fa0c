"""From http to https: the redirect, and Strict-Transport-Security."""

import pytest

from harness import Reply, fresh
from harness.client import SPEAKS, Client
from harness.util import free_port

BOTH = """
    cache { memory 64M; }
    origin app { server 127.0.0.1:$origin_port; }
    site * {
        listen 127.0.0.1:$port;
        listen 127.0.0.1:$tls_port tls;
        certificate self_signed;
        $site
        route /files/* { origin app; }
        route /.well-known/* { origin app; }
    }
    admin { listen 127.0.0.1:$admin_port; }
"""


@pytest.fixture
def both(start):
    """Starts a node with a plain listener and one with TLS; gives it and a client for the latter."""
    clients = []

    def run(site):
        port = free_port()
        node = start(config=BOTH, tls_port=port, site=site)
        SPEAKS[port] = "h1-tls"
        clients.append(Client(port))
        return node, clients[-1], port

    yield run
    for client in clients:
        client.close()
        del SPEAKS[client.port]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE"])
def test_the_redirect_keeps_method_host_path_and_query(origin, both, method):
    node, _, port = both("https_redirect on;")
    response = node.client.get("/any/p?q=1&r=%20", [("Host", "a.example:80")], method=method)
    assert response.status == 308
    assert response["Location"] == f"https://a.example:{port}/any/p?q=1&r=%20"
    assert response["Date"] and response.body == b""
    assert origin.count() == 0


def test_the_port_may_be_another(both):
    node, _, _ = both("https_redirect 443;")
    assert node.client.get("/", [("Host", "[::1]:8080")])["Location"] == "https://[::1]/"


def test_without_a_host_there_is_nowhere_to_go(both):
    node, _, _ = both("https_redirect on;")
    response, _ = node.client.raw("GET /files/x HTTP/1.0\r\n\r\n")
    assert response.status == 400


def test_a_certificate_authority_is_answered(origin, both):
    origin.on("/.well-known/acme-challenge/token", Reply(body=b"proof"))
    node, _, _ = both("https_redirect on;")
    assert node.client.get("/.well-known/acme-challenge/token").body == b"proof"
    assert node.client.get("/.well-known/other").status == 308


def test_what_comes_over_tls_is_answered(origin, both):
    origin.on("/files/x", fresh(b"body"))
    _, client, _ = both("https_redirect on;")
    assert client.get("/files/x").body == b"body"


@pytest.mark.parametrize("words, value", [
    ("365d", "max-age=31536000"),
    ("1d include_subdomains", "max-age=86400; includeSubDomains"),
    ("1d preload include_subdomains", "max-age=86400; includeSubDomains; preload"),
    ("0", "max-age=0")])
def test_hsts_over_tls_only(origin, both, words, value):
    origin.on("/files/x", fresh(b"body"))
    node, client, _ = both(f"hsts {words};")
    for _ in range(2):  # from the origin, and from the cache
        assert client.get("/files/x")["Strict-Transport-Security"] == value
        assert node.client.get("/files/x")["Strict-Transport-Security"] is None


def test_hsts_replaces_the_origins_and_is_on_errors(origin, both):
    origin.on("/files/x", fresh(b"body", headers=[("Strict-Transport-Security", "max-age=1")]))
    origin.on("/files/y", [b"HTTP/1.1 nonsense\r\n\r\n"])
    _, client, _ = both("hsts 1d;")
    for _ in range(2):
        response = client.get("/files/x")
        assert response.fields.all("Strict-Transport-Security") == ["max-age=86400"]
    response = client.get("/files/y")
    assert response.status == 502 and response["Strict-Transport-Security"] == "max-age=86400"


def test_without_the_directive_the_origins_passes(origin, both):
    origin.on("/files/x", fresh(b"body", headers=[("Strict-Transport-Security", "max-age=1")]))
    _, client, _ = both("")
    assert client.get("/files/x")["Strict-Transport-Security"] == "max-age=1"
