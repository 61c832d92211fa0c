"""The harness itself: the client straight at the scripted origin, without a node between them."""

import pytest

from harness import CLOSE, RESET, Client, Reply, Truncated, fresh, h3, pattern, qpack
from harness.client import CacheStatus
from harness.verge import parse_metrics
from harness.wire import Malformed


@pytest.fixture
def direct(origin):
    client = Client(origin.port)
    yield client
    client.close()


def test_answers_follow_the_script_and_the_last_one_stays(origin, direct):
    origin.on("/a", fresh(b"one"), Reply(404, body=b"two"))
    answers = [direct.get("/a") for _ in range(3)]
    assert [(a.status, a.body) for a in answers] == [(200, b"one"), (404, b"two"), (404, b"two")]
    assert origin.count("/a") == 3
    assert {r.connection for r in origin.requests} == {1}


def test_chunked_both_ways_with_trailers(origin, direct):
    origin.on("/up", Reply(body=b"answer", chunked=True, trailers={"X-Sum": "1"}))
    response = direct.request("POST", "/up", body=[b"ab", b"cde"], trailers=[("X-End", "2")])
    assert (response.body, response.trailers) == (b"answer", [("X-Sum", "1")])
    assert (origin.last().body, origin.last().trailers) == (b"abcde", [("X-End", "2")])


def test_interim_responses_are_kept_apart(origin, direct):
    origin.on("/", Reply(body=b"x", interim=[(103, {"Link": "</a>"})]))
    response = direct.get("/")
    assert response.status == 200
    assert [(i.status, i["Link"]) for i in response.interim] == [(103, "</a>")]


@pytest.mark.parametrize("ending", [CLOSE, RESET])
def test_a_short_body_is_reported_with_what_had_come(origin, direct, ending):
    origin.on("/", [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", b"abc", ending])
    with pytest.raises(Truncated):
        direct.get("/")


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 200 OK\r\nA b: c\r\n\r\n",
    b"HTTP/1.1 2000 OK\r\n\r\n",
])
def test_the_client_is_strict(origin, direct, answer):
    origin.on("/", [answer, CLOSE])
    with pytest.raises(Malformed):
        direct.get("/")


def test_a_refusing_origin_can_come_back(origin, direct):
    origin.refuse()
    with pytest.raises(ConnectionRefusedError):
        direct.get("/")
    origin.accept_again()
    assert direct.get("/").status == 404


def test_cache_status_is_read_by_its_own_name():
    status = CacheStatus('other; hit; ttl=9, verge; fwd=uri-miss; ttl=-3; key="a, b; c"; stored')
    assert status["fwd"] == "uri-miss" and status["ttl"] == -3 and status["stored"] is True
    assert "hit" not in status


def test_metrics_are_read_with_their_labels():
    text = '# HELP a b\nverge_x_total{site="a b"} 3\nverge_y 0.5\n'
    assert parse_metrics(text) == {'verge_x_total{site="a b"}': 3, "verge_y": 0.5}


def test_the_pattern_names_its_offsets():
    assert pattern(16, 32) == b"000000000000020\n"
    assert pattern(100)[7:50] == pattern(43, 7)


def test_a_field_section_of_http3_is_read():
    """RFC 9204 appendix B.1, what the encoder writes, and Huffman's code as in RFC 7541 appendix C.4.1."""
    assert qpack.decode(bytes.fromhex("0000510b2f696e6465782e68746d6c")) == [(":path", "/index.html")]
    fields = [(":status", "200"), ("x-" + "long" * 50, "v" * 1000), ("empty", "")]
    assert qpack.decode(qpack.encode(fields)) == fields
    assert qpack.decode(bytes.fromhex("0000d9508cf1e3c2e5f23a6ba0ab90f4ff")) == \
        [(":status", "200"), (":authority", "www.example.com")]


@pytest.mark.parametrize("section", ["000080", "00001000", "020080", "000051", "00"])
def test_a_dynamic_table_that_was_not_allowed_is_an_error(section):
    with pytest.raises(Malformed):
        qpack.decode(bytes.fromhex(section))


@pytest.mark.parametrize("number, wire", [
    (37, "25"), (15293, "7bbd"), (494878333, "9d7f3e7d"), (151288809941952652, "c2197c5eff14e88c")])
def test_numbers_of_quic(number, wire):
    assert h3.varint(number).hex() == wire
    assert h3.read_varint(bytes.fromhex(wire)) == (number, len(wire) // 2)
    assert h3.read_varint(bytes.fromhex(wire)[:-1])[0] is None


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_frames_are_put_together_from_any_pieces(step):
    data = h3.frame(h3.HEADERS, b"abc") + h3.frame(h3.DATA, b"body") + h3.frame(0x21, b"") + h3.frame(h3.GOAWAY, b"\0")
    frames, got, framing = h3.Frames(), {}, 0
    for at in range(0, len(data), step):
        for kind, payload, overhead in frames.take(data[at:at + step]):
            got[kind] = got.get(kind, b"") + payload
            framing += overhead
    assert got == {h3.HEADERS: b"abc", h3.DATA: b"body", 0x21: b"", h3.GOAWAY: b"\0"}
    assert framing == len(data) - 4
