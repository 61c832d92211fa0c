"""Servers and load generators as processes: started, waited for, asked, gone without a trace."""

import http.client
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

import machine
from servers import FLOOR, H2LOAD, HANDSHAKE, HERE, LOAD, ROOT


class Failure(Exception):
    """A server that does not start or answers wrongly: its figure would mean nothing."""


def require_programs():
    for program in (FLOOR, LOAD, HANDSHAKE, H2LOAD):
        if not os.access(program, os.X_OK):
            sys.exit(f"bench: there is no {program}; `make bench` builds it")


class Running:
    """A started server in a scratch directory in memory, or with `disk` on the disk, where its
    cache may have that much; leaves nothing behind.
    """

    def __init__(self, server, memory="2G", disk=None):
        self.server, self.memory, self.disk, self.port = server, memory, disk, server.port

    def __enter__(self):
        wait_for_free_port(self.port)
        self.directory = tempfile.mkdtemp(prefix="verge-bench-", dir=self._place())
        os.chmod(self.directory, 0o755)
        make_certificate(self.directory)
        if self.server.files:
            make_files(f"{self.directory}/www")
        arguments = [word.format(**self._named()) for word in self.server.arguments.split()]
        self.log = open(f"{self.directory}/output", "w+")
        self.process = machine.start(
            [self.server.binary, *arguments],
            machine.SERVER_CORE,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            cwd=self.directory,
            env={**os.environ, "HOME": self.directory, "GOMAXPROCS": "1"},
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

    def _place(self):
        if self.disk:
            return f"{ROOT}/build"
        return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None

    def _named(self):
        file = f"file,{self.directory}/storage,{self.disk}"
        return {
            "dir": self.directory,
            "config": self._configure(),
            "storage": file if self.disk else f"malloc,{self.memory}",
        }

    def _configure(self):
        if not self.server.config:
            return None
        with open(f"{HERE}/{self.server.config}") as template:
            text = template.read()
        values = {
            "DIR": self.directory,
            "MEMORY": self.memory,
            "DISK": f"disk {self.directory}/cache {self.disk};" if self.disk else "",
            "SIZE": self.disk or self.memory,
            "OPEN_FILES": "12000" if self.disk else "2000",
            **self.server.values,
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


def make_certificate(directory):
    """ECDSA P-256, its own issuer."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-days", "90", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-keyout", f"{directory}/key.pem", "-out", f"{directory}/cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    with open(f"{directory}/pair.pem", "w") as pair:
        for name in ("cert.pem", "key.pem"):
            with open(f"{directory}/{name}") as part:
                pair.write(part.read())
    os.chmod(f"{directory}/key.pem", 0o644)  # for a server that changes its user


def make_files(directory):
    """What the origin answers, as files."""
    os.mkdir(directory)
    for size in (100, *(1 << shift for shift in range(10, 25)), 10 << 10, 100 << 10):
        with open(f"{directory}/{size}", "wb") as file:
            file.write(b"x" * size)


def somebody_listens(port):
    with open("/proc/net/udp") as sockets:
        if f":{port:04X} 00000000:0000" in sockets.read():
            return True
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


def wait_for_port(port, process, patience_s=15):
    deadline = time.monotonic() + patience_s
    while not somebody_listens(port):
        if time.monotonic() > deadline or process.poll() is not None:
            raise Failure(f"nothing listens on port {port}")
        time.sleep(0.05)


def wait_for_free_port(port, patience_s=10):
    """A ring keeps its listener for a moment after its process has ended; nobody must ask there."""
    deadline = time.monotonic() + patience_s
    while somebody_listens(port):
        if time.monotonic() > deadline:
            raise Failure(f"port {port} is taken")
        time.sleep(0.05)


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


def run_load(argv):
    """Runs a load generator on its core to its end; returns what it printed."""
    process = machine.start(
        argv, machine.LOAD_CORE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    stdout, stderr = process.communicate()
    if process.returncode or not stdout:
        raise Failure(f"{argv[0]} failed: {stderr.strip()}")
    return stdout, stderr.strip()
