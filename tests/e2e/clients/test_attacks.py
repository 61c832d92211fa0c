"""Everybody else is served while somebody attacks: each flood and bomb of test_h2 again and again, and
beside it loads of which no request may fail."""

import ssl
import threading
from pathlib import Path

import pytest

from harness import RawH2, fresh, pattern
from harness.h2 import CONTINUATION, END_HEADERS, END_STREAM, HEADERS, frame
from harness.programs import SITE, certificate, run, url  # noqa: F401 (fixtures)
from harness.util import BUILD
from test_h2 import BOMBS, FLOODS, GET

H2LOAD = Path(__file__).resolve().parents[3] / "build" / "tools" / "h2load"
ATTACKERS = 3
GROWTH_MAX_BYTES = 64 << 20


def flood(name):
    def attack(raw):
        for n in range(200):
            if not raw.send(*FLOODS[name](raw, n)):
                break
    return attack


def bomb(name):
    def attack(raw):
        section = raw.section(GET + BOMBS[name])
        pieces = [section[i:i + 16000] for i in range(0, len(section), 16000)]
        raw.send(frame(HEADERS, END_STREAM, 1, pieces[0]), *[frame(CONTINUATION, 0, 1, p) for p in pieces[1:]],
                 frame(CONTINUATION, END_HEADERS, 1))
        raw.outcome(1)
    return attack


def silent_reader(raw):
    """Asks for much and reads nothing, until the node has enough of it."""
    raw.send(*[raw.get(2 * i + 1, "/file") for i in range(100)])
    raw.sock.settimeout(None)
    while raw.send(frame(6, 0, 0, bytes(8))):
        pass


ATTACKS = {**{name: flood(name) for name in FLOODS}, **{name: bomb(name) for name in BOMBS},
           "a reader that does not read": silent_reader}


class Attacker(threading.Thread):
    """One connection after the other, until stopped."""

    def __init__(self, node, attack):
        super().__init__(daemon=True)
        self.node, self.attack, self.stopped, self.attacks = node, attack, threading.Event(), 0

    def run(self):
        while not self.stopped.is_set():
            self.attacks += 1
            try:
                with RawH2(self.node.port) as raw:
                    self.attack(raw)
            except (OSError, ssl.SSLError):
                pass  # the node has had enough, which it may say in any way


@pytest.mark.parametrize("name", ATTACKS)
def test_others_are_served_meanwhile(origin, start, certificate, name):
    origin.on("/file", fresh(pattern(2000)))
    node = start(config=SITE, top="limits { send_timeout 1s; }")
    before = node.memory_bytes()
    attackers = [Attacker(node, ATTACKS[name]) for _ in range(ATTACKERS)]
    for attacker in attackers:
        attacker.start()
    try:
        for version in ("--h1", "--alpn-list=h2", "--alpn-list=h3"):
            said = run(H2LOAD, "-n5000", "-c8", "-m8", version, url(node, "/file"))
            assert "5000 done, 5000 succeeded, 0 failed, 0 errored, 0 timeout" in said, version
    finally:
        for attacker in attackers:
            attacker.stopped.set()
        for attacker in attackers:
            attacker.join(30)
    assert all(attacker.attacks for attacker in attackers)
    # A sanitizer keeps what is freed.
    assert BUILD or node.memory_bytes() - before < GROWTH_MAX_BYTES
