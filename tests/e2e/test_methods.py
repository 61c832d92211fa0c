"""Methods: what is not GET or HEAD passes through."""

import pytest

from harness import Reply, fresh


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "PROPFIND", "X-UNKNOWN", "get"])
def test_any_method_passes_and_is_not_stored(origin, client, method):
    origin.on("/", fresh(b"x"))
    for _ in range(2):
        response = client.request(method, "/", body=b"sent")
        assert (response.status, response.body, response.fwd) == (200, b"x", "method")
        assert not response.stored
        assert (origin.last().method, origin.last().body) == (method, b"sent")
    assert origin.count("/") == 2


def test_a_post_does_not_answer_a_get(origin, client):
    origin.on("/", fresh(b"posted"), fresh(b"got"))
    client.request("POST", "/", body=b"x")
    assert client.get("/").body == b"got"


@pytest.mark.parametrize("headers", [{}, {"Max-Forwards": "0"}])
def test_trace_is_refused(origin, client, headers):
    """It would show a script the cookies that it may not see."""
    response = client.get("/", {"Cookie": "a=b", **headers}, method="TRACE")
    assert response.status == 405
    assert "GET" in response["Allow"] and "TRACE" not in response["Allow"]
    assert origin.count() == 0


def test_trace_passes_where_it_may(origin, start):
    client = start(route="trace pass;").client
    origin.on("/", Reply(200, {"Content-Type": "message/http"}, body=b"TRACE / HTTP/1.1\r\n"))
    assert client.get("/", method="TRACE").body == b"TRACE / HTTP/1.1\r\n"
    assert origin.last().method == "TRACE"
    assert client.get("/", {"Max-Forwards": "0"}, method="TRACE").status == 405
    assert origin.count() == 1


def test_options_of_the_node_itself(origin, client):
    assert client.get("*", method="OPTIONS").status in (200, 204)
    assert origin.count() == 0


def test_options_of_a_resource_passes(origin, client):
    origin.on("/", Reply(204, {"Allow": "GET"}))
    assert client.get("/", method="OPTIONS")["Allow"] == "GET"


@pytest.mark.http1
def test_connect_is_refused(origin, client):
    response, connection = client.raw(b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n")
    assert response.status in (400, 405, 501)
    assert connection.ended() and origin.count() == 0


def test_a_bodiless_post_has_a_length_at_the_origin(origin, client):
    client.request("POST", "/")
    assert origin.last()["Content-Length"] == "0"
