"""The servers that are measured: how each is started, and how each tells that it answered from its
cache.

All of them listen on the same ports, one at a time: HITS and, with TLS, SECURE before an origin whose
answers they keep, MISSES before one whose answers nobody may keep. A server is one entry in SERVERS
and a configuration file beside this one. Those that have no cache serve files, from memory.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from email.message import Message
from typing import Callable

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
BUILD = os.environ.get("VERGE_BENCH_BUILD", f"{ROOT}/build/bench")
VERGE = os.environ.get("VERGE", f"{ROOT}/build/verge")
FLOOR = f"{BUILD}/floor"
LOAD = f"{BUILD}/load"
HANDSHAKE = f"{BUILD}/handshake"
H2LOAD = f"{ROOT}/build/tools/h2load"
BSSLSERVER = f"{ROOT}/build/tools/bsslserver"

ORIGIN, PASS_ORIGIN, HITS, MISSES, SECURE = 19000, 19001, 19080, 19081, 19443

PLAIN = ("hits", "misses")
WITH_H2 = ("h1-tls", "h2", "handshakes", "idle")


@dataclass
class Server:
    name: str
    binary: str
    arguments: str  # {dir}: its scratch directory, which has cert.pem, key.pem and both in pair.pem;
    # {config}: its file; {memory}: the cache's size;
    # {storage}: where Varnish keeps it
    config: str | None = None  # template beside this file
    values: dict = field(default_factory=dict)  # for the template
    tables: tuple = PLAIN + WITH_H2
    port: int = HITS  # where it listens when it is ready
    files: bool = False  # it wants them in {dir}/www
    says_hit: Callable[[Message], bool] = lambda fields: True
    version_flag: str | None = None

    def installed(self):
        return shutil.which(self.binary) is not None

    def version(self):
        if not self.version_flag:
            return ""
        said = subprocess.run([self.binary, self.version_flag], capture_output=True, text=True)
        number = re.search(r"\d+\.\d+(\.\d+)?", said.stdout + said.stderr)
        return number[0] if number else ""


def _nginx(name, sendfile, **more):
    return Server(
        name,
        "/usr/sbin/nginx",
        "-p {dir} -c {config} -e {dir}/error.log",
        config="nginx.conf",
        values={"SENDFILE": sendfile, "USER": "user root;" if os.geteuid() == 0 else ""},
        says_hit=lambda fields: fields.get("X-Cache") == "HIT",
        version_flag="-v",
        **more,
    )


def _haproxy(name, buffer_bytes, **more):
    # It adds nothing to a hit: the origin's count speaks for it.
    return Server(
        name,
        "/usr/sbin/haproxy",
        "-db -f {config}",
        config="haproxy.cfg",
        values={"BUFFER_BYTES": str(buffer_bytes)},
        version_flag="-v",
        **more,
    )


# Varnish's log in shared memory is its access log, and takes a fifth of a small hit: off, as
# everybody's is.
VARNISH_LOG = """
    Begin End Link Timestamp SessOpen SessClose Hit HitPass HitMiss TTL Storage Length Filters
    ReqStart ReqMethod ReqURL ReqProtocol ReqHeader ReqUnset ReqAcct
    RespProtocol RespStatus RespReason RespHeader
    BereqMethod BereqURL BereqProtocol BereqHeader BereqUnset BereqAcct
    BerespProtocol BerespStatus BerespReason BerespHeader
    BackendOpen BackendReuse BackendClose Fetch_Body VCL_call VCL_return VCL_use
""".split()


# Threads enough for every connection from the start, in one pool as there is one core.
VARNISH_ARGUMENTS = (
    f"-F -n {{dir}}/work -f {{config}} -s {{storage}} -j none"
    f" -a hits=127.0.0.1:{HITS} -a misses=127.0.0.1:{MISSES}"
    f" -p thread_pools=1 -p thread_pool_min=200 -p thread_pool_max=2000"
    f" -p vsl_mask={','.join(f'-{tag}' for tag in VARNISH_LOG)}"
)


SERVERS = {
    server.name: server
    for server in (
        Server(
            "verge",
            VERGE,
            "run -c {config}",
            config="verge.conf",
            tables=PLAIN + WITH_H2 + ("h3", "disk"),
            says_hit=lambda fields: re.search(r";\s*hit\b", fields.get("Cache-Status", "")),
        ),
        Server(
            "floor",
            FLOOR,
            f"-p {HITS} -s {SECURE} -c {{dir}}/cert.pem -k {{dir}}/key.pem",
            tables=("hits", "h1-tls", "handshakes", "idle"),
        ),
        _nginx("nginx", sendfile="off", tables=PLAIN + WITH_H2 + ("disk",)),
        _nginx("nginx-sendfile", sendfile="on", tables=("hits", "disk")),
        Server(
            "varnish",
            "/usr/sbin/varnishd",
            VARNISH_ARGUMENTS,
            config="varnish.vcl",
            tables=PLAIN + ("disk",),
            # Its own request's id, and on a hit the id of the request that stored the object.
            says_hit=lambda fields: len(fields.get("X-Varnish", "").split()) == 2,
            version_flag="-V",
        ),
        _haproxy("haproxy", buffer_bytes=16384),
        _haproxy("haproxy-64k", buffer_bytes=65536, tables=PLAIN + ("h1-tls", "h2")),
        Server(
            "h2o",
            "/usr/bin/h2o",
            "-c {config}",
            config="h2o.conf",
            tables=WITH_H2,
            port=SECURE,
            files=True,
            version_flag="-v",
        ),
        Server(
            "caddy",
            "/usr/bin/caddy",
            "run --config {config} --adapter caddyfile",
            config="Caddyfile",
            tables=WITH_H2 + ("h3",),
            port=SECURE,
            files=True,
            version_flag="version",
        ),
        Server(
            "ngtcp2",
            BSSLSERVER,
            f"-q --no-quic-dump --no-http-dump --groups=X25519 -d {{dir}}/www"
            f" 127.0.0.1 {SECURE} {{dir}}/key.pem {{dir}}/cert.pem",
            tables=("h3",),
            port=SECURE,
            files=True,
        ),
    )
}
