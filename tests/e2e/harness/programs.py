"""Programs that others wrote, as clients: how they are run, and a node whose certificate they can verify.

A module that imports the fixtures `certificate` and `node` has them.
"""

import subprocess

import pytest

from .util import DEADLINE_S

SITE = """
    cache { memory 64M; }
    origin app { server 127.0.0.1:$origin_port; }
    site * { listen 127.0.0.1:$port tls; certificate $directory/../ca.pem $directory/../ca.key;
             $site route * { origin app; } }
    admin { listen 127.0.0.1:$admin_port; }
    access_log $access_log json;
    $top
"""


def run(*command, limit_s=4 * DEADLINE_S, **options):
    """What the program printed, which must not have failed. Text, unless told otherwise."""
    options = {"text": True, **options}
    done = subprocess.run([str(word) for word in command], capture_output=True, timeout=limit_s,
                          stdin=subprocess.DEVNULL, **options)
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture
def certificate(tmp_path):
    """Its own issuer, as good as one can be that nobody has heard of."""
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-days", "90", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
        "-addext", "extendedKeyUsage=serverAuth", "-keyout", tmp_path / "ca.key",
        "-out", tmp_path / "ca.pem")
    return tmp_path / "ca.pem"


@pytest.fixture
def node(start, certificate):
    return start(config=SITE)


def url(node, path="/"):
    return f"https://localhost:{node.port}{path}"
