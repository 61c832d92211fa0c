"""The demo origin (tools/origin.c), asked directly."""

import json
import os
import subprocess

import pytest

from harness import Client, Truncated, eventually, pattern
from harness.util import free_port
from harness.verge import ROOT

PROGRAM = os.environ.get("ORIGIN", str(ROOT / "build" / "origin"))


@pytest.fixture
def demo(tmp_path):
    (tmp_path / "a.txt").write_bytes(pattern(200_000))
    (tmp_path / "index.html").write_text("<p>index")
    port = free_port()
    process = subprocess.Popen(
        [PROGRAM, "--listen", f"127.0.0.1:{port}", "--root", str(tmp_path)])
    client = Client(port)

    def listens():
        try:
            return client.get("/counts").status == 200
        except ConnectionError:
            return False

    eventually(listens, "the demo origin listens")
    yield client
    client.close()
    process.terminate()
    assert process.wait(10) == 0


def test_files(demo):
    response = demo.get("/a.txt")
    assert response.body == pattern(200_000)
    assert response["Content-Type"].startswith("text/plain") and response["Last-Modified"]
    assert demo.get("/a.txt", {"If-None-Match": response["ETag"]}).status == 304
    part = demo.get("/a.txt", {"Range": "bytes=1000-1999"})
    assert (part.status, part.body) == (206, pattern(1000, 1000))
    assert demo.get("/a.txt", method="HEAD")["Content-Length"] == "200000"
    assert demo.get("/").body == b"<p>index"


@pytest.mark.parametrize("path", ["/none", "/../a.txt", "/%2e%2e/a.txt", "//etc/passwd", "/a.txt/x"])
def test_nothing_beside_the_root(demo, path):
    assert demo.get(path).status == 404


def test_what_the_query_says(demo):
    response = demo.get('/r?status=404&body=a%20b&header=Cache-Control:%20max-age=60&etag="x"&vary=A')
    assert (response.status, response.body) == (404, b"a b")
    assert [response[n] for n in ("Cache-Control", "ETag", "Vary")] == ["max-age=60", '"x"', "A"]


@pytest.mark.parametrize("size", [0, 1, 100_000, 2_000_000])
@pytest.mark.parametrize("chunked", [0, 1])
def test_a_pattern_of_any_size(demo, size, chunked):
    response = demo.get(f"/r?size={size}&chunked={chunked}&trailer=X-T:%201")
    assert response.body == pattern(size)
    assert bool(response.trailers) == bool(chunked)


@pytest.mark.parametrize("query", ["cut=0", "cut=500", "cut=500&rst=1", "cut=500&chunked=1", "length=2000",
                                   "cut=1000&chunked=1", "drop=1"])
def test_an_end_too_early(demo, query):
    with pytest.raises(Truncated):
        demo.get(f"/r?size=1000&{query}")


def test_echo(demo):
    told = json.loads(demo.request("PUT", "/echo?a", {"X-Mine": 'a"b'}, body=[b"hel", b"lo"]).body)
    assert (told["method"], told["target"]) == ("PUT", "/echo?a")
    assert ["X-Mine", 'a"b'] in told["fields"]
    assert (told["body_length"], told["body_fnv1a"]) == (5, "a430d84680aabd0b")


def test_counts(demo):
    for _ in range(3):
        demo.get("/r?size=1&a=b")
    assert json.loads(demo.get("/count?url=/r?size=1%26a=b").body) == {"count": 3}
    assert json.loads(demo.get("/counts").body) == {"total": 3, "urls": {"/r?size=1&a=b": 3}}


def test_a_field_cannot_be_used_to_split_the_response(demo):
    assert demo.get("/r?header=A:%200%0d%0aB:%201").status == 400
