"""A disk that fails on demand, and clients that must not notice."""

import random
import re
import threading
from pathlib import Path

from .client import Connection
from .crash import CLASSES, body_of
from .origin import Reply
from .util import BUILD, DEADLINE_S, eventually

LIBRARY = Path(__file__).resolve().parents[3] / "build" / "fault.so"
RUNTIMES = {"asan": "libasan.so.8", "tsan": "libtsan.so.2"}  # must come before any other library


class Fault:
    """tests/fault.c between a node and its folder."""

    def __init__(self, directory):
        self.folder, self.control = directory / "disk", directory / "control"
        self.hangs = directory / "control.hangs"
        runtime = [RUNTIMES[BUILD]] if BUILD in RUNTIMES else []
        self.environment = {"LD_PRELOAD": " ".join([*runtime, str(LIBRARY)]), "FAULT_FOLDER": str(self.folder),
                            "FAULT_CONTROL": str(self.control)}

    def set(self, what):
        """All at once: it is read at any moment."""
        draft = self.control.with_suffix(".draft")
        draft.write_text(what)
        draft.rename(self.control)

    def hang_reads(self):
        """Until clear(): what reads begin from now on do not end, then they fail."""
        self.set("HANG_READS")
        eventually(self.hangs.exists, "reads hang")

    def clear(self):
        self.set("")
        eventually(lambda: not self.hangs.exists(), "no read hangs")


def answer(exchange):
    """An origin that says of each path the same, also in parts."""
    body = body_of(exchange.request.target, "", 0)
    headers = [("Cache-Control", "max-age=3600"), ("ETag", '"0"')]
    match = re.fullmatch(r"bytes=([0-9]+)-([0-9]*)", exchange.request["Range"] or "")
    if not match or exchange.request.method != "GET":
        exchange.reply(Reply(headers=headers, body=bytes(body)))
        return
    first, last = int(match[1]), min(int(match[2] or len(body)), len(body) - 1)
    headers.append(("Content-Range", f"bytes {first}-{last}/{len(body)}"))
    exchange.reply(Reply(206, headers, bytes(body[first:last + 1])))


class Load:
    """Clients that ask for all kinds of objects, and look at every byte, until it is left."""

    def __init__(self, verge, origin, clients=3, classes=("small", "page", "image", "large")):
        origin.default = answer
        self.port, self.classes = verge.port, classes
        self.over, self.count, self.failures = threading.Event(), 0, []
        self.threads = [threading.Thread(target=self.run, args=(n,), daemon=True) for n in range(clients)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join(2 * DEADLINE_S)
            assert not thread.is_alive(), "a client hangs"
        self.check()

    def check(self):
        if self.failures:
            raise AssertionError("a client noticed") from self.failures[0]

    def go_on(self, count=100):
        """Lets them ask so many times more."""
        until = self.count + count
        eventually(lambda: self.failures or self.count >= until, f"{count} more requests are answered")
        self.check()

    def run(self, number):
        rng = random.Random(number)
        try:
            with Connection(self.port) as connection:
                while not self.over.is_set():
                    self.ask(connection, rng)
                    self.count += 1
        except Exception as error:  # for who asks
            self.failures.append(error)

    def ask(self, connection, rng):
        name = rng.choice(self.classes)
        path = f"/{name}/{rng.randrange(CLASSES[name][0])}"
        method = "POST" if rng.random() < 0.02 else "GET"
        connection.request(method, path, body=b"x" if method == "POST" else None)
        response = connection.response()
        assert response.status == 200, response
        assert response.body == body_of(path, "", 0), f"{path}: not what the origin said: {response}"
