"""The administrative listener."""

import re

import pytest

from harness import Client, Reply, fresh


def ask(node, path, host):
    return Client(node.admin_port).get(path, {"Host": host})


def test_healthz(verge):
    assert verge.admin("/healthz").status == 200


def test_metrics_are_prometheus_text(verge):
    response = verge.admin("/metrics")
    assert response["Content-Type"].startswith("text/plain")
    sample = re.compile(r'[a-z_]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? [0-9.eE+-]+(Inf)?\Z')
    for line in response.body.decode().splitlines():
        assert re.match(r"# (HELP|TYPE) verge_[a-z_]+ ", line) or sample.match(line), line


def test_every_sample_is_declared(verge):
    text = verge.admin("/metrics").body.decode()
    declared = set(re.findall(r"^# TYPE (\S+) ", text, re.M))
    sampled = set(re.findall(r"^(verge_[a-z_]+)", text, re.M))
    assert {re.sub(r"_(bucket|sum|count)\Z", "", n) if n not in declared else n
            for n in sampled} == declared


def test_verdicts_are_counted(origin, verge):
    origin.on("/", fresh())
    for _ in range(3):
        verge.client.get("/")
    verge.client.request("POST", "/", body=b"x")
    assert verge.metric("verge_verdicts_total", verdict="miss") == 1
    assert verge.metric("verge_verdicts_total", verdict="hit") == 2
    assert verge.metric("verge_verdicts_total", verdict="pass") == 1


def test_why_something_was_not_stored_is_counted(origin, verge):
    origin.on("/", Reply(headers={"Cache-Control": "no-store"}))
    verge.client.get("/")
    assert verge.metric("verge_cache_decisions_total", reason="no_store") == 1


def test_responses_and_durations_are_counted(verge):
    before = verge.metric("verge_request_duration_seconds_count")
    for _ in range(5):
        verge.client.get("/")
    assert verge.metric("verge_responses_total", **{"class": "4xx"}) == 5
    assert verge.metric("verge_request_duration_seconds_count") == before + 5


def test_what_is_live_is_seen_while_it_lives(origin, verge):
    gate = origin.gate()
    origin.on("/", [gate, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"])
    before = verge.metric("verge_exchanges_live")
    connection = verge.client.connect()
    connection.request("GET", "/")
    origin.wait_for("/")
    assert verge.metric("verge_exchanges_live") == before + 1
    assert verge.metric("verge_origin_fetches_live") == 1
    gate.set()
    assert connection.response().body == b"x"


def test_origin_connections_are_counted(verge):
    for _ in range(5):
        verge.client.get("/")
    assert verge.metric("verge_origin_connections_opened_total") == 1
    assert verge.metric("verge_origin_connections_reused_total") == 4


def test_the_running_configuration(verge):
    assert verge.admin("/config").body == verge.file.read_bytes()


def test_a_refused_reload_leaves_the_running_one(verge):
    running = verge.file.read_bytes()
    verge.reload(route="no_such_directive on;")
    assert verge.admin("/config").body == running


@pytest.mark.parametrize("path, method, status", [
    ("/none", "GET", 404), ("/metrics", "POST", 405), ("/cache/memory", "GET", 405), ("/healthz", "HEAD", 200),
])
def test_other_requests(verge, path, method, status):
    assert verge.admin(path, method).status == status


def test_admin_paths_are_not_on_the_public_side(origin, verge):
    for path in ("/metrics", "/healthz", "/config"):
        verge.client.get(path)
        assert origin.count(path) == 1


def test_a_disk_is_up_only_where_there_is_one(verge):
    assert "verge_disk_up" not in verge.admin("/metrics").body.decode()
    assert "verge_disk_write_errors_total" in verge.admin("/metrics").body.decode()


@pytest.mark.parametrize("path", ["/config", "/metrics", "/healthz", "/cache", "/none"])
def test_a_foreign_name_is_refused(verge, path):
    for host in ("evil.example", "evil.example:9145", "127.0.0.2", "[::1]", "127.0.0.1.evil.example"):
        response = ask(verge, path, host)
        assert response.status == 421 and b"node" not in response.body, host


@pytest.mark.parametrize("host", ["localhost", "LocalHost:80", "127.0.0.1", "127.0.0.1:1"])
def test_its_own_names_are_answered(verge, host):
    assert ask(verge, "/healthz", host).status == 200


def test_names_can_be_configured(verge):
    configured = verge.file.read_text().replace("admin {", "admin { hosts Node.Example other;")
    verge.file.write_text(configured)
    verge.reload()
    assert ask(verge, "/config", "node.example:9145").status == 200
    assert ask(verge, "/config", "other").status == 200
    assert ask(verge, "/config", "evil.example").status == 421


def test_a_listener_on_all_addresses_is_asked_by_any_address(start):
    node = start(config="""
        origin app { server 127.0.0.1:$origin_port; }
        site * { listen 127.0.0.1:$port; route * { origin app; } }
        admin { listen 0.0.0.0:$admin_port; }""")
    assert ask(node, "/healthz", "192.0.2.1").status == 200
    assert ask(node, "/healthz", "evil.example").status == 421
