"""nginx as an origin: what a real one makes of a request."""

import subprocess

from .util import eventually, free_port

CONFIG = """\
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/t1;
    proxy_temp_path {folder}/t2;
    fastcgi_temp_path {folder}/t3;
    uwsgi_temp_path {folder}/t4;
    scgi_temp_path {folder}/t5;
    server {{ listen 127.0.0.1:{port}; {server} }}
}}
"""


class Nginx:
    """`server` is the inside of its one server block."""

    def __init__(self, folder, server):
        self.port = free_port()
        file = folder / "nginx.conf"
        file.write_text(CONFIG.format(folder=folder, port=self.port, server=server))
        self.process = subprocess.Popen(["nginx", "-p", str(folder), "-c", str(file)],
                                        stderr=subprocess.DEVNULL)
        eventually(lambda: (folder / "nginx.pid").exists(), "nginx runs")

    def stop(self):
        self.process.kill()
        self.process.wait()
