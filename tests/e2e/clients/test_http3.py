"""curl and h2load over HTTP/3, which are built for it: `make curl h2load`."""

import re
from pathlib import Path

import pytest

from harness import Reply, fresh, pattern
from harness.programs import certificate, node, run, url  # noqa: F401 (fixtures)

TOOLS = Path(__file__).resolve().parents[3] / "build" / "tools"
BODY = pattern(3_000_000)


def curl(node, certificate, path, *options):
    return run(TOOLS / "curl", "-s", "--cacert", certificate, *options, url(node, path), text=False)


def test_curl_gets_a_miss_and_a_hit(origin, node, certificate):
    origin.on("/file", fresh(BODY))
    for result in (b"fwd=uri-miss", b"hit"):
        said = curl(node, certificate, "/file", "--http3-only", "-D", "-", "-w", "%{http_version}")
        head, _, rest = said.partition(b"\r\n\r\n")
        assert rest == BODY + b"3"
        assert re.search(rb"(?im)^cache-status: .*" + result, head)


def test_curl_uploads(origin, node, certificate, tmp_path):
    (tmp_path / "body").write_bytes(BODY)
    origin.on("/upload", Reply(body=b"thanks"))
    upload = ["--http3-only", "--data-binary", f"@{tmp_path}/body"]
    assert curl(node, certificate, "/upload", *upload) == b"thanks"
    assert origin.last().body == BODY


def test_curl_asks_for_heads_and_ranges(origin, node, certificate):
    origin.on("/file", fresh(BODY))
    assert curl(node, certificate, "/file", "--http3-only") == BODY
    assert re.search(rb"content-length: 3000000", curl(node, certificate, "/file", "--http3-only", "-I"))
    assert curl(node, certificate, "/file", "--http3-only", "-r", "1000-1999") == BODY[1000:2000]


def test_curl_follows_alt_svc(origin, node, certificate, tmp_path):
    """The first response names HTTP/3; the next request, with that remembered, uses it."""
    origin.on("/file", fresh(b"body"))
    remember = ["--alt-svc", tmp_path / "alt-svc", "-w", "%{http_version}"]
    assert curl(node, certificate, "/file", *remember, "--http2") == b"body2"
    assert curl(node, certificate, "/file", *remember) == b"body3"


@pytest.mark.parametrize("size", [100, 50_000])
def test_h2load_has_every_request_answered(origin, node, size):
    origin.on("/file", fresh(pattern(size)))
    said = run(TOOLS / "h2load", "-n2000", "-c8", "-m16", "--alpn-list=h3", url(node, "/file"))
    assert "Application protocol: h3" in said
    assert "2000 done, 2000 succeeded, 0 failed, 0 errored, 0 timeout" in said
    assert f"({2000 * size}) data" in said
    assert len(origin.requests) == 1


def test_h2load_uploads(origin, node, tmp_path):
    (tmp_path / "body").write_bytes(BODY[:300_000])
    origin.on("/upload", Reply(body=b"thanks"))
    said = run(TOOLS / "h2load", "-n50", "-c2", "-m5", "--alpn-list=h3", "-d", tmp_path / "body",
               url(node, "/upload"))
    assert "50 done, 50 succeeded, 0 failed, 0 errored, 0 timeout" in said
    assert [request.body for request in origin.requests] == [BODY[:300_000]] * 50
