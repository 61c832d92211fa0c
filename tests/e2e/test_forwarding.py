"""What is added, removed and left alone between client and origin."""

import pytest

from harness import Reply, fresh
from harness.util import free_port

TRUSTED = {"top": "trusted_proxy 127.0.0.0/8;"}
HOP_BY_HOP = [("Connection", "X-Mine, keep-alive"), ("X-Mine", "1"), ("Keep-Alive", "timeout=5"),
              ("Proxy-Connection", "keep-alive"), ("Proxy-Authorization", "Basic eA=="),
              ("TE", "trailers"), ("Upgrade", "x")]
REMOVED = {"x-mine", "keep-alive", "proxy-connection", "upgrade"}


@pytest.mark.http1
def test_hop_by_hop_fields_of_a_request_stay_here(origin, client):
    client.get("/", HOP_BY_HOP + [("X-Other", "2")])
    names = origin.last().fields.names()
    assert not REMOVED & names and "x-other" in names


def test_hop_by_hop_fields_of_a_response_stay_here(origin, client):
    origin.on("/", Reply(headers=HOP_BY_HOP[:4] + [("X-Other", "2")]))
    names = client.get("/").fields.names()
    assert not REMOVED & names and "x-other" in names


@pytest.mark.http1
def test_connection_cannot_name_away_what_counts(origin, client):
    headers = [("Connection", "Host, X-Forwarded-For, Via, Authorization"), ("Authorization", "x")]
    client.get("/", headers)
    request = origin.last()
    assert request["Host"] == "test.example"
    assert request["X-Forwarded-For"] == "127.0.0.1" and request["Via"]


def test_via_both_ways(origin, client, protocol):
    origin.on("/", Reply(headers={"Via": "1.0 inner"}))
    response = client.get("/", {"Via": "1.0 outer"})
    version = {"h2": "2.0", "h3": "3.0"}.get(protocol, "1.1")
    assert origin.last()["Via"] == f"1.0 outer, {version} verge"
    assert response["Via"] == "1.0 inner, 1.1 verge"


def test_who_asked_is_told(origin, client, scheme):
    client.get("/", {"Host": "shop.example:8080"})
    request = origin.last()
    assert request["Host"] == "shop.example:8080"
    assert request["X-Forwarded-For"] == "127.0.0.1"
    assert request["X-Forwarded-Proto"] == scheme
    assert request["X-Forwarded-Host"] == "shop.example:8080"
    forwarded = request["Forwarded"]
    assert "for=127.0.0.1" in forwarded and f"proto={scheme};" in forwarded + ";"
    assert 'host="shop.example:8080"' in forwarded


SPOOFED_MORE = {"X-Forwarded-Port": "666", "X-Forwarded-Prefix": "/evil"}
SPOOFED = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "gopher",
           "X-Forwarded-Host": "evil.example", "Forwarded": "for=6.6.6.6"}


def test_what_a_stranger_claims_is_replaced(origin, client, scheme):
    client.get("/", {**SPOOFED, **SPOOFED_MORE})
    request = origin.last()
    assert not {name.lower() for name in SPOOFED_MORE} & request.fields.names()
    for name in SPOOFED:
        assert len(request.fields.all(name)) == 1
        assert "6.6.6.6" not in request[name] and "evil" not in request[name]
    assert request["X-Forwarded-Proto"] == scheme


def test_what_a_trusted_proxy_says_is_added_to(origin, start):
    start(**TRUSTED).client.get("/", {**SPOOFED, "X-Forwarded-Proto": "https"})
    request = origin.last()
    assert request["X-Forwarded-For"] == "6.6.6.6, 127.0.0.1"
    assert request["X-Forwarded-Proto"] == "https"
    assert request["X-Forwarded-Host"] == "evil.example"
    assert request["Forwarded"].startswith("for=6.6.6.6, ") and "for=127.0.0.1" in request["Forwarded"]


@pytest.mark.http1
def test_absolute_form_goes_before_host(origin, client, scheme):
    origin.on("/a", Reply(body=b"x"))
    response, _ = client.raw(f"GET {scheme}://one.example/a?b HTTP/1.1\r\nHost: two.example\r\n\r\n")
    assert response.body == b"x"
    assert (origin.last().target, origin.last()["Host"]) == ("/a?b", "one.example")


@pytest.mark.http1
def test_absolute_form_without_a_path(origin, client, scheme):
    origin.on("/", Reply(body=b"x"))
    response, _ = client.raw(f"GET {scheme}://one.example HTTP/1.1\r\nHost: one.example\r\n\r\n")
    assert response.body == b"x" and origin.last().target == "/"


@pytest.mark.parametrize("target", ["/a//b", "/..a/b", "/a%2F..%2Fb", "/a%00b", "/a;b=c", "/?", "/a?b?c",
                                    "/a?b=%zz", "//host/path", "/a|b", "/caf%C3%A9"])
def test_a_target_is_not_touched(origin, client, target):
    client.get(target)
    assert origin.last().target == target


def test_a_loop_is_found(origin, start):
    """A node whose origin is itself."""
    config = """
        origin app { server 127.0.0.1:$inner_port; keepalive 0; }
        site * { listen 127.0.0.1:$port; listen 127.0.0.1:$inner_port; route * { origin app; } }
        admin { listen 127.0.0.1:$admin_port; }"""
    assert start(config=config, inner_port=free_port()).client.get("/").status == 508


def test_header_rules(origin, start):
    client = start(
        site="response_header set X-Frame-Options DENY; request_header add X-Edge one;",
        route="response_header remove Server; response_header add X-Extra 1;"
              "request_header set User-Agent verge; request_header remove Cookie;").client
    origin.on("/", fresh(headers={"Server": "secret/1.0", "X-Frame-Options": "ALLOW"}))
    for response in (client.get("/", {"Cookie": "a=b", "User-Agent": "curl"}), client.get("/")):
        assert response.fields.all("X-Frame-Options") == ["DENY"]
        assert response["X-Extra"] == "1" and "Server" not in response.fields
    request = origin.last()
    assert request["X-Edge"] == "one" and request["User-Agent"] == "verge"
    assert "Cookie" not in request.fields


def test_the_host_may_be_given(origin, start):
    start(origin="host inner.example;").client.get("/", {"Host": "outer.example"})
    assert origin.last()["Host"] == "inner.example"
    assert origin.last()["X-Forwarded-Host"] == "outer.example"


def test_what_a_trusted_proxy_says_of_the_host_is_in_the_key(origin, start):
    client = start(**TRUSTED).client
    origin.on("/", lambda x: x.reply(fresh(x.request["X-Forwarded-Host"].encode())))
    for host in ("a.example", "b.example"):
        for hit in (False, True):
            response = client.get("/", {"X-Forwarded-Host": host})
            assert (response.body, bool(response.hit)) == (host.encode(), hit)


@pytest.mark.parametrize("told", ["foo", "https, http", "HTTPS"])
def test_a_scheme_nobody_knows_is_not_passed_on(origin, start, scheme, told):
    start(**TRUSTED).client.get("/", {"X-Forwarded-Proto": told})
    assert origin.last()["X-Forwarded-Proto"] == ("https" if told == "HTTPS" else scheme)


# What only proxies may say, as strangers say it. The first are the node's own words.
OWN = {"x-forwarded-for": "6.6.6.6", "forwarded": "for=6.6.6.6", "client-cert": ":YQ==:"}
CLAIMED = {"proxy": "6.6.6.6", "x-original-url": "/admin", "x-rewrite-url": "/admin", "x-forwarded": "6.6.6.6",
           "true-client-ip": "6.6.6.6", "x-http-method-override": "DELETE", "x-forwarded-port": "1"}
UNDERSCORED = {"x_forwarded_for": "6.6.6.6", "x-forwarded_for": "6.6.6.6", "client_cert": "6.6.6.6",
               "transfer_encoding": "6.6.6.6"}
PLAIN = {"x-plain": "1", "grpc-status": "0"}


def ask_with_trailers(client, head, trailers):
    client.request("POST", "/", {**head}, [b"abc"], list(trailers.items()))


def test_what_a_stranger_may_not_say_goes_no_further(origin, client):
    ask_with_trailers(client, {**CLAIMED, **UNDERSCORED, **PLAIN}, {**OWN, **CLAIMED, **UNDERSCORED, **PLAIN})
    request = origin.last()
    assert not (CLAIMED | UNDERSCORED).keys() & request.fields.names()
    assert PLAIN.keys() <= request.fields.names()
    assert request.trailers.names() == set(PLAIN)


def test_what_a_route_passes_of_strangers(origin, start):
    client = start(route="untrusted_fields pass X-Original-* Proxy; underscores_in_fields pass;").client
    ask_with_trailers(client, {**CLAIMED, **UNDERSCORED}, {**OWN, **CLAIMED, **UNDERSCORED})
    passed = {"proxy", "x-original-url", "transfer_encoding"}
    request = origin.last()
    assert (CLAIMED | UNDERSCORED).keys() & request.fields.names() == passed
    assert request.trailers.names() == {"transfer_encoding"}


def test_what_a_trusted_proxy_says_of_all_that_passes(origin, start):
    client = start(**TRUSTED).client
    ask_with_trailers(client, {**CLAIMED, **UNDERSCORED}, {**OWN, **CLAIMED, **UNDERSCORED, **PLAIN})
    request = origin.last()
    assert (CLAIMED | UNDERSCORED).keys() & request.fields.names() == set(CLAIMED)
    assert request.trailers.names() == {"x-forwarded-port", *PLAIN}


def test_what_decides_does_not_come_in_trailers(origin, client):
    decisive = {"cookie": "a=b", "authorization": "Basic eA==", "early-data": "1", "range": "bytes=0-0",
                "cache-control": "no-store", "if-none-match": "*"}
    ask_with_trailers(client, {}, {**decisive, **PLAIN})
    assert origin.last().trailers.names() == set(PLAIN)


def test_rules_of_requests_hold_in_trailers(origin, start):
    rules = "request_header remove X-Secret*; request_header set X-Edge one; request_header add X-More 1;"
    ask_with_trailers(start(route=rules).client, {"X-Secret-1": "a", "X-Edge": "b"},
                      {"x-secret-2": "a", "x-edge": "b", "x-more": "c", **PLAIN})
    request = origin.last()
    assert "X-Secret-1" not in request.fields and request.fields.all("X-Edge") == ["one"]
    assert request.trailers.names() == {"x-more", *PLAIN}


def test_the_host_is_sent_as_it_is_keyed(origin, client):
    origin.on("/", lambda x: x.reply(fresh(x.request["Host"].encode() + b" " + x.request["X-Forwarded-Host"].encode())))
    for host, hit in (("Shop.EXAMPLE", False), ("shop.example", True)):
        response = client.get("/", {"Host": host})
        assert (response.body, bool(response.hit)) == (b"shop.example shop.example", hit)
    client.request("POST", "/", {"Host": "Shop.EXAMPLE"}, b"x")
    assert origin.last()["Host"] == "shop.example"


FORWARDED_HOST = "Forwarded", "for=1.1.1.1;host=evil.test"


def test_a_forwarded_host_of_another_site_is_not_passed_on(origin, start):
    two = """
        cache { memory 64M; }
        origin app { server 127.0.0.1:$origin_port; }
        site test.example other.example { listen 127.0.0.1:$port; route * { origin app; } }
        admin { listen 127.0.0.1:$admin_port; }
        trusted_proxy 127.0.0.0/8;"""
    client = start(config=two).client
    origin.on("/", lambda x: x.reply(fresh(str([x.request["Forwarded"], x.request["X-Forwarded-Host"]]).encode())))
    first = client.get("/", [FORWARDED_HOST])
    assert b"evil" not in first.body and b"for=1.1.1.1" in first.body
    assert client.get("/").hit
    other = client.get("/", {"Forwarded": "host=other.example"})
    assert not other.hit and other.body.count(b"other.example") == 2
    assert b"other" not in client.get("/").body


def test_a_forwarded_host_is_in_the_key(origin, start):
    client = start(**TRUSTED).client
    origin.on("/", lambda x: x.reply(fresh(x.request["Forwarded"].encode())))
    assert b"evil.test" in client.get("/", [FORWARDED_HOST]).body
    assert b"evil.test" not in client.get("/").body
    assert client.get("/", [FORWARDED_HOST]).hit


def test_forwarded_tells_the_scheme_as_x_forwarded_proto_does(origin, start, scheme):
    client = start(site="https_redirect 8443;" if scheme == "http" else "", **TRUSTED).client
    origin.on("/", Reply(body=b"x"))
    for said in ({"Forwarded": "proto=https"}, {"X-Forwarded-Proto": "https, https"}):
        assert client.get("/", said).status == 200
        assert origin.last()["X-Forwarded-Proto"] == "https"
    two_lines = [("X-Forwarded-Proto", "https"), ("X-Forwarded-Proto", "https")]
    assert client.get("/", two_lines).status == 200
