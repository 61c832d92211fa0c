"""The harness itself: the client straight at the scripted origin, without a node between them."""

import pytest

from harness import CLOSE, RESET, Client, Reply, Truncated, fresh, pattern
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
