"""Sites, routes, and what a route says about caching."""

import pytest

from harness import Reply, fresh

SITES = """
    origin app { server 127.0.0.1:$origin_port; }
    site exact.example       { listen 127.0.0.1:$port; origin app; response_header set X-Site exact;
                               route * { } }
    site *.wild.example      { listen 127.0.0.1:$port; origin app; response_header set X-Site wild;
                               route * { } }
    site *.deep.wild.example { listen 127.0.0.1:$port; origin app; response_header set X-Site deep;
                               route * { } }
    $default
    admin { listen 127.0.0.1:$admin_port; }"""
DEFAULT = """site * { listen 127.0.0.1:$port; origin app; response_header set X-Site default;
                      route * { } }"""


@pytest.mark.parametrize("host, site", [
    ("exact.example", "exact"), ("EXACT.example:8080", "exact"), ("a.wild.example", "wild"),
    ("a.b.wild.example", "wild"), ("a.deep.wild.example", "deep"), ("wild.example", "default"),
    ("sub.exact.example", "default"), ("127.0.0.1", "default"),
])
def test_the_host_chooses_the_site(start, host, site):
    client = start(config=SITES, default=DEFAULT).client
    assert client.get("/", {"Host": host})["X-Site"] == site


def test_a_host_without_a_site_is_421(origin, start):
    client = start(config=SITES).client
    connection = client.connect(name="exact.example")
    connection.request("GET", "/", {"Host": "other.example"})
    assert connection.response().status == 421
    assert origin.count() == 0


def test_the_first_route_that_matches_is_used(origin, start):
    routes = "".join(f"route {pattern} {{ origin app; response_header set X-Route {name}; }}"
                     for pattern, name in [("/a/*", "one"), ("*.png", "two")])
    client = start(site=routes).client
    paths = ["/a/b", "/a/", "/a", "/a/y.png", "/x/y.png", "/x.png?a"]
    assert [client.get(p)["X-Route"] for p in paths] == ["one", "one", "one", "one", "two", "two"]


def test_no_route_is_404(origin, start):
    client = start(config="""
        origin app { server 127.0.0.1:$origin_port; }
        site * { listen 127.0.0.1:$port; route /only/* { origin app; } }
        admin { listen 127.0.0.1:$admin_port; }""").client
    assert client.get("/other").status == 404
    assert origin.count() == 0


@pytest.mark.parametrize("directives, headers, stored", [
    ("ttl 200 1h;", {}, True),
    ("ttl 404 1h;", {}, False),
    ("ttl any 1h;", {}, True),
    ("ttl 200 1h;", {"Cache-Control": "max-age=0"}, False),
    ("ttl 200 1h override;", {"Cache-Control": "max-age=0"}, True),
    ("ttl 200 0 override;", {"Cache-Control": "max-age=60"}, False),
    ("heuristic on;", {"Last-Modified": "Mon, 01 Jan 2001 00:00:00 GMT"}, True),
    ("heuristic on;", {}, False),
    ("cache off;", {"Cache-Control": "max-age=60"}, False),
    ("store_set_cookie on;", {"Cache-Control": "max-age=60", "Set-Cookie": "a=b"}, True),
    ("", {"Surrogate-Control": "max-age=60", "Cache-Control": "no-store"}, True),
    ("surrogate_control off;", {"Surrogate-Control": "max-age=60"}, False),
])
def test_what_a_route_says_about_storing(origin, start, directives, headers, stored):
    client = start(route=directives).client
    origin.on("/", Reply(headers=headers, body=b"x"))
    client.get("/")
    assert bool(client.get("/").hit) == stored


def test_a_bypass_says_so(start):
    assert start(route="cache off;").client.get("/").fwd == "bypass"


def test_negative_caching(origin, start):
    client = start(route="ttl 404 410 1m;").client
    origin.on("/", Reply(404, body=b"none"))
    assert client.get("/").stored and client.get("/").hit


def test_ttl_max_caps(origin, start):
    client = start(route="ttl_max 10s;").client
    origin.on("/", fresh(seconds=1000))
    assert client.get("/").cache["ttl"] <= 10


def test_a_stored_response_has_lost_its_cookie(origin, start):
    client = start(route="store_set_cookie on;").client
    origin.on("/", fresh(headers={"Set-Cookie": "a=b"}))
    client.get("/")
    assert "Set-Cookie" not in client.get("/").fields


def test_surrogate_control_is_taken_out(origin, client):
    origin.on("/", Reply(headers={"Surrogate-Control": "max-age=60"}))
    for _ in range(2):
        assert "Surrogate-Control" not in client.get("/").fields


@pytest.mark.parametrize("directive", ["no-cache", "max-age=0", "min-fresh=100"])
def test_a_client_may_direct_where_the_route_allows(origin, start, directive):
    client = start(route="honor_request on;").client
    origin.on("/", fresh(b"one"), fresh(b"two"))
    client.get("/")
    response = client.get("/", {"Cache-Control": directive})
    assert (response.fwd, response.body) == ("request", b"two")


def test_an_immutable_response_is_not_reloaded(origin, start):
    client = start(route="honor_request on;").client
    origin.on("/", Reply(headers={"Cache-Control": "max-age=60, immutable"}))
    client.get("/")
    assert client.get("/", {"Cache-Control": "no-cache"}).hit


@pytest.mark.parametrize("target", ["/open/../closed/a", "/open/%2e%2e/closed/a", "/open/.%2E/closed/a",
                                    "/./closed/a", "/open/b/../../closed/a", "/../closed/a"])
def test_dots_choose_no_other_route(origin, start, target):
    """The origin takes them out of the path, and so must who asks what its route is."""
    config = """
        origin app { server 127.0.0.1:$origin_port; }
        site * {
            listen 127.0.0.1:$port;
            origin app;
            route /closed/* { cache off; }
            route * { ttl 200 1m; }
        }
        admin { listen 127.0.0.1:$admin_port; }"""
    client = start(config=config).client
    origin.on("/closed/a", Reply(body=b"secret"))
    assert client.get(target).fwd == "bypass"
    assert origin.last().target == "/closed/a"
    origin.on("/open/..a", Reply(body=b"open"))
    assert client.get("/open/..a").stored
