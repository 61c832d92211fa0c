"""Where HTTP/3 is spoken, clients of the other protocols over TLS are told (RFC 7838)."""

from harness import fresh


def told(response):
    return [value for name, value in response.fields if name.lower() == "alt-svc"]


def test_a_response_tells_of_http3(verge, protocol):
    expected = [f'h3=":{verge.port}"; ma=86400'] if protocol in ("h1-tls", "h2") else []
    assert told(verge.client.get("/")) == expected
    assert told(verge.client.get("/")) == expected


def test_what_the_origin_says_is_about_itself(origin, verge, protocol):
    origin.on("/", fresh(headers=[("Alt-Svc", 'h3=":1"; ma=1')]))
    if protocol in ("h1-tls", "h2"):
        assert told(verge.client.get("/")) == told(verge.client.get("/")) == [f'h3=":{verge.port}"; ma=86400']


def test_it_can_be_left_out(start):
    assert told(start(site="alt_svc off;").client.get("/")) == []
