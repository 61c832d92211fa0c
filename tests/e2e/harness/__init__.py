"""Both ends of a request, scripted, and the program between them."""

from .client import Client, Connection
from .disks import CHUNK_BYTES, MEGABYTE, disk, store, wait_until_stored
from .h2 import H2Connection, RawH2
from .h3 import H3Connection
from .origin import CLOSE, RESET, Origin, Reply, fresh
from .util import DEADLINE_S, eventually, in_parallel, outlive, pattern
from .verge import Verge
from .wire import Truncated

__all__ = [
    "CHUNK_BYTES", "CLOSE", "DEADLINE_S", "MEGABYTE", "RESET", "Client", "Connection", "H2Connection",
    "H3Connection", "Origin", "RawH2", "Reply", "Truncated", "Verge", "disk", "eventually", "fresh", "in_parallel",
    "outlive", "pattern", "store", "wait_until_stored",
]
