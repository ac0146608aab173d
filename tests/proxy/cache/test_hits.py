"""What is stored answers the next request: whole and streamed responses, HEAD, parts, conditions."""

from __future__ import annotations

import pytest

from .scene import ask, bodies, chunked, get, one, outcomes, reply, scene, statuses

STREAM = reply(chunked("abc", "def"), "Transfer-Encoding: chunked")


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (reply("ok"), b"ok"),
        (reply(""), b""),
        (STREAM, b"abcdef"),
        (reply("until the end", end="close"), b"until the end"),
        (reply("x" * 200_000), b"x" * 200_000),
    ],
    ids=["whole", "empty", "chunked", "until close", "long"],
)
@pytest.mark.parametrize("sizes", [[1 << 20], [7, 1000], [61, 30_000]])
def test_a_stored_response_answers_the_next_request(answer, body, sizes) -> None:  # type: ignore[no-untyped-def]
    with scene(answer, sizes=sizes) as own:
        ask(own, get())
        ask(own, get())
        assert len(own.requests) == 1
        assert bodies(own) == [body, body]
        first, second = own.responses()
        assert one(second, b"content-length") == b"%d" % len(body)
        assert one(first, b"age") is None
        assert one(second, b"age") == b"0"
        assert statuses(own) == [b"portico; fwd=uri-miss; stored", b"portico; hit; ttl=60"]
        assert outcomes(own) == {"miss": 1, "hit": 1}


def test_it_ages() -> None:
    with scene(reply(age=10)) as own:
        ask(own, get())
        own.pass_time(3)
        ask(own, get())
        assert one(own.responses()[1], b"age") == b"3"
        own.pass_time(10)
        ask(own, get())
        assert len(own.requests) == 2
        assert (statuses(own)[2] or b"").startswith(b"portico; fwd=stale")


def test_head_is_answered_by_what_get_stored() -> None:
    with scene(reply("hello", 'ETag: "1"')) as own:
        ask(own, get())
        ask(own, get(method="HEAD"))
        second = own.responses()[1]
        assert len(own.requests) == 1
        assert (second.status, bytes(second.body)) == (200, b"")
        assert one(second, b"content-length") == b"5"
        assert statuses(own)[1] == b"portico; hit; ttl=60"


def test_a_miss_of_head_stores_nothing() -> None:
    with scene(reply("", "Content-Length: 5"), reply("hello")) as own:
        ask(own, get(method="HEAD"))
        ask(own, get())
        assert bodies(own) == [b"", b"hello"]
        assert len(own.requests) == 2


@pytest.mark.parametrize("long", [0, 150_000])
def test_a_part_of_what_is_stored(long: int) -> None:
    body = "0123456789" + "x" * long
    with scene(reply(body, 'ETag: "1"')) as own:
        ask(own, get())
        ask(own, get("/x", "Range: bytes=2-4"))
        ask(own, get("/x", "Range: bytes=0-"))
        ask(own, get("/x", "Range: bytes=-1, 0-0"))
        ask(own, get("/x", "Range: bytes=1000000-"))
        ask(own, get("/x", "Range: bytes=2-4", 'If-Range: "2"'))
        assert len(own.requests) == 1
        _, part, all_of_it, several, none, whole = own.responses()
        assert (part.status, bytes(part.body)) == (206, b"234")
        assert one(part, b"content-range") == b"bytes 2-4/%d" % len(body)
        assert (all_of_it.status, bytes(all_of_it.body)) == (206, body.encode())
        assert several.status == 206
        if long:  # ranges that are next to each other are sent as one
            assert (one(several, b"content-type") or b"").startswith(b"multipart/byteranges; boundary=")
            assert several.body.count(b"Content-Range: ") == 2
        assert len(several.body) == int(one(several, b"content-length") or 0)
        assert (none.status, one(none, b"content-range")) == (416, b"bytes */%d" % len(body))
        assert (whole.status, bytes(whole.body)) == (200, body.encode())
        assert outcomes(own) == {"miss": 1, "hit": 5}


def test_a_part_is_never_the_whole() -> None:
    """A range passes as it is while nothing is stored; its 206 is not stored as anything."""
    partial = reply("234", "Content-Range: bytes 2-4/10", status="206 Partial Content")
    with scene(partial, reply("0123456789")) as own:
        ask(own, get("/x", "Range: bytes=2-4"))
        ask(own, get())
        ask(own, get("/x", "Range: bytes=5-6"))
        assert [message.status for message in own.responses()] == [206, 200, 206]
        assert bodies(own) == [b"234", b"0123456789", b"56"]
        assert [request.all(b"range") for request in own.requests] == [[b"bytes=2-4"], []]


def test_conditions_of_the_client() -> None:
    modified = "Last-Modified: Tue, 01 Jan 2019 00:00:00 GMT"
    with scene(reply("hello", 'ETag: "1"', modified)) as own:
        ask(own, get())
        ask(own, get("/x", 'If-None-Match: "0", W/"1"'))
        ask(own, get("/x", "If-Modified-Since: Wed, 02 Jan 2019 00:00:00 GMT"))
        ask(own, get("/x", 'If-None-Match: "2"'))
        assert [message.status for message in own.responses()] == [200, 304, 304, 200]
        assert len(own.requests) == 1
        unmodified = own.responses()[1]
        assert one(unmodified, b"etag") == b'"1"'
        assert one(unmodified, b"age") == b"0"
        assert one(unmodified, b"content-length") is None


def test_conditions_on_what_is_not_stored_go_to_the_service() -> None:
    with scene(reply("", 'ETag: "1"', status="304 Not Modified"), reply("hello", 'ETag: "1"')) as own:
        ask(own, get("/x", 'If-None-Match: "1"'))
        ask(own, get("/x", 'If-None-Match: "2"'))
        ask(own, get("/x", 'If-None-Match: "1"'))
        assert [message.status for message in own.responses()] == [304, 200, 304]
        assert [request.all(b"if-none-match") for request in own.requests] == [[b'"1"'], [b'"2"']]


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_clients_of_any_version(version: str) -> None:
    with scene(reply("hello"), clients=2) as own:
        ask(own, get())
        ask(own, get(version=version), client=1)
        assert bodies(own, 1) == [b"hello"]
        assert statuses(own, 1) == [b"portico; hit; ttl=60"]


def test_pipelined_requests_are_answered_in_order() -> None:
    with scene(reply("hello"), reply("other")) as own:
        ask(own, get())
        ask(own, get() + get("/y") + get())
        assert bodies(own) == [b"hello", b"hello", b"other", b"hello"]


def test_what_policies_add_is_of_each_request() -> None:
    policies = {"rate_limit": {"requests_per_minute": 600, "burst": 600}}
    with scene(reply("hello"), policies=policies) as own:
        ask(own, get() + get() + get())
        remaining = [one(message, b"ratelimit") for message in own.responses()]
        assert len(set(remaining)) == 3
        assert outcomes(own) == {"miss": 1, "hit": 2}


def test_only_if_cached() -> None:
    with scene(reply("hello")) as own:
        ask(own, get("/x", "Cache-Control: only-if-cached"))
        ask(own, get())
        ask(own, get("/x", "Cache-Control: only-if-cached"))
        assert [message.status for message in own.responses()] == [504, 200, 200]
        assert statuses(own)[0] == b"portico; detail=only-if-cached"
        assert own.exchange().cache == "hit"
        assert len(own.requests) == 1


def test_a_request_that_wants_nothing_stored() -> None:
    with scene(reply("hello"), reply("again")) as own:
        ask(own, get("/x", "Cache-Control: no-store"))
        ask(own, get())
        assert bodies(own) == [b"hello", b"again"]
        assert statuses(own)[0] == b"portico; fwd=request"
        assert outcomes(own) == {"bypass": 1, "miss": 1}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_changes_invalidate(method: str) -> None:
    changed = reply("", "Location: /api/open/z", age=None, status="201 Created")
    with scene(reply("old"), reply("old"), reply("kept"), changed, reply("new"), reply("new")) as own:
        ask(own, get("/x"), get("/z"), get("/y"))
        ask(own, get("/x", "Content-Length: 0", method=method))
        ask(own, get("/x"), get("/z"), get("/y"))
        assert bodies(own) == [b"old", b"old", b"kept", b"", b"new", b"new", b"kept"]
        assert statuses(own)[3] == b"portico; fwd=method"


def test_a_failed_change_invalidates_nothing() -> None:
    failed = reply("", age=None, status="500 Internal Server Error")
    with scene(reply("old"), failed) as own:
        ask(own, get("/x"))
        ask(own, get("/x", "Content-Length: 0", method="POST"))
        ask(own, get("/x"))
        assert len(own.requests) == 2


def test_what_is_larger_than_a_bound_passes_and_is_not_stored() -> None:
    for answer in (reply("x" * 2000), reply(chunked("x" * 900, "x" * 900), "Transfer-Encoding: chunked")):
        with scene(answer, cache={"max_object": 1500}, sizes=[100]) as own:
            ask(own, get(), get())
            assert [len(body) for body in bodies(own)] in ([2000, 2000], [1800, 1800])
            assert len(own.requests) == 2
            assert outcomes(own) == {"miss": 2}


@pytest.mark.parametrize(
    "answer",
    [
        reply("short", "Content-Length: 10", end="reset"),
        reply("short", "Content-Length: 10", end="close"),
        reply("5\r\nshort\r\n", "Transfer-Encoding: chunked", end="close"),
        reply("5\r\nshort\r\nx\r\n", "Transfer-Encoding: chunked"),
        reply("until", end="reset"),
    ],
)
def test_nothing_partial_is_stored(answer) -> None:  # type: ignore[no-untyped-def]
    with scene(answer, reply("whole"), clients=2, service={"retries": 0}) as own:
        ask(own, get())
        ask(own, get(), client=1)
        assert not [message for message in own.responses() if message.complete and message.status == 200]
        assert bodies(own, 1) == [b"whole"]
        assert len(own.requests) == 2
