"""Methods: what is not GET or HEAD passes through."""

import pytest

from harness import Reply, eventually, fresh


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "PROPFIND", "X-UNKNOWN", "get"])
def test_any_method_passes_and_is_not_stored(origin, client, method):
    origin.on("/", fresh(b"x"))
    for _ in range(2):
        response = client.request(method, "/", body=b"sent")
        assert (response.status, response.body, response.fwd) == (200, b"x", "method")
        assert not response.stored
        assert (origin.last().method, origin.last().body) == (method, b"sent")
    assert origin.count("/") == 2


# With a length of zero; without a length, where the end is all that comes.
EMPTY = {"a length of zero": b"", "nothing before the end": []}


@pytest.mark.parametrize("body", EMPTY.values(), ids=EMPTY.keys())
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_empty_body_is_none(origin, client, method, body):
    origin.on("/", fresh(b"stored"))
    assert client.get("/").body == b"stored"
    assert client.request(method, "/", body=body).hit
    assert client.request(method, "/miss", {"Cache-Control": "only-if-cached"}, body=body).status == 504
    assert origin.count() == 1


@pytest.mark.parametrize("body", EMPTY.values(), ids=EMPTY.keys())
def test_those_with_an_empty_body_share_a_fetch(origin, verge, body):
    gate = origin.gate()
    origin.on("/", [gate, b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 4\r\n\r\nbody"])
    connections = [verge.client.connect() for _ in range(10)]
    for connection in connections:
        connection.request("GET", "/", body=body)
    origin.wait_for("/")
    eventually(lambda: verge.metric("verge_requests_total") >= 10, "all have come")
    gate.set()
    assert {connection.response().body for connection in connections} == {b"body"}
    assert origin.count("/") == 1
    assert not {"content-length", "transfer-encoding"} & origin.last().fields.names()


def test_an_empty_body_may_end_late(origin, verge):
    origin.on("/", fresh(b"stored"))
    verge.client.get("/")
    connection = verge.client.connect()
    connection.begin("GET", "/")
    eventually(lambda: verge.metric("verge_requests_total") >= 2, "the head has come")
    connection.finish()
    assert connection.response().hit
    connection.begin("GET", "/")
    connection.write(b"something")
    connection.finish()
    response = connection.response()
    assert (response.fwd, origin.last().body) == ("method", b"something")


def test_a_body_that_never_ends_loses_nothing(origin, verge):
    connection = verge.client.connect()
    connection.begin("GET", "/")
    eventually(lambda: verge.metric("verge_requests_total") >= 1, "the head has come")
    connection.reset()
    assert verge.log(1)[0]["error"] == "client_gone"
    assert origin.count() == 0


def test_a_body_that_does_not_come_is_answered_408(origin, start):
    client = start(top="limits { body_timeout 200ms; }").client
    connection = client.connect()
    connection.begin("GET", "/")
    assert connection.response().status == 408
    assert origin.count() == 0


def test_a_get_with_a_body_may_not_exceed_the_limit(origin, start):
    client = start(route="body_size 4;").client
    assert client.request("GET", "/", body=b"12345").status == 413
    assert client.request("GET", "/", body=[b"12345"]).status == 413


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
