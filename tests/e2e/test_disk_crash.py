"""A few kills; `make crash` does hundreds. What is judged, and how, is in harness/crash.py."""

import os
import random

from harness import crash

SEED = int(os.environ.get("CRASH_SEED", random.randrange(1 << 32)))
KILLS = 10


def test_nothing_wrong_is_served_after_a_kill(tmp_path):
    print(f"CRASH_SEED={SEED}")
    seen = crash.run(tmp_path, SEED, KILLS)
    print(seen)
    assert seen["served"] > 20 * KILLS and seen["not stored"]
