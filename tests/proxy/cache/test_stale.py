"""What is stale: validated, served while it is fetched anew, and served in place of errors."""

from __future__ import annotations

import pytest

from .scene import ask, bodies, caches_of, chunked, get, one, outcomes, play, reply, scene, statuses

TAGGED = reply("old", 'ETag: "1"', age=1)
UNCHANGED = reply("", 'ETag: "1"', "X-New: yes", status="304 Not Modified")


@pytest.mark.parametrize("sizes", [[1 << 20], [11]])
def test_a_response_that_still_holds_is_served_again(sizes: list[int]) -> None:
    with scene(TAGGED, UNCHANGED, sizes=sizes) as own:
        ask(own, get())
        own.pass_time(2)
        ask(own, get(), get())
        assert bodies(own) == [b"old", b"old", b"old"]
        assert [request.all(b"if-none-match") for request in own.requests] == [[], [b'"1"']]
        assert statuses(own)[1] == b"portico; fwd=stale; fwd-status=304; stored"
        assert one(own.responses()[1], b"x-new") == b"yes"
        assert outcomes(own) == {"miss": 1, "revalidated": 1, "hit": 1}
        assert own.exchange().attempts == 0


def test_a_response_that_has_changed_takes_its_place() -> None:
    with scene(TAGGED, reply("new", 'ETag: "2"')) as own:
        ask(own, get())
        own.pass_time(2)
        ask(own, get(), get())
        assert bodies(own) == [b"old", b"new", b"new"]
        assert statuses(own)[1] == b"portico; fwd=stale; stored"
        assert len(own.requests) == 2


def test_the_clients_own_conditions_are_decided_here() -> None:
    """They give way to the cache's, and hold for what that gets."""
    with scene(TAGGED, UNCHANGED, reply("new", 'ETag: "2"', age=0), reply("newer", 'ETag: "3"', age=0)) as own:
        ask(own, get())
        own.pass_time(2)
        ask(own, get("/x", 'If-None-Match: "1"'))
        own.pass_time(70)
        ask(own, get("/x", 'If-None-Match: "2"', "Range: bytes=0-0"))
        ask(own, get("/x", "Range: bytes=0-1"))
        assert [message.status for message in own.responses()] == [200, 304, 304, 200]
        assert [request.all(b"range") for request in own.requests] == [[]] * 4
        assert [request.all(b"if-none-match") for request in own.requests][1:] == [[b'"1"'], [b'"1"'], [b'"2"']]


def test_a_part_of_what_still_holds() -> None:
    with scene(reply("0123456789", 'ETag: "1"', age=1), UNCHANGED) as own:
        ask(own, get())
        own.pass_time(2)
        ask(own, get("/x", "Range: bytes=2-4"))
        last = own.responses()[1]
        assert (last.status, bytes(last.body)) == (206, b"234")


def test_a_304_that_names_another_response_is_no_answer() -> None:
    other = reply("", 'ETag: "7"', status="304 Not Modified")
    with scene(TAGGED, other, reply("new", 'ETag: "7"')) as own:
        ask(own, get())
        own.pass_time(2)
        ask(own, get())
        assert bodies(own) == [b"old", b"new"]
        assert [request.all(b"if-none-match") for request in own.requests] == [[], [b'"1"'], []]


def test_head_freshens_what_get_stored() -> None:
    head = reply("", 'ETag: "1"', "Content-Length: 3")
    with scene(TAGGED, head) as own:
        ask(own, get())
        own.pass_time(2)
        ask(own, get(method="HEAD"))
        ask(own, get())
        assert bodies(own) == [b"old", b"", b"old"]
        assert len(own.requests) == 2


def test_head_that_says_something_else_ends_what_get_stored() -> None:
    head = reply("", 'ETag: "2"', "Content-Length: 4")
    with scene(TAGGED, head, reply("newer", 'ETag: "2"')) as own:
        ask(own, get())
        own.pass_time(2)
        ask(own, get(method="HEAD"))
        ask(own, get())
        assert bodies(own) == [b"old", b"", b"newer"]


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_stale_in_place_of_an_error_of_the_service(status: int) -> None:
    """RFC 5861, section 4: it need not have a validator."""
    fallback = reply("old", "Cache-Control: max-age=1, stale-if-error=60", age=None)
    error = reply("error", age=None, status=f"{status} Error")
    with scene(fallback, error, error, service={"retries": 0}) as own:
        ask(own, get())
        own.pass_time(3)
        ask(own, get())
        assert bodies(own) == [b"old", b"old"]
        assert one(own.responses()[1], b"age") == b"3"
        assert statuses(own)[1] == b"portico; fwd=stale; fwd-status=%d; detail=stale-if-error" % status
        assert outcomes(own) == {"miss": 1, "stale": 1}
        own.pass_time(60)
        ask(own, get())
        assert own.responses()[2].status == status


def test_stale_where_the_service_cannot_be_reached() -> None:
    fallback = reply("old", "Cache-Control: max-age=1", age=None, end="close")
    with scene(fallback, cache={"stale_if_error": 60}, dials="or", service={"retries": 0}) as own:
        ask(own, get())
        own.pass_time(3)
        ask(own, get())
        assert bodies(own) == [b"old", b"old"]
        assert statuses(own)[1] == b"portico; fwd=stale; detail=upstream_refused"
        assert own.exchange().reason == "upstream_refused"


def test_stale_where_the_service_does_not_answer() -> None:
    fallback = reply("old", "Cache-Control: max-age=1, stale-if-error=600", age=None)
    with scene(fallback, fallback, service={"retries": 0}) as own:
        ask(own, get())
        own.pass_time(3)
        own.say(get())
        own.simulation.services[-1].pieces.clear()
        own.pass_time(31)
        assert bodies(own) == [b"old", b"old"]
        assert (statuses(own)[1] or b"").endswith(b"; detail=upstream_timeout")


def test_stale_where_the_queue_is_full() -> None:
    fallback = reply("old", "Cache-Control: max-age=1, stale-if-error=600", age=None)
    with scene(fallback, fallback, clients=2, service={"max_requests": 1}) as own:
        ask(own, get())
        own.pass_time(3)
        own.say(get("/other"), client=1)
        own.say(get())
        assert bodies(own) == [b"old", b"old"]
        assert (statuses(own)[1] or b"").endswith(b"; detail=overloaded")
        play(own)
        assert bodies(own, 1) == [b"old"]


@pytest.mark.parametrize("word", ["must-revalidate", "proxy-revalidate", "s-maxage=1", "no-cache"])
def test_what_is_to_be_validated_is_never_served_stale(word: str) -> None:
    fallback = reply("old", f"Cache-Control: max-age=1, stale-if-error=60, {word}", 'ETag: "1"', age=None)
    error = reply("error", age=None, status="503 Error")
    with scene(fallback, error, cache={"stale_if_error": 60}, service={"retries": 0}) as own:
        ask(own, get())
        own.pass_time(3)
        ask(own, get())
        assert own.responses()[1].status == 503


def test_served_stale_and_fetched_meanwhile() -> None:
    first = reply("old", "Cache-Control: max-age=1, stale-while-revalidate=60", 'ETag: "1"', age=None)
    with scene(first, reply("new", 'ETag: "2"'), clients=2) as own:
        ask(own, get())
        own.pass_time(3)
        own.say(get() + get())
        own.say(get(), client=1)
        assert bodies(own) == [b"old", b"old", b"old"]
        assert bodies(own, 1) == [b"old"]
        assert len(own.requests) == 2
        assert own.requests[1].all(b"if-none-match") == [b'"1"']
        play(own)
        ask(own, get())
        assert bodies(own)[-1] == b"new"
        assert statuses(own)[1] == b"portico; hit; ttl=-2"
        assert outcomes(own) == {"miss": 1, "stale": 3, "hit": 1}


@pytest.mark.parametrize(
    "answer", [UNCHANGED, reply(chunked("a", "bc"), "Transfer-Encoding: chunked"), reply("x" * 100_000)]
)
def test_what_is_fetched_meanwhile_may_be_of_any_kind(answer) -> None:  # type: ignore[no-untyped-def]
    first = reply("old", "Cache-Control: max-age=1, stale-while-revalidate=60", 'ETag: "1"', age=None)
    with scene(first, answer, sizes=[1000]) as own:
        ask(own, get())
        own.pass_time(3)
        ask(own, get(), get())
        assert bodies(own)[1] == b"old"
        assert bodies(own)[2] in (b"old", b"abc", b"x" * 100_000)
        assert len(own.requests) == 2
        assert outcomes(own) == {"miss": 1, "stale": 1, "hit": 1}


def test_a_failure_meanwhile_changes_nothing() -> None:
    first = reply("old", "Cache-Control: max-age=1, stale-while-revalidate=60", age=None)
    error = reply("error", age=None, status="503 Error")
    with scene(first, error, error, service={"retries": 0}) as own:
        ask(own, get())
        own.pass_time(3)
        ask(own, get(), get())
        assert bodies(own) == [b"old", b"old", b"old"]
        assert len(own.requests) == 3
        assert caches_of(own).memory.entries == 1


def test_nothing_is_fetched_meanwhile_without_a_permit() -> None:
    first = reply("old", "Cache-Control: max-age=1, stale-while-revalidate=60", age=None)
    with scene(first, first, clients=2, service={"max_requests": 1}) as own:
        ask(own, get())
        own.pass_time(3)
        own.say(get("/other"), client=1)
        own.say(get())
        assert bodies(own) == [b"old", b"old"]
        assert len(own.requests) == 2
        play(own)
        ask(own, get())
        assert len(own.requests) == 3
