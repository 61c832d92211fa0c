"""Interim responses pass, and are never stored."""

import pytest

from harness import Reply, fresh

LINK = {"Link": "</a.css>; rel=preload"}


def test_early_hints_pass_before_the_response(origin, client):
    gate = origin.gate()
    origin.on("/", [b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", gate,
                    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"])
    connection = client.connect()
    connection.request("GET", "/")
    hint = connection.interim()
    assert (hint.status, hint["Link"]) == (103, "</a>")
    gate.set()
    assert connection.response().body == b"x"


def test_several_pass_in_order(origin, client):
    origin.on("/", Reply(body=b"x", interim=[(102, {}), (103, LINK), (103, {"Link": "</b>"})]))
    response = client.get("/")
    assert [i.status for i in response.interim] == [102, 103, 103]
    assert response.body == b"x"


def heartbeat(count, *end):
    return [b"HTTP/1.1 102 Processing\r\n\r\n" * (count - 1) + b"HTTP/1.1 103 Early Hints\r\nLink: </last>\r\n\r\n", *end]


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"


@pytest.mark.parametrize("count", [16, 17, 40, 1000])
def test_however_many_come_the_answer_passes(origin, start, count):
    node = start()
    origin.on("/", heartbeat(count, OK))
    response = node.client.get("/")
    assert (response.status, response.body) == (200, b"x")
    assert [i.status for i in response.interim] == ([102] * count)[:16 if count > 16 else 15] + [103] * (count == 16)
    assert node.metric("verge_origin_interims_dropped_total") == max(count - 16, 0)


def test_they_may_come_one_by_one(origin, client):
    origin.on("/", [b"HTTP/1.1 102 Processing\r\n\r\n", *[step for _ in range(30) for step in (b"HTTP/1.1 1", b"02 P\r\n\r\n")], OK])
    assert client.get("/").body == b"x"


def test_more_bytes_of_them_than_allowed_are_502(origin, start):
    node = start(origin="interim_size 1K;")
    origin.on("/", heartbeat(30, OK), heartbeat(60, OK))
    assert node.client.get("/").status == 200
    response = node.client.get("/")
    assert (response.status, response["Proxy-Status"]) == (502, "verge; error=http_response_header_section_size")


def test_what_goes_on_with_them_for_too_long_is_504(origin, start):
    def beat(exchange):
        try:
            while not over.wait(0.05):
                exchange.send(b"HTTP/1.1 102 Processing\r\n\r\n")
        finally:
            exchange.close()

    over = origin.gate()
    origin.on("/", beat)
    response = start(origin="interim_timeout 500ms;").client.get("/")
    assert (response.status, response["Proxy-Status"]) == (504, "verge; error=http_response_timeout")


def test_none_is_stored(origin, client):
    origin.on("/", fresh(b"x", interim=[(103, LINK)]))
    client.get("/")
    hit = client.get("/")
    assert hit.hit and hit.interim == [] and "Link" not in hit.fields


@pytest.mark.http1
def test_an_old_client_gets_none(origin, client):
    origin.on("/", Reply(body=b"x", interim=[(103, LINK)]))
    response, _ = client.raw(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
    assert response.interim == [] and response.body == b"x"


def test_hop_by_hop_fields_are_removed_from_them(origin, client):
    origin.on("/", Reply(interim=[(103, [("Connection", "X-Mine"), ("X-Mine", "1"), *LINK.items()])]))
    hint, = client.get("/").interim
    assert "X-Mine" not in hint.fields and "Connection" not in hint.fields
    assert "Link" in hint.fields


def test_switching_protocols_unasked_is_an_error(origin, client):
    origin.on("/", [b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"])
    assert client.get("/").status == 502


def test_rules_of_responses_hold_in_them(origin, start):
    client = start(route="response_header remove Link; response_header set X-Edge 1;").client
    origin.on("/", Reply(body=b"x", interim=[(103, {**LINK, "X-Edge": "2", "X-Plain": "3"})]))
    response = client.get("/")
    [hint] = response.interim
    assert "Link" not in hint.fields and "X-Edge" not in hint.fields and hint["X-Plain"] == "3"
    assert response["X-Edge"] == "1"
