"""How the node ends: at once, gracefully, or killed."""

import signal

import pytest

from harness import Truncated, eventually, fresh

SLOW = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n"


def refuses(verge):
    try:
        verge.client.connect().close()
    except OSError:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_an_idle_node_ends_with_zero(verge, number):
    verge.client.get("/")
    verge.signal(number)
    assert verge.wait() == 0


def test_a_graceful_stop_finishes_what_is_in_flight(origin, verge):
    gate = origin.gate()
    origin.on("/", [SLOW + b"abc", gate, b"def"])
    connection = verge.client.connect()
    connection.request("GET", "/")
    connection.head()
    verge.signal(signal.SIGQUIT)
    eventually(lambda: refuses(verge), "no new connection is taken")
    gate.set()
    assert connection.read(6) == b"abcdef"
    assert connection.ended()
    assert verge.wait() == 0


def test_a_graceful_stop_closes_idle_connections(verge):
    connection = verge.client.connect()
    connection.request("GET", "/")
    connection.response()
    verge.signal(signal.SIGQUIT)
    assert connection.ended()
    assert verge.wait() == 0


def test_a_graceful_stop_has_a_limit(origin, start):
    verge = start(top="shutdown_timeout 200ms;")
    origin.on("/", [SLOW + b"abc", origin.gate()])
    connection = verge.client.connect()
    connection.request("GET", "/")
    connection.head()
    verge.signal(signal.SIGQUIT)
    with pytest.raises(Truncated):
        connection.read(6)
    assert verge.wait() == 0


def test_term_waits_for_nobody(origin, verge):
    origin.on("/", [SLOW + b"abc", origin.gate()])
    connection = verge.client.connect()
    connection.request("GET", "/")
    connection.head()
    verge.signal(signal.SIGTERM)
    with pytest.raises(Truncated):
        connection.read(6)
    assert verge.wait() == 0


def test_after_a_kill_it_starts_again_at_once(origin, verge):
    origin.on("/", fresh())
    connection = verge.client.connect()
    connection.request("GET", "/")
    assert connection.response().stored
    verge.kill()
    verge.start()
    assert verge.client.connect()
    assert verge.admin("/healthz").status == 200


def test_a_taken_port_is_one_sentence_and_exit_1(origin, start, tmp_path):
    first = start()
    with pytest.raises(AssertionError, match="ended with 1") as failure:
        start(config=first.config.replace("$admin_port", str(origin.port)))
    assert str(origin.port) in str(failure.value)
