"""Programs that others wrote, against the node: what Debian has. The ones that take a build of their
own or a browser are in clients/, behind `make test-clients`."""

import json
import re
import subprocess
from collections import Counter

import pytest

from harness import DEADLINE_S, Reply, fresh, pattern
from harness.programs import SITE, certificate, node, run, url  # noqa: F401 (fixtures)

BODY = pattern(300_000)


def curl(node, certificate, path, *options, text=False):
    return run("/usr/bin/curl", "-s", "--cacert", certificate, *options, url(node, path), text=text)


CURL = pytest.mark.parametrize("option, version", [("--http1.1", b"1.1"), ("--http2", b"2")])
H2LOAD = pytest.mark.parametrize("options, name", [(["--h1"], "http/1.1"), ([], "h2")])


@CURL
def test_curl_gets_a_miss_and_a_hit(origin, node, certificate, option, version):
    origin.on("/file", fresh(BODY))
    for result in (b"fwd=uri-miss", b"hit"):
        said = curl(node, certificate, "/file", option, "-D", "-", "-w", "%{http_version}")
        head, _, rest = said.partition(b"\r\n\r\n")
        assert rest == BODY + version
        assert re.search(rb"(?im)^cache-status: .*" + result, head)


@CURL
def test_curl_uploads(origin, node, certificate, tmp_path, option, version):
    (tmp_path / "body").write_bytes(BODY)
    origin.on("/upload", Reply(body=b"thanks"))
    assert curl(node, certificate, "/upload", option, "--data-binary", f"@{tmp_path}/body") == b"thanks"
    assert origin.last().body == BODY


@CURL
def test_curl_asks_for_heads_and_ranges(origin, node, certificate, option, version):
    origin.on("/file", fresh(BODY))
    assert curl(node, certificate, "/file", option) == BODY
    assert re.search(rb"(?i)content-length: 300000", curl(node, certificate, "/file", option, "-I"))
    assert curl(node, certificate, "/file", option, "-r", "1000-1999") == BODY[1000:2000]


@H2LOAD
def test_h2load_has_every_request_answered(origin, node, options, name):
    origin.on("/file", fresh(pattern(5000)))
    said = run("h2load", "-n2000", "-c8", "-m16", *options, url(node, "/file"))
    assert f"Application protocol: {name}" in said
    assert "2000 done, 2000 succeeded, 0 failed, 0 errored, 0 timeout" in said
    assert len(origin.requests) == 1


@H2LOAD
def test_h2load_uploads(origin, node, tmp_path, options, name):
    (tmp_path / "body").write_bytes(BODY)
    origin.on("/upload", Reply(body=b"thanks"))
    said = run("h2load", "-n50", "-c2", "-m5", *options, "-d", tmp_path / "body",
               url(node, "/upload"))
    assert "50 done, 50 succeeded, 0 failed, 0 errored, 0 timeout" in said
    assert [request.body for request in origin.requests] == [BODY] * 50


def test_h2load_uploads_on_many_streams(origin, node, tmp_path):
    """What the origin takes and what the client sends meet in one turn of the loop, again and again."""
    (tmp_path / "body").write_bytes(BODY[:60_000])
    origin.on("/upload", Reply(body=b"thanks"))
    said = run("h2load", "-n4000", "-c2", "-m100", "-d", tmp_path / "body", url(node, "/upload"))
    assert "4000 done, 4000 succeeded, 0 failed, 0 errored, 0 timeout" in said


def test_nghttp_multiplexes(origin, node):
    """On one connection, with padding; it prints the bodies' bytes in the order they come."""
    bodies = [pattern(50_000, n) for n in range(20)]
    for n, body in enumerate(bodies):
        origin.on(f"/{n}", fresh(body))
    said = run("nghttp", "-b100", *(url(node, f"/{n}") for n in range(20)), text=False)
    assert Counter(said) == Counter(b"".join(bodies))
    assert node.metric("verge_tls_handshakes_full_total") == 1
    assert run("nghttp", url(node, "/7"), text=False) == bodies[7]


def test_nghttp_sends_a_body_with_trailers(origin, node, tmp_path):
    (tmp_path / "body").write_bytes(BODY)
    origin.on("/upload", Reply(body=b"thanks"))
    said = run("nghttp", "-d", tmp_path / "body", "--trailer", "x-sum: 1", url(node, "/upload"))
    assert said == "thanks" and origin.last().body == BODY


def gtlsclient(node, directory, path, *options):
    """ngtcp2's client, on GnuTLS: another TLS than the node's. Its log, and the body."""
    downloads = directory / "downloads"
    downloads.mkdir(exist_ok=True)
    # The log is on stderr.
    done = subprocess.run(
        ["gtlsclient", "--exit-on-all-streams-close", "--no-quic-dump", "--no-http-dump",
         "--download", downloads, *options, "127.0.0.1", str(node.port), url(node, path)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace", timeout=4 * DEADLINE_S)
    assert done.returncode == 0, done.stdout[-5000:]
    return done.stdout, (downloads / path.lstrip("/")).read_bytes()


def test_gnutls_gets_a_file_over_http3(origin, node, tmp_path):
    origin.on("/file", fresh(BODY))
    log, body = gtlsclient(node, tmp_path, "/file")
    assert body == BODY and "Negotiated ALPN is h3" in log


def test_gnutls_uploads_over_http3(origin, node, tmp_path):
    (tmp_path / "body").write_bytes(BODY)
    origin.on("/upload", Reply(body=b"thanks"))
    _, body = gtlsclient(node, tmp_path, "/upload", "-m", "POST", "-d", tmp_path / "body")
    assert body == b"thanks" and origin.last().body == BODY


@pytest.mark.parametrize("early_data, taken", [("on", True), ("off", False)])
def test_gnutls_resumes_with_early_data(origin, start, certificate, tmp_path, early_data, taken):
    origin.on("/file", Reply(body=b"body"))
    node = start(config=SITE, site=f"early_data {early_data};")
    session = ["--session-file", tmp_path / "session", "--tp-file", tmp_path / "parameters"]
    gtlsclient(node, tmp_path, "/file", *session)
    log, body = gtlsclient(node, tmp_path, "/file", *session)
    assert body == b"body"
    assert node.metric("verge_tls_handshakes_resumed_total") == 1
    assert "type=0RTT" in log, "the client did not try"
    assert ("Early data was rejected" not in log) == taken
    assert origin.last()["Early-Data"] == ("1" if taken else None)


@pytest.mark.parametrize("side", ["--tx-loss", "--rx-loss"])
def test_gnutls_survives_loss(origin, start, certificate, tmp_path, side):
    """One packet in ten is lost, one way or the other; every body is whole. A connection of which the
    end was lost ends by itself."""
    origin.on("/file", fresh(BODY))
    node = start(config=SITE, top="limits { idle_timeout 2s; }")
    for _ in range(5):
        assert gtlsclient(node, tmp_path, "/file", f"{side}=0.1")[1] == BODY


def test_gnutls_changes_its_address(origin, node, tmp_path):
    """Between handshake and request; the body comes to the new one."""
    origin.on("/file", Reply(body=BODY))
    log, body = gtlsclient(node, tmp_path, "/file", "--change-local-addr=1ms", "--delay-stream=50ms")
    assert body == BODY and "PATH_RESPONSE" in log


def test_gnutls_updates_its_keys(origin, node, tmp_path):
    origin.on("/file", fresh(BODY))
    log, body = gtlsclient(node, tmp_path, "/file", "--key-update=1ms", "--delay-stream=50ms")
    assert body == BODY and re.search(r"pkt rx .* type=1RTT k=1", log), "the node keeps the old keys"


# Not about the node: the issuer, who publishes neither a revocation list nor a DNS record; and what
# testssl misses of the machine it runs on, or by leaving before a ticket has come.
ISSUER = {"cert_chain_of_trust", "cert_revocation", "DNS_CAArecord", "cert_trust"}
ITSELF = {"engine_problem", "sessionresumption_ticket"}
HEADERS = """
    response_header set Strict-Transport-Security "max-age=31536000; includeSubDomains";
    response_header set X-Frame-Options DENY;
    response_header set X-Content-Type-Options nosniff;
    response_header set Content-Security-Policy "default-src 'self'";
"""


def test_testssl_complains_of_nothing_but_the_issuer(origin, start, certificate, tmp_path):
    origin.on("/", fresh(b"body"))
    node = start(config=SITE, site=HEADERS)
    report = tmp_path / "testssl.json"
    # Its exit code counts its findings.
    subprocess.run(["testssl", "--quiet", "--color", "0", "--warnings", "off", "--ip", "127.0.0.1",
                    "--add-ca", certificate,  # or the grade would be about trust alone
                    "--jsonfile", report, url(node)], stdin=subprocess.DEVNULL, timeout=20 * DEADLINE_S,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    findings = json.loads(report.read_text())
    by_id = {finding["id"]: finding for finding in findings}
    assert by_id["TLS1_3"]["severity"] == "OK" and by_id["heartbleed"]["severity"] == "OK", findings
    bad = [f for f in findings if f["severity"] not in ("OK", "INFO", "LOW", "DEBUG")]
    assert [f for f in bad if f["id"] not in ISSUER | ITSELF] == []
