"""
Everything at once, and every byte looked at. A few minutes' worth of steps in all, whatever the time they take;
`make chaos` goes on for as long as it is told to. What is done and what is judged is in harness/chaos.py.

A scenario that fails says its name; `tests/chaos --only NAME` repeats it.
"""

import os

import pytest

from harness import chaos

SEED = os.environ.get("CHAOS_SEED", "1")
ROUNDS = 6
# Protocol, tier and workers: every pair of two of them.
SCENARIOS = [
    "h1 memory 1", "h1 disk 2", "h1 little 4", "h1-tls memory 2", "h1-tls disk 4", "h1-tls little 1",
    "h2 memory 4", "h2 disk 1", "h2 little 2", "h3 memory 2", "h3 disk 4", "h3 little 1",
]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_whatever_happens_nobody_gets_a_wrong_byte(tmp_path, scenario):
    seen = chaos.run(tmp_path, f"{SEED} {scenario}", ROUNDS)
    print(seen)
    for outcome in (200, 206, "whole", "hit"):
        assert seen[outcome], f"never seen: {outcome}"
