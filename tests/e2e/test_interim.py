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
