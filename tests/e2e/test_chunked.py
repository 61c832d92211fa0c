"""Chunked bodies and trailers from the origin; test_upload.py has the other direction."""

import pytest

from harness import CLOSE, RESET, Reply, Truncated, fresh, pattern

HEAD = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_a_chunked_response_arrives_and_is_stored(origin, client):
    origin.on("/", fresh(pattern(100_000), chunked=True))
    miss, hit = client.get("/"), client.get("/")
    assert miss.body == hit.body == pattern(100_000)
    assert hit.hit and hit["Content-Length"] == "100000"


def test_trailers_pass(origin, client):
    origin.on("/", Reply(body=b"abc", chunked=True, headers={"Trailer": "X-Sum"},
                         trailers={"X-Sum": "7"}))
    response = client.get("/", {"TE": "trailers"})
    assert (response.body, len(response.trailers), response.trailers.get("X-Sum")) == (b"abc", 1, "7")


def test_framing_fields_in_a_trailer_are_dropped(origin, client):
    origin.on("/", Reply(body=b"abc", chunked=True,
                         trailers=[("Content-Length", "1"), ("Transfer-Encoding", "chunked")]))
    response = client.get("/", {"TE": "trailers"})
    assert (response.body, response.trailers) == (b"abc", [])


GRPC = {"grpc-status": "0", "grpc-message": "ok", "grpc-status-details-bin": "AA"}


def test_what_decides_does_not_come_in_a_trailer(origin, client):
    origin.on("/", fresh(b"abc", chunked=True, trailers=[("Set-Cookie", "a=b"), ("Cache-Control", "no-store"),
                                                         ("ETag", '"1"'), *GRPC.items()]))
    for hit in (False, True):
        response = client.get("/", {"TE": "trailers"})
        assert bool(response.hit) == hit and response.trailers.names() == {"etag", *GRPC}


@pytest.mark.parametrize("directive", ["private", "no-cache"])
def test_a_field_for_one_is_not_shared_in_a_trailer(origin, client, directive):
    headers = {"Cache-Control": f'max-age=60, {directive}="X-User, X-More"'}
    origin.on("/", Reply(headers=headers, body=b"abc", chunked=True, trailers={"X-User": "joe", **GRPC}))
    for hit in (False, True):
        response = client.get("/", {"TE": "trailers"})
        assert bool(response.hit) == hit and response.trailers.names() == set(GRPC)


def test_rules_of_responses_hold_in_trailers(origin, start):
    node = start(route="response_header remove X-Secret*; response_header set X-Edge 1; response_header add X-More 1;")
    origin.on("/", fresh(b"abc", chunked=True, trailers={"X-Secret-1": "a", "X-Edge": "b", "X-More": "c", **GRPC}))
    for hit in (False, True):
        response = node.client.get("/", {"TE": "trailers"})
        assert bool(response.hit) == hit and response["X-Edge"] == "1"
        assert response.trailers.names() == {"x-more", *GRPC}


def test_rules_of_responses_hold_while_the_configuration_changes(origin, start):
    node, gate = start(route="response_header remove X-Secret;"), origin.gate()
    origin.on("/", [HEAD + b"3\r\nabc\r\n", gate, b"0\r\nX-Secret: a\r\nX-Plain: b\r\n\r\n"])
    connection = node.client.connect()
    connection.request("GET", "/", {"TE": "trailers"})
    connection.head()
    for _ in range(2):
        node.reload(route="response_header remove X-Other;")
    gate.set()
    assert connection.rest() == b"abc" and connection.trailers.names() == {"x-plain"}


def test_small_chunks_and_extensions(origin, client):
    body = b"".join(b"1;a=b\r\n%c\r\n" % c for c in pattern(500))
    origin.on("/", [HEAD + body + b"0;end\r\n\r\n"])
    assert client.get("/").body == pattern(500)
    assert client.get("/").hit


def test_the_first_bytes_do_not_wait_for_the_last(origin, client):
    gate = origin.gate()
    origin.on("/", [HEAD + b"3\r\nabc\r\n", gate, b"3\r\ndef\r\n0\r\n\r\n"])
    connection = client.connect()
    connection.request("GET", "/")
    connection.head()
    assert connection.read(3) == b"abc"
    gate.set()
    assert connection.rest() == b"def"


@pytest.mark.parametrize("ending", [CLOSE, RESET])
@pytest.mark.parametrize("sent", [b"", b"3\r\nab", b"3\r\nabc\r\n", b"3\r\nabc\r\n0\r\n"])
def test_without_its_last_chunk_it_is_neither_whole_nor_stored(origin, client, sent, ending):
    origin.on("/", [HEAD + sent, ending], fresh(b"good"))
    try:
        assert client.get("/").status == 502
    except Truncated:
        pass
    assert client.get("/").body == b"good"
    assert origin.count("/") == 2


@pytest.mark.parametrize("sent", [b"zz\r\nabc\r\n0\r\n\r\n", b"3\r\nabcd\r\n0\r\n\r\n",
                                  b"3\nabc\r\n0\r\n\r\n"])
def test_a_malformed_chunk_is_never_passed_as_whole(origin, client, sent):
    origin.on("/", [HEAD + sent], fresh(b"good"))
    try:
        assert client.get("/").status == 502
    except Truncated:
        pass
    assert client.get("/").body == b"good"


def test_trailers_are_announced_to_who_may_get_some(origin, client):
    """A hit without any, and one for a client that takes none, does not announce them."""
    origin.on("/without", fresh(b"abc", chunked=True, headers={"Trailer": "X-Sum"}))
    origin.on("/with", fresh(b"abc", chunked=True, headers={"Trailer": "X-Sum"}, trailers={"X-Sum": "7"}))
    for target in ("/without", "/with"):
        assert client.get(target)["Trailer"] is None
    assert client.get("/without", {"TE": "trailers"})["Trailer"] is None
    response = client.get("/with", {"TE": "trailers"})
    assert response.hit and (response["Trailer"], response.trailers.get("X-Sum")) == ("X-Sum", "7")
    assert client.get("/with")["Trailer"] is None
