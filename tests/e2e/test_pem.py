"""Files with certificates and keys: whatever is wrong with one is told when the configuration is read."""

import subprocess

import pytest

from harness import fresh
from harness.certificates import RSA, Authority, openssl, self_signed
from harness.verge import PROGRAM

from test_tls import connect, get

CONFIG = """
origin app {{ server 127.0.0.1:1; {origin} }}
site {host} {{ listen 127.0.0.1:1080{tls}; {site} route * {{ origin app; }} }}
"""


class Files:
    """Certificates, and what can be made of them."""

    def __init__(self, directory):
        self.directory = directory
        self.root = Authority(directory)
        self.leaf = self.root.issue("leaf", "DNS:a.example,DNS:*.b.example")
        self.other = self_signed(directory, "other", "a.example")
        self.pem, self.key = self.leaf.pem.read_text(), self.leaf.key.read_text()
        self.root_pem, self.root_key = self.root.pem.read_text(), self.root.own.key.read_text()

    def write(self, name, text):
        path = self.directory / name
        path.write_text(text)
        return path

    def check(self, host="a.example", **lines):
        config = CONFIG.format(host=host, tls=" tls" if "site" in lines else "",
                               origin=lines.get("origin", ""), site=lines.get("site", ""))
        file = self.write("verge.conf", config)
        return subprocess.run([PROGRAM, "check", file], capture_output=True, text=True)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return Files(tmp_path_factory.mktemp("pem"))


def cut(text):
    return text[:len(text) // 2] + "\n"


def line_of(text):
    """The line that comes behind it."""
    return text.count("\n") + 1


# What is read as certificates: what it is made of, and what is told.
CERTIFICATES = {
    "cut in its second block": lambda f: (f.pem + cut(f.root_pem), f"is cut: the block that begins in line {line_of(f.pem)} has no end"),
    "cut in its only block": lambda f: (cut(f.pem), "is cut: the block that begins in line 1 has no end"),
    "cut and joined": lambda f: (cut(f.pem) + f.root_pem, "is cut: the block that begins in line 1 has no end"),
    "no certificate in the second block":
        lambda f: (f.pem + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", f"has a block in line {line_of(f.pem)} that is no certificate"),
    "an empty block": lambda f: (f.pem + "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", "is not whole"),
    "garbage behind the leaf": lambda f: (f.pem + "garbage\n", f"has something behind its last block, in line {line_of(f.pem)}"),
    "a second block without its first line":
        lambda f: (f.pem + f.root_pem.partition("\n")[2], f"has a piece of a block in line {line_of(f.pem)}, without its beginning"),
    "garbage within": lambda f: (f.pem.replace("\n", "\n!!\n", 1), "has something else than base64 in line 2"),
    "a block of another kind": lambda f: (f.pem.replace("CERTIFICATE", "CERTIFICATE REQUEST"), "neither certificate nor key"),
    "only a key": lambda f: (f.key, "has a private key and no certificate"),
    "nothing": lambda f: ("", "has no PEM certificate"),
    "text alone": lambda f: ("hello\n", "has no PEM certificate"),
}
DIRECTIVES = {
    "certificate": lambda f, path: {"site": f"certificate {path} {f.leaf.key};"},
    "client_ca": lambda f, path: {"site": f"certificate self_signed; client_ca {path};"},
    "tls_ca": lambda f, path: {"origin": f"tls on; tls_ca {path};"},
    "tls_certificate": lambda f, path: {"origin": f"tls on; tls_certificate {path} {f.leaf.key};"},
}


@pytest.mark.parametrize("directive", DIRECTIVES)
@pytest.mark.parametrize("fault", CERTIFICATES)
def test_what_is_wrong_with_certificates_is_told(files, fault, directive):
    text, told = CERTIFICATES[fault](files)
    path = files.write("wrong.pem", text)
    done = files.check(**DIRECTIVES[directive](files, path))
    assert done.returncode == 2 and f'"{path}" ' in done.stderr and told in done.stderr, done.stderr


@pytest.mark.parametrize("directive", DIRECTIVES)
def test_a_file_that_is_not_there(files, directive):
    done = files.check(**DIRECTIVES[directive](files, "missing.pem"))
    assert done.returncode == 2 and '"missing.pem" cannot be read: No such file' in done.stderr


@pytest.mark.parametrize("directive", DIRECTIVES)
def test_what_is_sound_is_taken(files, directive):
    """Text before a block, keys and parameters beside certificates, and any ends of lines."""
    path = files.write("sound.pem", "# the leaf\n" + files.key + "\n" + files.pem.replace("\n", "\r\n") + "\nthe root:\n" + files.root_pem + "\n\n")
    done = files.check(**DIRECTIVES[directive](files, path))
    assert (done.returncode, done.stderr) == (0, "")


def encrypted(files, *how):
    openssl("pkey", "-in", files.leaf.key, "-aes128", "-passout", "pass:x", "-out", files.directory / "encrypted.key", *how)
    return (files.directory / "encrypted.key").read_text()


KEYS = {
    "encrypted": lambda f: (encrypted(f), "has an encrypted key in line 1"),
    "encrypted in the old way": lambda f: (encrypted(f, "-traditional"), "has an encrypted key in line 1"),
    "cut": lambda f: (cut(f.key), "is cut: the block that begins in line 1 has no end"),
    "no key": lambda f: ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "has a block in line 1 that is no private key"),
    "two": lambda f: (f.key + f.root_key, f"has a second private key in line {line_of(f.key)}"),
    "a certificate": lambda f: (f.pem, "has a certificate and no private key"),
    "nothing": lambda f: ("", "has no PEM private key"),
}


@pytest.mark.parametrize("where", ["site", "origin"])
@pytest.mark.parametrize("fault", KEYS)
def test_what_is_wrong_with_a_key_is_told(files, fault, where):
    text, told = KEYS[fault](files)
    path = files.write("wrong.key", text)
    lines = {"site": f"certificate {files.leaf.pem} {path};", "origin": f"tls on; tls_certificate {files.leaf.pem} {path};"}
    done = files.check(**{where: lines[where]})
    assert done.returncode == 2 and f'"{path}", that {told}' in done.stderr, done.stderr


def test_files_that_do_not_belong_together(files):
    swapped = files.check(site=f"certificate {files.leaf.key} {files.leaf.pem};")
    assert swapped.returncode == 2 and "has a private key and no certificate" in swapped.stderr
    foreign = files.check(site=f"certificate {files.leaf.pem} {files.other.key};")
    assert foreign.returncode == 2 and "does not belong to the key" in foreign.stderr


def test_a_chain_in_the_wrong_order(files):
    first = files.write("order.pem", files.root_pem + files.pem)
    done = files.check(site=f"certificate {first} {files.leaf.key};")
    assert done.returncode == 2 and "number 2 in it, and has to be the first" in done.stderr
    stranger = files.write("stranger.pem", files.pem + files.other.pem.read_text() + files.root_pem)
    done = files.check(site=f"certificate {stranger} {files.leaf.key};")
    assert done.returncode == 2 and "number 1 in it is not by number 2" in done.stderr


@pytest.mark.parametrize("host, told", [
    ("a.example", None), ("x.b.example", None), ("*.b.example", None), ("*", None),
    ("c.example", "is not for c.example"), ("*.example", "is not for *.example"),
    ("a.example c.example", "is not for c.example")])
def test_a_certificate_for_other_names_is_a_warning(files, host, told):
    done = files.check(host=host, site=f"certificate {files.leaf.pem} {files.leaf.key};")
    assert done.returncode == 0
    assert told in done.stderr if told else done.stderr == ""


@pytest.mark.parametrize("where", ["site", "origin"])
def test_a_certificate_that_has_expired_is_a_warning(files, where):
    old = files.root.issue("old", "DNS:a.example", days=-1)
    done = files.check(**{where: f"certificate {old.pair};" if where == "site" else f"tls on; tls_certificate {old.pair};"})
    assert done.returncode == 0 and "has expired" in done.stderr


@pytest.mark.parametrize("key", [None, RSA], ids=["ECDSA", "RSA"])
def test_one_file_for_both(origin, start, tmp_path, key):
    origin.on("/", fresh(b"body"))
    made = self_signed(tmp_path, "a", "a.example", *([key] if key else []))
    both = tmp_path / "both.pem"
    both.write_text(made.key.read_text() + made.pem.read_text())
    node = start(config="""
        origin app { server 127.0.0.1:$origin_port; }
        site a.example { listen 127.0.0.1:$port tls; certificate $both; route * { origin app; } }
        admin { listen 127.0.0.1:$admin_port; }
    """, both=both)
    with connect(node) as sock:
        assert get(sock)[1] == b"body"


def test_a_reload_keeps_what_was_right(origin, start, tmp_path):
    origin.on("/", fresh(b"body"))
    made = self_signed(tmp_path, "a", "a.example")
    node = start(config="""
        origin app { server 127.0.0.1:$origin_port; }
        site a.example { listen 127.0.0.1:$port tls; certificate $pair; route * { origin app; } }
        admin { listen 127.0.0.1:$admin_port; }
    """, pair=made.pair)
    made.pem.write_text(made.pem.read_text() + "garbage\n")
    node.reload()
    assert "behind its last block" in node.error_log.read_text()
    with connect(node) as sock:
        assert get(sock)[1] == b"body"
