"""What is stored, and for how long: the rules of RFC 9111 as seen from outside."""

import pytest

from harness import Reply, fresh, outlive

DATE = ("Date", "Mon, 01 Jan 2024 00:00:00 GMT")


def expires(text):
    return [DATE, ("Expires", text)]


# name: (fields, the ttl or None where it may not be stored for reuse)
RULES = {
    "max-age": ([("Cache-Control", "max-age=60")], 60),
    "max-age quoted": ([("Cache-Control", 'max-age="60"')], 60),
    "in any case": ([("cache-control", "MAX-AGE=60")], 60),
    "s-maxage before max-age": ([("Cache-Control", "max-age=1, s-maxage=60")], 60),
    "s-maxage of zero": ([("Cache-Control", "max-age=60, s-maxage=0")], None),
    "max-age before Expires":
        ([("Cache-Control", "max-age=60"), ("Expires", "Mon, 01 Jan 2024 01:00:00 GMT")], 60),
    "an old Date counts as age": ([("Cache-Control", "max-age=60"), DATE], None),
    "two lines": ([("Cache-Control", "public"), ("Cache-Control", "max-age=60")], 60),
    "CDN-Cache-Control first":
        ([("CDN-Cache-Control", "max-age=60"), ("Cache-Control", "no-store")], 60),
    "CDN-Cache-Control no-store":
        ([("CDN-Cache-Control", "no-store"), ("Cache-Control", "max-age=60")], None),
    "CDN-Cache-Control malformed is ignored":
        ([("CDN-Cache-Control", "max-age=="), ("Cache-Control", "max-age=60")], 60),
    "Age counts": ([("Cache-Control", "max-age=60"), ("Age", "30")], 30),
    "Age beyond the lifetime": ([("Cache-Control", "max-age=60"), ("Age", "60")], None),
    "Age of nonsense": ([("Cache-Control", "max-age=60"), ("Age", "x")], 60),
    "Age too large": ([("Cache-Control", "max-age=60"), ("Age", "99999999999999999999")], None),
    "no-store": ([("Cache-Control", "max-age=60, no-store")], None),
    "private": ([("Cache-Control", "max-age=60, private")], None),
    "no-cache": ([("Cache-Control", "max-age=60, no-cache")], None),
    "NO-STORE in capitals": ([("Cache-Control", "NO-STORE, max-age=60")], None),
    "no-store within a string is none": ([("Cache-Control", 'x="no-store", max-age=60')], 60),
    "max-age of zero": ([("Cache-Control", "max-age=0")], None),
    "negative max-age": ([("Cache-Control", "max-age=-1")], None),
    "max-age of nonsense": ([("Cache-Control", "max-age=x")], None),
    "max-age without a value": ([("Cache-Control", "max-age")], None),
    "a past Expires": (expires("Sun, 31 Dec 2023 00:00:00 GMT"), None),
    "an Expires of zero": ([("Expires", "0")], None),
    "Set-Cookie": ([("Cache-Control", "max-age=60"), ("Set-Cookie", "a=b")], None),
    "immutable alone says nothing": ([("Cache-Control", "immutable")], None),
    "public alone says nothing": ([("Cache-Control", "public")], None),
    "Last-Modified alone says nothing":
        ([("Last-Modified", "Mon, 01 Jan 2001 00:00:00 GMT")], None),
    "Pragma of a response is nothing":
        ([("Cache-Control", "max-age=60"), ("Pragma", "no-cache")], 60),
    "an unknown directive": ([("Cache-Control", "max-age=60, x-mine=7")], 60),
    "must-revalidate": ([("Cache-Control", "max-age=60, must-revalidate")], 60),
}


@pytest.mark.parametrize("name", RULES)
def test_rule(origin, client, name):
    fields, ttl = RULES[name]
    origin.on("/", Reply(headers=fields, body=b"x"))
    first, second = client.get("/"), client.get("/")
    assert bool(second.hit) == (ttl is not None)
    if ttl is not None:
        assert first.stored and ttl - 5 <= first.cache["ttl"] <= ttl


def test_expires_is_relative_to_date(origin, client):
    """Both an hour apart in the future, so that Age is zero whatever the clock of the origin."""
    origin.on("/", Reply(headers=[("Date", "Thu, 01 Jan 2099 00:00:00 GMT"),
                                  ("Expires", "Thu, 01 Jan 2099 01:00:00 GMT")]))
    assert 3590 < client.get("/").cache["ttl"] <= 3600


def test_an_old_date_is_age(origin, client):
    origin.on("/", fresh(headers=[DATE]))
    client.get("/")
    assert not client.get("/").hit


def test_a_huge_max_age_does_not_overflow(origin, client):
    origin.on("/", fresh(seconds=99999999999999999999999))
    client.get("/")
    hit = client.get("/")
    assert hit.hit and hit.cache["ttl"] > 0


def test_it_ends(origin, client):
    origin.on("/", fresh(b"one", 1), fresh(b"two"))
    client.get("/")
    outlive(1)
    response = client.get("/")
    assert (response.body, response.fwd) == (b"two", "stale")


@pytest.mark.parametrize("status, stored", [
    (200, True), (203, True), (301, True), (302, True), (307, True), (308, True), (404, True),
    (410, True), (500, True), (503, True), (299, True), (304, False), (416, False),
])
def test_which_statuses_are_stored_with_explicit_freshness(origin, client, status, stored):
    origin.on("/", Reply(status, {"Cache-Control": "max-age=60"}))
    client.get("/")
    assert bool(client.get("/").hit) == stored


def test_must_understand_needs_a_known_status(origin, client):
    origin.on("/known", Reply(200, {"Cache-Control": "max-age=60, must-understand, no-store"}))
    origin.on("/unknown", Reply(299, {"Cache-Control": "max-age=60, must-understand"}))
    assert client.get("/known").stored
    assert not client.get("/unknown").stored


@pytest.mark.parametrize("directive, stored", [
    ("max-age=60", False), ("max-age=60, public", True), ("s-maxage=60", True),
    ("max-age=60, must-revalidate", True),
])
def test_authorization(origin, client, directive, stored):
    origin.on("/", Reply(headers={"Cache-Control": directive}))
    assert client.get("/", {"Authorization": "Basic eA=="}).stored == stored
    assert bool(client.get("/").hit) == stored


@pytest.mark.parametrize("directive", ["private", "no-cache"])
def test_the_form_with_field_names_keeps_only_those_from_the_store(origin, client, directive):
    origin.on("/", Reply(headers={"Cache-Control": f'max-age=60, {directive}="X-Mine, X-Too"',
                                  "X-Mine": "1", "X-All": "2"}))
    assert client.get("/")["X-Mine"] == "1"
    hit = client.get("/")
    assert hit.hit and hit["X-All"] == "2" and "X-Mine" not in hit.fields


def test_only_if_cached(origin, client):
    origin.on("/", fresh(b"x"))
    wanted = {"Cache-Control": "only-if-cached"}
    assert client.get("/", wanted).status == 504
    assert origin.count() == 0
    client.get("/")
    assert client.get("/", wanted).hit


@pytest.mark.parametrize("directive", ["no-cache", "max-age=0", "no-store"])
def test_anonymous_clients_cannot_bust_the_cache(origin, client, directive):
    origin.on("/", fresh(b"x"))
    client.get("/")
    assert client.get("/", {"Cache-Control": directive}).hit
    assert client.get("/", {"Pragma": "no-cache"}).hit


def test_hop_by_hop_fields_are_not_stored(origin, client):
    origin.on("/", fresh(headers=[("Connection", "X-Mine"), ("X-Mine", "1"), ("X-All", "2"),
                                  ("Keep-Alive", "timeout=5"), ("Proxy-Authenticate", "Basic")]))
    client.get("/")
    hit = client.get("/")
    assert hit.hit and hit["X-All"] == "2"
    assert not {"x-mine", "keep-alive", "connection"} & hit.fields.names()


@pytest.mark.parametrize("date", ["Thu, 18 AUG 2050 02:01:18 GMT", "THU, 18 Aug 2050 02:01:18 GMT",
                                  "Thu, 18 Aug 2050 02:01:18 gmt", "thursday, 18-aug-50 02:01:18 Gmt"])
def test_dates_are_read_without_regard_to_case(origin, client, date):
    origin.on("/", Reply(headers={"Expires": date}, body=b"x"))
    client.get("/")
    assert client.get("/").hit


@pytest.mark.parametrize("value", ['max-age=60, foo="bar, no-store', "public private, max-age=60",
                                   "max-age=60, private='X-A'", "max-age=60; private", "'no-store', max-age=60"])
def test_what_is_said_badly_forbids(origin, client, value):
    origin.on("/", Reply(headers={"Cache-Control": value}))
    client.get("/")
    assert not client.get("/").hit


def test_surrogate_control_about_something_else(origin, client):
    origin.on("/", Reply(headers={"Surrogate-Control": 'content="ESI/1.0"', "Cache-Control": "max-age=60"}))
    assert not client.get("/").hit and client.get("/").hit


LATER = "Mon, 01 Jan 2024 00:00:09 GMT"


@pytest.mark.parametrize("dates, kept", [(["foo"], None), ([""], None), (["foo", DATE[1]], DATE[1]),
                                         ([LATER, DATE[1]], DATE[1]), ([DATE[1], DATE[1]], DATE[1])])
def test_there_is_one_date(origin, client, dates, kept):
    origin.on("/", fresh(seconds=10**9, headers=[("Date", date) for date in dates]))
    for hit in (False, True):
        response = client.get("/")
        [date] = response.fields.all("Date")
        assert bool(response.hit) == hit and date.endswith(" GMT")
        assert date == kept if kept else date not in dates


def test_options_of_the_node_has_a_date(client):
    assert client.request("OPTIONS", "*")["Date"]


def test_hsts_is_for_tls_only(origin, client, scheme):
    origin.on("/", fresh(headers={"Strict-Transport-Security": "max-age=1"}))
    for hit in (False, True):
        response = client.get("/")
        assert bool(response.hit) == hit
        assert ("Strict-Transport-Security" in response.fields) == (scheme == "https")
