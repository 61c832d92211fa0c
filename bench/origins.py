"""The two origins: one that counts, in this process, and one that is fast, the floor."""

import json
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import machine
from running import wait_for_free_port, wait_for_port
from servers import FLOOR, ORIGIN


class CountingOrigin:
    """What the caches are filled from: GET /<bytes>, fresh for a day.

    It counts, which is what proves a hit: whatever a server says, the origin was not asked.
    """

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
