"""The program under test, in a process of its own, with a configuration of its own."""

import json
import os
import re
import signal
import subprocess
from collections import defaultdict
from pathlib import Path
from string import Template

from .client import BEFORE, SPEAKS, Client
from .util import BUILD, DEADLINE_S, eventually, free_port
from .wire import Truncated

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = os.environ.get("VERGE", str(ROOT / "build" / BUILD / "verge"))

CONFIG = """\
cache { memory $memory; $cache }
origin app { server 127.0.0.1:$origin_port; $origin }
site * {
    listen 127.0.0.1:$port;
    $site
    route * { origin app; $route }
}
admin { listen 127.0.0.1:$admin_port; }
access_log $access_log json;
$top
"""

SANITIZER = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:")
# Alive on purpose: what is stored stays until it is evicted.
STORED = {"verge_cache_objects_live"}


def sanitizer_environment():
    return {**os.environ, "UBSAN_OPTIONS": "print_stacktrace=1",
            "ASAN_OPTIONS": "detect_leaks=1", "TSAN_OPTIONS": "halt_on_error=0"}


def parse_metrics(text):
    """Prometheus text as {'name{labels}': value}."""
    samples = (line.rpartition(" ") for line in text.splitlines() if line and line[0] != "#")
    return {name: float(value) for name, _, value in samples}


class Verge:
    """
    `snippets` are put into the configuration above: memory=, cache=, origin=, site=, route=, top=. `config`
    replaces the whole text; it may use the same $names. `protocol` is what clients speak to it, `tier` what is
    behind its cache, as conftest.py says. `environment` is added to the process's own, `launcher` is a command
    that gets the program's as its arguments.
    """

    def __init__(self, directory, origin, /, config=CONFIG, protocol="h1", tier="memory", environment=(),
                 launcher=(), **snippets):
        self.directory, self.origin, self.config = Path(directory), origin, config
        self.port, self.admin_port = free_port(), free_port()
        self.tls, self.tier = protocol != "h1", tier
        SPEAKS.update({self.port: protocol, self.admin_port: "h1"})
        if tier == "reread":
            BEFORE[self.port] = self.evict
        self.access_log = self.directory / "access.log"
        self.error_log = self.directory / "stderr"
        self.file = self.directory / "verge.conf"
        self.process = self.client = None
        self.launcher = list(launcher)
        self.environment = {**sanitizer_environment(), **dict(environment)}
        self.write_config(**snippets)
        self.start()

    # -- configuration

    def write_config(self, **snippets):
        names = defaultdict(str, port=self.port, admin_port=self.admin_port,
                            origin_port=self.origin.port, access_log=self.access_log,
                            directory=self.directory, memory="8M" if self.tier == "reread" else "64M")
        names.update(snippets)
        # Twice, because a snippet may use the names as well.
        text = Template(Template(self.config).substitute(names)).substitute(names)
        if self.tls:
            text = text.replace(f"listen 127.0.0.1:{self.port};",
                                f"listen 127.0.0.1:{self.port} tls; certificate self_signed;")
        if self.tier != "memory":
            text = self.with_disk(text)
        self.file.write_text(text)

    def with_disk(self, text):
        assert not re.search(r"\bdisk\s", text), "a scenario with a disk of its own is to be marked own_disk"
        before, block, after = text.partition("cache {")
        disk = f"disk {self.directory}/disk 64M;"
        return f"{before}{block} {disk}{after}" if block else f"cache {{ {disk} }}\n{text}"

    # -- the process

    def start(self):
        with open(self.error_log, "ab") as stderr:
            self.process = subprocess.Popen([*self.launcher, PROGRAM, "run", "-c", str(self.file)],
                                            stderr=stderr, stdout=stderr, env=self.environment)
        eventually(self.is_ready, "the node listens")
        self.baseline = self.live()

    def is_ready(self):
        code = self.process.poll()
        assert code is None, f"ended with {code} at start:\n{self.error_log.read_text()}"
        try:
            return self.admin("/healthz").status == 200
        except (ConnectionError, Truncated):
            return False

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self):
        return self.process.wait(DEADLINE_S)

    def reload(self, **snippets):
        """Writes another configuration, or none, and waits until the node has said what it did."""
        if snippets:
            self.write_config(**snippets)
        before = len(self.errors())
        self.signal(signal.SIGHUP)
        eventually(lambda: len(self.errors()) > before, "the node reports the reload")

    def kill(self):
        self.process.kill()
        self.wait()

    def restart(self, kill=False):
        """Another process in the place of this one, for the same client."""
        self.signal(signal.SIGKILL if kill else signal.SIGTERM)
        assert self.wait() == (-signal.SIGKILL if kill else 0), self.error_log.read_text()
        self.client.close()
        self.start()

    def stop(self):
        """The end of every scenario: nothing left alive, no complaint, exit code 0."""
        def is_idle():
            self.origin.drop_connections()  # also those that it has only just taken
            return self.leaks() == {}

        if self.process.poll() is None:
            eventually(is_idle, f"live gauges fall back: {self.leaks()}")
            self.signal(signal.SIGTERM)
        assert self.wait() in (0, -signal.SIGKILL), self.error_log.read_text()
        self.check_errors()

    def abandon(self):
        for known in (SPEAKS, BEFORE):
            known.pop(self.port, None)  # it may be somebody else's next
        if self.process.poll() is None:
            self.kill()

    def check_errors(self):
        text = self.error_log.read_text()
        assert not SANITIZER.search(text), text

    # -- what it says

    def admin(self, path, method="GET", body=None):
        client = Client(self.admin_port)
        try:
            return client.request(method, path, [("Host", "localhost"), ("Connection", "close")], body)
        finally:
            client.close()

    def evict(self):
        """Memory gives up all that the disk has, once that has all it is to get. Returns how much."""
        evicted = 0

        def is_done():
            nonlocal evicted
            try:
                answer = json.loads(self.admin("/cache/memory", "DELETE").body)
            except (ConnectionError, Truncated):
                return True  # it is going
            evicted += answer["evicted"]
            return answer["queued"] == 0

        eventually(is_done, "the disk has what is whole")
        return evicted

    def metrics(self):
        return parse_metrics(self.admin("/metrics").body.decode())

    def metric(self, name, **labels):
        """The sum over all samples of this name that have these labels."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return sum(value for sample, value in self.metrics().items()
                   if sample.partition("{")[0] == name and all(w in sample for w in wanted))

    def memory_bytes(self):
        """What the process takes just now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024

    def live(self):
        return {name: value for name, value in self.metrics().items()
                if name.partition("{")[0].endswith("_live") and name not in STORED}

    def leaks(self):
        return {name: value for name, value in self.live().items()
                if value > self.baseline.get(name, 0)}

    def log(self, count=1):
        """The access log once it has `count` lines, each parsed."""
        def lines():
            text = self.access_log.read_text() if self.access_log.exists() else ""
            whole = text.splitlines() if text.endswith("\n") else text.splitlines()[:-1]
            return whole if len(whole) >= count else None
        return [json.loads(line) for line in eventually(lines, f"{count} lines in the access log")]

    def errors(self):
        return self.error_log.read_text().splitlines()
