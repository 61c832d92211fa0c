"""The two origins: one that counts, in this process, and one that is fast, the floor."""

import email.utils
import functools
import json
import socketserver
import subprocess
import threading

import machine
from running import wait_for_free_port, wait_for_port
from servers import FLOOR, ORIGIN


@functools.cache
def answer(size):
    return (
        "HTTP/1.1 200 OK\r\n"
        "Content-Type: application/octet-stream\r\n"
        f"Content-Length: {size}\r\n"
        f"Date: {email.utils.formatdate(usegmt=True)}\r\n"
        "Cache-Control: max-age=86400\r\n"
        f'ETag: "{size}"\r\n\r\n'
    ).encode() + b"x" * size


class CountingOrigin:
    """What the caches are filled from: GET /<bytes>, fresh for a day; a query makes it another.

    It counts, which is what proves a hit: whatever a server says, the origin was not asked.
    """

    def __init__(self):
        self.requests = 0

    def __enter__(self):
        origin = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                while line := self.rfile.readline():
                    while self.rfile.readline() not in (b"\r\n", b""):
                        pass
                    origin.requests += 1
                    path = line.split()[1].partition(b"?")[0]
                    self.wfile.write(answer(int(path.lstrip(b"/"))))

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = daemon_threads = True
            request_queue_size = 1024  # a cache that is filled connects often, and at once

        self.server = Server(("127.0.0.1", ORIGIN), Handler)
        # Caches reset the connections they no longer want; that is not worth a traceback.
        self.server.handle_error = lambda request, address: None
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class FloorOrigin:
    """The floor as an origin, on the load's core. `answered` has its counts once it has ended."""

    def __init__(self, port, *flags):
        self.port, self.flags, self.answered = port, flags, {}

    def __enter__(self):
        wait_for_free_port(self.port)
        argv = [FLOOR, "-p", str(self.port), *self.flags]
        self.process = machine.start(argv, machine.LOAD_CORE, stdout=subprocess.PIPE, text=True)
        wait_for_port(self.port, self.process)
        return self

    def __exit__(self, *_):
        machine.stop(self.process)
        self.answered = json.loads(self.process.stdout.read() or "{}")
