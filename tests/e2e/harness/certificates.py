"""Certificates for tests: by themselves, or by an authority of the test's own."""

import subprocess
from datetime import datetime, timedelta, timezone

P256 = ("ec", "-pkeyopt", "ec_paramgen_curve:P-256")
RSA = ("rsa:2048",)


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


class Certificate:
    """NAME.pem and NAME.key in a directory."""

    def __init__(self, directory, name):
        self.pem, self.key = directory / f"{name}.pem", directory / f"{name}.key"
        self.request = directory / f"{name}.csr"

    @property
    def pair(self):
        """As the directives want it."""
        return f"{self.pem} {self.key}"


def self_signed(directory, name, host, key=P256):
    """Also what an authority is."""
    made = Certificate(directory, name)
    openssl("req", "-x509", "-newkey", *key, "-nodes", "-days", 2, "-subj", f"/CN={host}",
            "-addext", f"subjectAltName=DNS:{host}", "-keyout", made.key, "-out", made.pem)
    return made


# What `openssl ca` wants to be told; only it can make a certificate that has expired, in every version.
AUTHORITY = """
[ca]
default_ca = own
[own]
database = {directory}/{name}.issued
new_certs_dir = {directory}
rand_serial = yes
unique_subject = no
default_md = sha256
copy_extensions = copy
policy = any
[any]
commonName = supplied
"""


class Authority:
    def __init__(self, directory, name="authority"):
        self.directory, self.own = directory, self_signed(directory, name, "authority.example")
        self.settings = directory / f"{name}.conf"
        self.settings.write_text(AUTHORITY.format(directory=directory, name=name))
        (directory / f"{name}.issued").touch()

    @property
    def pem(self):
        return self.own.pem

    def issue(self, name, names, days=2):
        """names as in subjectAltName: DNS:a.example,IP:127.0.0.1. With -1 days it has expired."""
        made = Certificate(self.directory, name)
        openssl("req", "-new", "-newkey", *P256, "-nodes", "-subj", f"/CN={name}",
                "-addext", f"subjectAltName={names}", "-keyout", made.key, "-out", made.request)
        end = datetime.now(timezone.utc) + timedelta(days)
        begin = end - timedelta(abs(days) + 1)
        openssl("ca", "-batch", "-notext", "-config", self.settings, "-cert", self.own.pem,
                "-keyfile", self.own.key, "-in", made.request, "-startdate", f"{begin:%Y%m%d%H%M%SZ}",
                "-enddate", f"{end:%Y%m%d%H%M%SZ}", "-out", made.pem)
        return made
