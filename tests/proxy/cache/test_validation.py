"""What is asked of a service about stored responses, what its reply changes, and a client's own conditions (RFC 9111,
section 4.3; RFC 9110, section 13).
"""

from __future__ import annotations

import pytest

from portico.proxy.cache.freshness import Arrival
from portico.proxy.cache.stored import Stored
from portico.proxy.cache.validation import (
    Precondition,
    after_head,
    chosen_by,
    not_modified_head,
    precondition,
    refreshed,
    validating_lines,
)
from portico.proxy.cache.variants import Asking
from proxy.cache.messages import DATE, NOW, WALL, asked, content_of, response, rules, stored, values

FRESH = "Cache-Control: max-age=60"
MODIFIED = "Last-Modified: Fri, 15 Jan 2027 07:00:00 GMT"
LATER = Arrival(NOW + 100, WALL + 100)


@pytest.mark.parametrize(
    ("lines", "sent"),
    [
        (['ETag: "a"'], ['If-None-Match: "a"']),
        (['ETag: W/"a"'], ['If-None-Match: W/"a"']),
        (["ETag: a"], ["If-None-Match: a"]),
        (['ETag: "a"', MODIFIED], ['If-None-Match: "a"', "If-Modified-Since: Fri, 15 Jan 2027 07:00:00 GMT"]),
        ([MODIFIED], ["If-Modified-Since: Fri, 15 Jan 2027 07:00:00 GMT"]),
        ([], []),
    ],
)
def test_what_is_asked(lines: list[str], sent: list[str]) -> None:
    assert validating_lines([stored(FRESH, *lines)]) == [line.encode() for line in sent]


def test_what_is_asked_about_several() -> None:
    several = [
        stored(FRESH, 'ETag: "a"', MODIFIED),
        stored(FRESH),
        stored(FRESH, 'ETag: "b"'),
        stored(FRESH, 'ETag: "a"'),
    ]
    assert validating_lines(several) == [b'If-None-Match: "a", "b"']


@pytest.mark.parametrize(
    ("reply", "index"),
    [
        (['ETag: "a"'], 0),
        (['ETag: "b"'], 1),
        (['ETag: "c"'], None),
        (['ETag: W/"a"'], 0),
        (['ETag: "w"'], None),  # a strong one is not the weak one that was stored
        (['ETag: W/"w"'], 2),
        ([MODIFIED], 3),
        ([MODIFIED, 'ETag: "x"'], None),
        ([], None),
    ],
)
def test_which_one_a_304_is_about(reply: list[str], index: int | None) -> None:
    """Section 4.3.4."""
    variants = [stored(FRESH, line) for line in ('ETag: "a"', 'ETag: "b"', 'ETag: W/"w"', MODIFIED)]
    expected = None if index is None else variants[index]
    assert chosen_by(variants, response(*reply, status=304)) is expected


def test_a_304_without_a_validator_is_about_the_one_that_was_asked_about() -> None:
    found = stored(FRESH, 'ETag: "a"')
    assert chosen_by([found], response(status=304)) is found
    assert chosen_by([found], response('ETag: "b"', status=304)) is None


def updated(found: Stored, *reply: str, to: tuple[str, ...] = ()) -> Stored:
    decision = refreshed(rules(), Asking(asked(*to)), found, response(*reply, status=304), LATER)
    assert decision.stored is not None
    assert decision.reason == ""
    return decision.stored


def test_a_304_updates_fields_and_nothing_of_the_body() -> None:
    """Section 3.2."""
    found = stored(
        *("Cache-Control: max-age=2", 'ETag: "a"', "X-A: 1", "X-A: 2", "X-B: 1", "Content-Type: text/plain", DATE),
        *("Content-Encoding: gzip", "Content-Length: 5", "Age: 1"),
        content=b"hello",
    )
    new = updated(
        found,
        *('ETag: "a"', "X-A: 3", "X-C: 4", "Cache-Control: max-age=3600", "Content-Type: text/html", "Expires: 0"),
        *("Content-Encoding: br", "Content-Length: 10", "Content-Range: bytes 0-1/5", "Connection: x-d", "X-D: 1"),
    )
    head = new.head
    assert content_of(new) == b"hello"
    assert (head.status, head.framing) == (200, 5)
    assert {name: values(head, name) for name in ("x-a", "x-b", "x-c", "x-d", "etag")} == {
        "x-a": ["3"],
        "x-b": ["1"],
        "x-c": ["4"],
        "x-d": [],
        "etag": ['"a"'],
    }
    assert values(head, "content-type") == ["text/html"]
    assert values(head, "content-encoding") == ["gzip"]
    assert values(head, "content-length") == ["5"]
    assert values(head, "content-range") == []
    assert (new.lifetime, new.since) == (3600, LATER.now)


def test_it_is_as_old_as_the_reply() -> None:
    found = stored(FRESH, 'ETag: "a"', DATE)
    new = updated(found, 'ETag: "a"')
    assert (new.since, values(new.head, "date")) == (LATER.now, ["Fri, 15 Jan 2027 08:01:40 GMT"])
    new = updated(found, 'ETag: "a"', "Date: Fri, 15 Jan 2027 08:01:30 GMT", "Age: 10")
    assert (new.since, values(new.head, "date")) == (LATER.now - 10, ["Fri, 15 Jan 2027 08:01:30 GMT"])


def test_it_answers_the_codings_that_it_answered() -> None:
    lines = (FRESH, 'ETag: "a"', "Vary: Accept-Encoding", "Content-Encoding: gzip")
    found = stored(*lines, to=("Accept-Encoding: gzip, br",))
    new = updated(found, 'ETag: "a"', to=("Accept-Encoding: gzip",))
    assert new.codings == frozenset({b"gzip", b"br", b"identity"})


@pytest.mark.parametrize("line", ["Cache-Control: no-store", "Cache-Control: private", "Set-Cookie: a=b", "Vary: *"])
def test_what_may_not_be_stored_any_more_goes_to_the_one_who_waits(line: str) -> None:
    found = stored(FRESH, 'ETag: "a"', content=b"hello")
    decision = refreshed(rules(), Asking(asked()), found, response('ETag: "a"', line, status=304), LATER)
    assert decision.reason
    assert decision.stored is not None
    assert content_of(decision.stored) == b"hello"
    assert line.encode() in decision.stored.head.fields.lines


@pytest.mark.parametrize(
    ("reply", "holds"),
    [
        (["Cache-Control: max-age=1000"], True),
        (['ETag: "a"', MODIFIED, "Content-Length: 5"], True),
        (['ETag: "b"'], False),
        (['ETag: W/"a"'], False),
        (["Last-Modified: Fri, 15 Jan 2027 07:30:00 GMT"], False),
        (["Content-Length: 6"], False),
        (["Cache-Control: no-store"], False),
    ],
)
def test_what_a_response_to_head_changes(reply: list[str], holds: bool) -> None:
    """Section 4.3.5."""
    found = stored(FRESH, 'ETag: "a"', MODIFIED, "X-A: 1", content=b"hello")
    new = after_head(rules(), Asking(asked(), b"HEAD"), found, response(*reply, "X-A: 2"), LATER)
    assert (new is not None) is holds
    if new is not None:
        assert (values(new.head, "x-a"), content_of(new), new.since) == (["2"], b"hello", LATER.now)


@pytest.mark.parametrize("status", [410, 503])
def test_another_status_to_head_changes_nothing(status: int) -> None:
    found = stored(FRESH)
    assert after_head(rules(), Asking(asked(), b"HEAD"), found, response("A: 1", status=status), LATER) is found


SEND, NOT_MODIFIED, FORWARD = Precondition
EARLIER, SAME, AFTER = (f"Fri, 15 Jan 2027 0{hour}:00:00 GMT" for hour in (6, 7, 9))


@pytest.mark.parametrize(
    ("lines", "result"),
    [
        ([], SEND),
        # RFC 9110, section 13.1.2
        (['If-None-Match: "a"'], NOT_MODIFIED),
        (['If-None-Match: W/"a"'], NOT_MODIFIED),
        (['If-None-Match: "x", "a", "y"'], NOT_MODIFIED),
        (['If-None-Match: "x"', 'If-None-Match: "a"'], NOT_MODIFIED),
        (["If-None-Match: *"], NOT_MODIFIED),
        (['If-None-Match: "x"'], SEND),
        (["If-None-Match: a"], SEND),
        (["If-None-Match: "], SEND),
        (['If-None-Match: "x, a"', f"If-Modified-Since: {AFTER}"], SEND),
        # section 13.1.3, only without If-None-Match
        ([f"If-Modified-Since: {SAME}"], NOT_MODIFIED),
        ([f"If-Modified-Since: {AFTER}"], NOT_MODIFIED),
        ([f"If-Modified-Since: {EARLIER}"], SEND),
        (["If-Modified-Since: Friday, 15-Jan-27 07:00:00 GMT"], NOT_MODIFIED),
        (["If-Modified-Since: never"], SEND),
        (['If-None-Match: "a"', f"If-Modified-Since: {EARLIER}"], NOT_MODIFIED),
        # sections 13.1.1 and 13.1.4: what does not hold here may hold at the service
        (['If-Match: "a"'], SEND),
        (["If-Match: *"], SEND),
        (['If-Match: "x"'], FORWARD),
        (['If-Match: W/"a"'], FORWARD),
        (['If-Match: "a"', 'If-None-Match: "a"'], NOT_MODIFIED),
        ([f"If-Unmodified-Since: {AFTER}"], SEND),
        ([f"If-Unmodified-Since: {EARLIER}"], FORWARD),
        (["If-Unmodified-Since: never"], SEND),
        ([f"If-Unmodified-Since: {EARLIER}", 'If-Match: "a"'], SEND),
    ],
)
def test_a_clients_own_conditions(lines: list[str], result: Precondition) -> None:
    assert precondition(stored(FRESH, 'ETag: "a"', MODIFIED), asked(*lines)) is result


def test_conditions_where_there_is_no_validator() -> None:
    found = stored(FRESH, DATE)
    assert precondition(found, asked('If-None-Match: "a"')) is SEND
    assert precondition(found, asked(f"If-Modified-Since: {EARLIER}")) is SEND
    assert precondition(found, asked("If-Modified-Since: Fri, 15 Jan 2027 08:00:00 GMT")) is NOT_MODIFIED  # its Date
    assert precondition(found, asked(f"If-Unmodified-Since: {AFTER}")) is FORWARD


def test_weak_tags() -> None:
    found = stored(FRESH, 'ETag: W/"a"')
    assert precondition(found, asked('If-None-Match: "a"')) is NOT_MODIFIED
    assert precondition(found, asked('If-Match: W/"a"')) is FORWARD


@pytest.mark.parametrize("status", [404, 301, 500])
def test_conditions_are_about_successes_alone(status: int) -> None:
    """RFC 9110, section 13.2.1."""
    found = stored(FRESH, 'ETag: "a"', status=status)
    assert precondition(found, asked('If-None-Match: "a"')) is SEND


def test_the_head_of_a_304() -> None:
    """RFC 9110, section 15.4.5."""
    head = not_modified_head(
        stored(
            *(FRESH, 'ETag: "a"', DATE, "Vary: Foo", "Content-Location: /x", "Expires: 0", MODIFIED, "X-A: 1"),
            *("Content-Type: text/html", "Content-Encoding: gzip", "Content-Language: de", "Content-Length: 5"),
            content=b"hello",
        )
    )
    assert (head.status, head.line, head.framing) == (304, b"HTTP/1.1 304 Not Modified", 0)
    assert set(head.fields.names) == {
        *(b"cache-control", b"etag", b"date", b"vary", b"content-location", b"expires", b"last-modified", b"x-a"),
    }
