"""The servers that are measured: how each is started, and how each says that it answered from its cache.

All of them listen on the same two ports, one at a time: HITS before an origin whose answers they keep, MISSES before
one whose answers nobody may keep. A server is one line in SERVERS and a configuration file beside this one.
"""

import http.client
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Callable

import machine

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
BUILD = os.environ.get("VERGE_BENCH_BUILD", f"{ROOT}/build/bench")
VERGE = os.environ.get("VERGE", f"{ROOT}/build/verge")
FLOOR = f"{BUILD}/floor"
LOAD = f"{BUILD}/load"

ORIGIN, PASS_ORIGIN, HITS, MISSES = 19000, 19001, 19080, 19081


class Failure(Exception):
    """A server that does not start, or does not answer what it must: its figure would mean nothing."""


@dataclass
class Server:
    name: str
    binary: str
    arguments: Callable[[str, str], list]  # of its own directory and its configuration file
    config: str | None = None  # template beside this file
    says_hit: Callable[[http.client.HTTPMessage], bool] = lambda fields: True
    version_flag: str | None = None

    def installed(self):
        return shutil.which(self.binary) is not None

    def version(self):
        if not self.version_flag:
            return ""
        said = subprocess.run([self.binary, self.version_flag], capture_output=True, text=True)
        number = re.search(r"\d+\.\d+(\.\d+)?", said.stdout + said.stderr)
        return number[0] if number else ""


def _varnish_arguments(directory, config):
    return [
        "-F", "-n", f"{directory}/work", "-f", config,
        "-a", f"hits=127.0.0.1:{HITS}", "-a", f"misses=127.0.0.1:{MISSES}",
        "-s", "malloc,2G", "-j", "none",
        # Threads enough for every connection from the start, in one pool as there is one core.
        "-p", "thread_pools=1", "-p", "thread_pool_min=200", "-p", "thread_pool_max=2000",
    ]  # fmt: skip


SERVERS = {
    server.name: server
    for server in (
        Server(
            "verge",
            VERGE,
            lambda directory, config: ["run", "-c", config],
            config="verge.conf",
            says_hit=lambda fields: re.search(r";\s*hit\b", fields.get("Cache-Status", "")),
        ),
        Server("floor", FLOOR, lambda directory, config: ["-p", str(HITS)]),
        Server(
            "nginx",
            "/usr/sbin/nginx",
            lambda directory, config: ["-p", directory, "-c", config, "-e", f"{directory}/error.log"],
            config="nginx.conf",
            says_hit=lambda fields: fields.get("X-Cache") == "HIT",
            version_flag="-v",
        ),
        Server(
            "varnish",
            "/usr/sbin/varnishd",
            _varnish_arguments,
            config="varnish.vcl",
            # Its own request's id, and on a hit the id of the request that stored the object.
            says_hit=lambda fields: len(fields.get("X-Varnish", "").split()) == 2,
            version_flag="-V",
        ),
        # HAProxy adds nothing to a hit: the origin's count speaks for it.
        Server(
            "haproxy",
            "/usr/sbin/haproxy",
            lambda directory, config: ["-db", "-f", config],
            config="haproxy.cfg",
            version_flag="-v",
        ),
    )
}


class Running:
    """A started server in a scratch directory in memory; leaves nothing behind."""

    def __init__(self, server, memory="2G", port=HITS):
        self.server, self.memory, self.port = server, memory, port

    def __enter__(self):
        shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.directory = tempfile.mkdtemp(prefix="verge-bench-", dir=shm)
        os.chmod(self.directory, 0o755)
        argv = [self.server.binary, *self.server.arguments(self.directory, self._configure())]
        self.log = open(f"{self.directory}/output", "w+")
        self.process = machine.start(
            argv, machine.SERVER_CORE, stdout=self.log, stderr=subprocess.STDOUT, cwd=self.directory
        )
        try:
            wait_for_port(self.port, self.process)
        except Failure:
            self.log.seek(0)
            output = self.log.read().strip()
            self.__exit__()
            raise Failure(f"{self.server.name} did not start: {output[-400:]}") from None
        return self

    def __exit__(self, *_):
        machine.stop(self.process)
        self.log.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _configure(self):
        if not self.server.config:
            return None
        with open(f"{HERE}/{self.server.config}") as template:
            text = template.read()
        values = {
            "DIR": self.directory,
            "MEMORY": self.memory,
            "USER": "user root;" if os.geteuid() == 0 else "",
        }
        for name, value in values.items():
            text = text.replace(f"@{name}@", value)
        path = f"{self.directory}/{self.server.config}"
        with open(path, "w") as config:
            config.write(text)
        return path

    def cpu_seconds(self):
        return machine.cpu_seconds(self.process.pid)

    def resident_bytes(self):
        return machine.resident_bytes(self.process.pid)


def wait_for_port(port, process, patience_s=15):
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise Failure(f"nothing listens on port {port}")


def get(port, path):
    """One request on a connection of its own: status, fields, length of what came."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.headers, len(response.read())
    except (OSError, http.client.HTTPException) as error:
        raise Failure(f"GET {path} on port {port}: {error!r}") from error
    finally:
        connection.close()


class CountingOrigin:
    """What the caches are filled from: GET /<bytes>, fresh for a day. Its count proves that a hit was one."""

    def __init__(self):
        self.requests = 0

    def __enter__(self):
        origin = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                origin.requests += 1
                size = int(self.path.lstrip("/"))
                self.send_response(200)
                self.send_header("Content-Type", "application/octet-stream")
                self.send_header("Content-Length", str(size))
                self.send_header("Cache-Control", "max-age=86400")
                self.send_header("ETag", f'"{size}"')
                self.end_headers()
                self.wfile.write(b"x" * size)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", ORIGIN), Handler)
        # Caches reset the connections they no longer want; that is not worth a traceback.
        self.http.handle_error = lambda request, address: None
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()


class FloorOrigin:
    """The floor as an origin, on the load's core. Its counts are known once it has ended."""

    def __init__(self, port, *flags):
        self.port, self.flags, self.report = port, flags, ""

    def __enter__(self):
        argv = [FLOOR, "-p", str(self.port), *self.flags]
        self.process = machine.start(argv, machine.LOAD_CORE, stdout=subprocess.PIPE, text=True)
        wait_for_port(self.port, self.process)
        return self

    def __exit__(self, *_):
        machine.stop(self.process)
        self.report = self.process.stdout.read()
