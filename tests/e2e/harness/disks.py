"""Nodes with a disk: what scenarios of the disk tier have in common."""

from .util import eventually

CHUNK_BYTES = 65_472  # of a body, in each value of the log but the last
MEGABYTE = 1 << 20


def disk(size="64M", memory="8M", more=""):
    """
    Snippets for start(): a disk in the node's own folder, and little memory. What has more than an
    eighth of that is only on the disk.
    """
    return {"memory": memory, "cache": f"disk $directory/disk {size}; {more}"}


def wait_until_stored(verge, count=1):
    """So many objects, or new heads, of this process outlive it, however it ends."""
    eventually(lambda: verge.metric("verge_disk_stored_total") >= count, f"{count} are stored")


def store(verge, *targets, headers=()):
    """Fetches each, and waits until the disk has them all."""
    count = verge.metric("verge_disk_stored_total")
    for target in targets:  # one by one: the queue is short, as the memory is
        verge.client.get(target, headers)
        count += 1
        wait_until_stored(verge, count)
