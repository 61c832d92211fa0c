"""Asking the origin whether what is stored still holds."""

import pytest

from harness import CLOSE, RESET, Reply, fresh, outlive

DATE = "Mon, 01 Jan 2024 00:00:00 GMT"


def test_a_304_makes_it_fresh_again(origin, client):
    origin.on("/", fresh(b"body", 1, {"ETag": '"v1"'}),
              Reply(304, {"ETag": '"v1"', "Cache-Control": "max-age=60"}))
    client.get("/")
    outlive(1)
    response = client.get("/")
    assert (response.status, response.body) == (200, b"body")
    assert (response.fwd, response.cache["fwd-status"]) == ("stale", 304)
    assert origin.last()["If-None-Match"] == '"v1"'
    assert client.get("/").hit and origin.count("/") == 2


def test_last_modified_where_there_is_no_etag(origin, client):
    origin.on("/", fresh(b"body", 1, {"Last-Modified": DATE}), Reply(304))
    client.get("/")
    outlive(1)
    assert client.get("/").body == b"body"
    assert origin.last()["If-Modified-Since"] == DATE


def test_a_200_replaces_it(origin, client):
    origin.on("/", fresh(b"old", 1, {"ETag": '"v1"'}), fresh(b"new", 60, {"ETag": '"v2"'}))
    client.get("/")
    outlive(1)
    assert client.get("/").body == b"new"
    hit = client.get("/")
    assert hit.hit and (hit.body, hit["ETag"]) == (b"new", '"v2"')


def test_without_a_validator_it_is_fetched_anew(origin, client):
    origin.on("/", fresh(b"old", 1), fresh(b"new"))
    client.get("/")
    outlive(1)
    assert client.get("/").body == b"new"
    assert not {"if-none-match", "if-modified-since"} & origin.last().fields.names()


def test_a_304_updates_the_stored_fields_but_not_those_of_the_body(origin, client):
    origin.on("/", fresh(b"body", 1, {"ETag": '"v1"', "X-One": "old", "X-Two": "kept"}),
              Reply(304, {"ETag": '"v1"', "Cache-Control": "max-age=60", "X-One": "new",
                          "X-Three": "added", "Content-Length": "999",
                          "Content-MD5": "rL0Y20zC+Fzt72VPzMSk2A==",
                          "Content-Encoding": "gzip", "Content-Range": "bytes 0-1/2"}))
    client.get("/")
    outlive(1)
    for response in (client.get("/"), client.get("/")):
        assert [response[n] for n in ("X-One", "X-Two", "X-Three")] == ["new", "kept", "added"]
        assert response.body == b"body"
        assert not {"content-md5", "content-encoding", "content-range"} & response.fields.names()


def test_no_cache_asks_every_time(origin, client):
    stored = {"Cache-Control": "no-cache, max-age=60", "ETag": '"v1"'}
    origin.on("/", Reply(headers=stored, body=b"body"), Reply(304, stored))
    assert [client.get("/").body for _ in range(3)] == [b"body"] * 3
    assert origin.count("/") == 3
    assert origin.last()["If-None-Match"] == '"v1"'


def test_the_clients_own_condition_is_answered_by_the_node(origin, client):
    origin.on("/", fresh(b"body", 1, {"ETag": '"v1"'}), Reply(304, {"ETag": '"v1"'}))
    client.get("/")
    outlive(1)
    response = client.get("/", {"If-None-Match": '"other"'})
    assert (response.status, response.body) == (200, b"body")


def test_a_304_that_nobody_can_have_asked_for_is_not_stored(origin, client):
    origin.on("/", Reply(304, {"Cache-Control": "max-age=60"}), fresh(b"body"))
    client.get("/")
    assert client.get("/").body == b"body"


def test_what_is_asked_again_after_a_304_is_asked_as_before(origin, client):
    origin.on("/", fresh(b"old", 1, {"ETag": '"v1"'}), Reply(304, {"ETag": '"v2"'}),
              fresh(b"new", chunked=True, trailers={"X-Sum": "1"}))
    client.get("/")
    outlive(1)
    response = client.get("/", {"TE": "trailers"})
    assert (response.body, response.trailers.get("X-Sum")) == (b"new", "1")
    conditional, again = origin.requests[1:]
    assert conditional["TE"] == again["TE"] == "trailers"
    assert conditional["If-None-Match"] and not again["If-None-Match"]


def test_a_cookie_that_comes_with_a_304_is_its_clients_alone(origin, start):
    client = start(route="store_set_cookie on;").client
    origin.on("/", fresh(b"body", 1, {"ETag": '"v1"'}),
              Reply(304, {"ETag": '"v1"', "Cache-Control": "max-age=60", "Set-Cookie": "session=1"}))
    client.get("/")
    outlive(1)
    assert client.get("/")["Set-Cookie"] == "session=1"
    hit = client.get("/")
    assert hit.hit and hit["Set-Cookie"] is None


def test_a_304_for_another_version_does_not_freshen(origin, client):
    origin.on("/", fresh(b"old", 1, {"ETag": '"v1"'}),
              Reply(304, {"ETag": '"v2"', "Cache-Control": "max-age=60"}), fresh(b"new"))
    client.get("/")
    outlive(1)
    assert client.get("/").body == b"new"


@pytest.mark.parametrize("directive", ["must-revalidate", "proxy-revalidate"])
def test_where_it_must_be_validated_a_dead_origin_is_an_error(origin, client, directive):
    origin.on("/", Reply(headers={"Cache-Control": f"max-age=1, {directive}, stale-if-error=60"}))
    client.get("/")
    outlive(1)
    origin.refuse()
    assert client.get("/").status in (502, 504)


def test_head_freshens_a_stored_get(origin, client):
    origin.on("/", fresh(b"body", 1, {"ETag": '"v1"'}),
              fresh(b"body", 60, {"ETag": '"v1"', "X-New": "1"}))
    client.get("/")
    outlive(1)
    client.get("/", method="HEAD")
    response = client.get("/")
    assert response.hit and response.body == b"body" and response["X-New"] == "1"


def test_head_that_shows_another_version_makes_it_stale(origin, client):
    origin.on("/", fresh(b"old", 1, {"ETag": '"v1"'}), fresh(b"other", 60, {"ETag": '"v2"'}),
              fresh(b"new", 60, {"ETag": '"v2"'}))
    client.get("/")
    outlive(1)
    client.get("/", method="HEAD")
    assert client.get("/").body == b"new"


LEFT = {"Cache-Control": "max-age=1, stale-if-error=60"}


def test_head_of_another_length_does_not_freshen_a_body_whose_length_nobody_told(origin, client):
    """Version 1 came in chunks and without validators; what its body has is what counts."""
    new = Reply(headers={"Cache-Control": "max-age=60"}, body=b"the second version of this response!")
    origin.on("/", Reply(headers=LEFT, body=b"the first version.", chunked=True), new)
    client.get("/")
    outlive(1)
    for _ in range(2):
        head = client.get("/", method="HEAD")
        assert head.status == 200 and not head.hit
    response = client.get("/")
    assert response.body == new.body


def test_head_of_that_length_does(origin, client):
    origin.on("/", Reply(headers=LEFT, body=b"the first version.", chunked=True),
              Reply(headers={"Cache-Control": "max-age=60", "X-New": "1"}, body=b"the first version."))
    client.get("/")
    outlive(1)
    client.get("/", method="HEAD")
    response = client.get("/")
    assert response.hit and response["X-New"] == "1" and response.body == b"the first version."


def test_head_that_has_nothing_in_common_with_what_is_stored_changes_nothing(origin, client):
    head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n"
    origin.on("/", Reply(headers=LEFT, body=b"old", chunked=True), [head], Reply(503))
    client.get("/")
    outlive(1)
    assert client.get("/", method="HEAD").status == 200
    response = client.get("/")
    assert response.body == b"old" and response.fwd == "stale"  # as stale as before, and still there


@pytest.mark.parametrize("stored, told", [('W/"x"', '"x"'), ('"x"', 'W/"x"')])
def test_a_304_may_tell_the_tag_stronger_or_weaker(origin, client, stored, told):
    """nginx weakens the tag of what it compresses, and not that of the 304."""
    origin.on("/", fresh(b"body", 1, {"ETag": stored}), Reply(304, {"ETag": told, "Cache-Control": "max-age=60"}))
    client.get("/")
    outlive(1)
    response = client.get("/")
    assert (response.body, response.cache["fwd-status"], response["ETag"]) == (b"body", 304, stored)
    assert origin.count("/") == 2 and origin.last()["If-None-Match"] == stored
    assert client.get("/").hit


def test_a_304_that_nobody_asked_for_is_an_error_whether_first_or_second(origin, client):
    """What it would say to a client without a condition is wrong."""
    origin.on("/first", Reply(304))
    assert client.get("/first").status == 502
    origin.on("/second", fresh(b"old", 1, {"ETag": '"v1"'}), Reply(304, {"ETag": '"v2"'}))
    client.get("/second")
    outlive(1)
    assert client.get("/second").status == 502
    assert origin.count("/second") == 3


def test_the_stale_one_stands_in_also_where_it_was_asked_twice(origin, client):
    origin.on("/", Reply(headers={**LEFT, "ETag": '"v1"'}, body=b"old"), Reply(304, {"ETag": '"v2"'}), Reply(503))
    client.get("/")
    outlive(1)
    assert client.get("/").body == b"old"
    assert origin.count("/") == 3


# ---- whatever is asked for of it

FORMS = {"range": ("GET", {"Range": "bytes=1-2"}), "ranges": ("GET", {"Range": "bytes=0-0, 3-3"}), "head": ("HEAD", {})}
STALE = {"Cache-Control": "max-age=1, stale-if-error=600", "ETag": '"v1"'}


def is_part(response, form, body=b"body"):
    return {"range": response.status == 206 and response.body == body[1:3],
            "ranges": response.status == 206 and b"Content-Range: bytes 3-3/4" in response.body,
            "head": response.status == 200 and response["Content-Length"] == str(len(body))}[form]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("slices", ["", "slice off;"], ids=["slices", "none"])
def test_what_is_stored_whole_is_validated_for_a_part_of_it_and_for_its_head(origin, start, slices, form):
    client = start(cache=slices).client
    origin.on("/", Reply(headers=STALE, body=b"body"), Reply(304, {"Cache-Control": "max-age=60", "ETag": '"v1"'}))
    client.get("/")
    outlive(1)
    method, headers = FORMS[form]
    response = client.get("/", headers, method=method)
    assert is_part(response, form)
    assert (response.fwd, response.cache["fwd-status"]) == ("stale", 304)
    assert origin.last()["If-None-Match"] == '"v1"' and origin.count("/") == 2
    assert client.get("/").hit and is_part(client.get("/", headers, method=method), form)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("etag", [True, False], ids=["etag", "none"])
@pytest.mark.parametrize("failure", [Reply(503), [CLOSE], [RESET]], ids=["503", "close", "reset"])
def test_the_stale_one_stands_in_for_a_part_of_it_and_for_its_head(origin, client, form, etag, failure):
    stale = STALE if etag else {"Cache-Control": STALE["Cache-Control"]}
    origin.on("/", Reply(headers=stale, body=b"body"), failure)
    client.get("/")
    outlive(1)
    method, headers = FORMS[form]
    assert is_part(client.get("/", headers, method=method), form)
    assert client.get("/").body == b"body"


def test_a_part_of_another_version_takes_the_old_one_with_it(origin, client):
    tag = {"ETag": '"v2"', "Cache-Control": "max-age=60"}
    origin.on("/", Reply(headers=STALE, body=b"old!"), Reply(206, {**tag, "Content-Range": "bytes 1-2/4"}, b"ew"),
              Reply(503))
    client.get("/")
    outlive(1)
    assert client.get("/", {"Range": "bytes=1-2"}).body == b"ew"
    assert client.get("/").status == 503  # the old one does not stand in: it is known to be no more


def test_all_of_another_version_takes_its_place(origin, client):
    origin.on("/", Reply(headers=STALE, body=b"old!"), fresh(b"news", 60, {"ETag": '"v2"'}))
    client.get("/")
    outlive(1)
    assert is_part(client.get("/", {"Range": "bytes=1-2"}), "range", b"news")
    assert client.get("/").hit and client.get("/").body == b"news"


def test_a_head_that_confirms_makes_it_fresh(origin, client):
    new = {"Cache-Control": "max-age=60", "ETag": '"v1"', "X-New": "1"}
    origin.on("/", Reply(headers=STALE, body=b"body"), Reply(headers=new, body=b"body"))
    client.get("/")
    outlive(1)
    client.get("/", method="HEAD")
    assert origin.last().method == "HEAD" and origin.last()["If-None-Match"] == '"v1"'
    assert client.get("/").hit and client.get("/")["X-New"] == "1"
