"""What the node makes of the process that it is started as: descriptors, limits."""

import os

import pytest

from harness import fresh


def shell(script):
    """A launcher that does something first."""
    return ["sh", "-c", f'{script}; exec "$@"', "sh"]


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- >&- 2>&-"])
def test_standard_descriptors_that_are_closed(origin, start, tmp_path, closed):
    """Nothing that is written to standard error may reach a client's connection."""
    origin.on("/", fresh(b"body"))
    node = start(launcher=shell(f"exec {closed}"), top=f"error_log {tmp_path}/errors;")
    assert node.client.get("/").body == b"body"
    for number in (0, 1, 2):
        target = os.readlink(f"/proc/{node.process.pid}/fd/{number}")
        assert target == "/dev/null" or target.startswith(str(node.directory)), (number, target)
