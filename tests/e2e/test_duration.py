"""How long a response took: until the kernel had its last byte, which is never nothing."""

from harness import Reply, fresh, pattern


def durations(verge, count):
    lines = verge.log(count)
    assert [line["error"] for line in lines] == [None] * count
    return [(line["first_byte_ms"], line["duration_ms"]) for line in lines]


def test_a_hit_takes_time(origin, verge):
    origin.on("/", fresh(b"body"))
    connection = verge.client.connect()
    for _ in range(5):
        connection.request("GET", "/")
        assert connection.response().body == b"body"
    assert all(0 < first <= all_ms for first, all_ms in durations(verge, 5))


def test_all_kinds_of_ends(origin, verge):
    origin.on("/empty", fresh(b""))
    origin.on("/large", fresh(pattern(3_000_000)))
    origin.on("/chunked", Reply(body=b"abc", chunked=True, trailers={"X-T": "1"}))
    for path in ("/empty", "/large", "/chunked"):
        for method in ("GET", "GET", "HEAD"):
            assert verge.client.request(method, path).status == 200
    assert all(0 < first <= all_ms for first, all_ms in durations(verge, 9))


def test_the_histograms_have_them_too(origin, verge):
    origin.on("/", fresh(b"body"))
    verge.client.get("/")
    verge.log(1)
    names = ("verge_request_duration_seconds_sum", "verge_first_byte_seconds_sum")
    before = [verge.metric(name) for name in names]
    assert verge.client.get("/").hit
    verge.log(2)
    assert all(verge.metric(name) > was for name, was in zip(names, before))
