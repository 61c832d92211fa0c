"""A browser loads a page: markup, style sheet and script, and the script must have run."""

import base64
import hashlib
import json

import pytest

from harness import Reply
from harness.programs import certificate, node, run, url  # noqa: F401 (fixtures)

PAGE = b"""<!doctype html><title>page</title><link rel="stylesheet" href="/style.css">
<p id="text">nothing ran</p><script src="/script.js"></script>"""
SCRIPT = b"document.getElementById('text').textContent = 'the script ran'"


def key_hash(certificate):
    """What the browser is told to trust: the hash of the public key."""
    pem = run("openssl", "x509", "-in", certificate, "-pubkey", "-noout")
    body = "".join(pem.splitlines()[1:-1])
    return base64.b64encode(hashlib.sha256(base64.b64decode(body)).digest()).decode()


def browse(node, certificate, directory, *options):
    """The page as it is after its scripts, and the events of the browser's network log."""
    log = directory / "net.json"
    page = run(
        "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--no-first-run", "--disable-background-networking", "--disable-component-update",
        f"--user-data-dir={directory}/profile", f"--log-net-log={log}",
        "--host-resolver-rules=MAP localhost 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        f"--ignore-certificate-errors-spki-list={key_hash(certificate)}", *options,
        "--dump-dom", url(node, "/page"))
    return page, events_of(json.loads(log.read_text()))


def events_of(log):
    names = {number: name for name, number in log["constants"]["logEventTypes"].items()}
    return [(names[event["type"]], event.get("params") or {}) for event in log["events"]]


def paths_sent(events, name):
    """The paths of all requests that were sent in events of this name."""
    return {field.partition(" ")[2] for event, params in events if event == name
            for field in params.get("headers", ()) if field.startswith(":path: ")}


@pytest.mark.parametrize("protocol_spoken, event, option", [
    ("HTTP/2.0", "HTTP2_SESSION_SEND_HEADERS", "--disable-quic"),
    ("HTTP/3.0", "HTTP3_HEADERS_SENT", "--origin-to-force-quic-on=localhost:{port}"),
])
def test_chromium_loads_a_page(origin, node, certificate, tmp_path, protocol_spoken, event, option):
    for path, kind, body in (("/page", "text/html", PAGE), ("/script.js", "text/javascript", SCRIPT),
                             ("/style.css", "text/css", b"p { color: green }")):
        origin.on(path, Reply(headers=[("Content-Type", kind), ("Cache-Control", "max-age=60")], body=body))
    page, events = browse(node, certificate, tmp_path, option.format(port=node.port))
    assert "the script ran" in page
    assert {"/page", "/script.js", "/style.css"} <= paths_sent(events, event)
    assert {line["protocol"] for line in node.log(3)} == {protocol_spoken}
