"""SIGHUP: another configuration, the same process, and no connection touched."""

from harness import Reply, fresh
from harness.util import eventually


def test_a_new_configuration_is_used(origin, verge):
    origin.on("/", Reply(body=b"x"))
    assert "X-New" not in verge.client.get("/").fields
    verge.reload(route="response_header set X-New yes;")
    assert verge.client.get("/")["X-New"] == "yes"


def test_an_open_connection_goes_on(origin, verge):
    connection = verge.client.connect()
    connection.request("GET", "/")
    assert connection.response().status == 404
    verge.reload(route="response_header set X-New yes;")
    connection.request("GET", "/")
    assert connection.response()["X-New"] == "yes"


def test_a_request_in_flight_is_finished(origin, verge):
    gate = origin.gate()
    origin.on("/", [b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc", gate, b"def"])
    connection = verge.client.connect()
    connection.request("GET", "/")
    connection.head()
    verge.reload(route="response_header set X-New yes;")
    gate.set()
    assert connection.read(6) == b"abcdef"


def test_what_is_stored_stays(origin, verge):
    origin.on("/", fresh())
    verge.client.get("/")
    verge.reload(route="response_header set X-New yes;")
    response = verge.client.get("/")
    assert response.hit and response["X-New"] == "yes"


def test_a_wrong_file_changes_nothing(origin, verge):
    origin.on("/", fresh())
    verge.client.get("/")
    verge.reload(route="no_such_directive on;")
    assert verge.client.get("/").hit
    assert any("no_such_directive" in line for line in verge.errors())


def test_another_origin(origin, verge):
    from_first = Reply(body=b"first")
    origin.on("/", from_first)
    assert verge.client.get("/").body == b"first"
    second = type(origin)()
    try:
        second.on("/", Reply(body=b"second"))
        verge.reload(origin_port=second.port)
        assert verge.client.get("/").body == b"second"
    finally:
        second.stop()


def test_many_reloads_under_load(origin, verge):
    origin.on("/", fresh(b"x"))
    connections = [verge.client.connect() for _ in range(20)]
    for n in range(20):
        verge.reload(route=f"response_header set X-Turn {n};")
        for connection in connections:
            connection.request("GET", "/")
            assert connection.response()["X-Turn"] == str(n)


def test_what_is_hardly_meant_is_said_and_done(start):
    gone = "origin gone { server 127.0.0.1:9 down; }"
    node = start(top=gone)
    assert any('warning: all servers of "gone" are down' in line for line in node.errors())
    before = len(node.errors())
    node.reload(top=gone)
    eventually(lambda: any("warning:" in line for line in node.errors()[before:]), "it is said again")
    assert any("configuration 2 in use" in line for line in node.errors())
