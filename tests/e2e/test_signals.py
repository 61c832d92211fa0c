"""Signals that mean nothing to a node: it says so and goes on."""

import signal

import pytest

from harness import eventually


@pytest.mark.parametrize("name", ["SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGIO", "SIGPWR", "SIGXCPU"])
def test_it_is_told_and_ignored(verge, name):
    verge.signal(getattr(signal, name))
    told = lambda line: "warning" in line and "ignored" in line  # noqa: E731
    eventually(lambda: any(told(line) for line in verge.errors()), "a line")
    assert verge.admin("/healthz").status == 200


def test_one_of_an_application(verge):
    verge.signal(signal.SIGRTMAX)
    eventually(lambda: any("ignored" in line for line in verge.errors()), "a line")
    assert verge.client.get("/").status == 404


def test_a_file_that_may_not_grow(verge):
    verge.signal(signal.SIGXFSZ)
    assert verge.client.get("/").status == 404
