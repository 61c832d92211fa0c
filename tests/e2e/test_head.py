"""HEAD: the fields of GET, no body."""

from harness import Reply, fresh


def test_from_a_stored_get(origin, client):
    origin.on("/", fresh(b"body", headers={"X-Mine": "1"}))
    client.get("/")
    response = client.get("/", method="HEAD")
    assert response.hit and response.body == b""
    assert response["Content-Length"] == "4" and response["X-Mine"] == "1"
    assert origin.count("/") == 1


def test_on_a_miss(origin, client):
    origin.on("/", fresh(b"body"))
    response = client.get("/", method="HEAD")
    assert response.status == 200 and response["Content-Length"] == "4"
    assert client.get("/").body == b"body"


def test_it_never_fills_the_place_of_a_get(origin, client):
    origin.on("/", fresh(b""), fresh(b"body"))
    client.get("/", method="HEAD")
    assert client.get("/").body == b"body"


def test_of_what_is_chunked(origin, client):
    origin.on("/", Reply(body=b"body", chunked=True))
    assert client.get("/", method="HEAD").body == b""
    assert client.get("/").body == b"body"


def test_of_an_error_of_the_nodes_own(origin, client):
    origin.refuse()
    response = client.get("/", method="HEAD")
    assert (response.status, response.body) == (502, b"")
    assert client.get("/").status == 502


def test_several_on_one_connection(origin, client):
    origin.on("/", Reply(body=b"body"))
    connection = client.connect()
    for method in ["HEAD", "GET"] * 5:
        connection.request(method, "/")
        assert connection.response().body == (b"" if method == "HEAD" else b"body")
