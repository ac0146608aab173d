"""How long a response is fresh, and how old it is when it arrives (RFC 9111, section 4.2)."""

from __future__ import annotations

from typing import Any

import pytest

from portico.proxy.cache.directives import response_directives
from portico.proxy.cache.freshness import Arrival, date_of, initial_age, lifetime_of
from proxy.cache.messages import DATE, NOW, WALL, response, rules

FUTURE = "Expires: Fri, 15 Jan 2027 08:10:00 GMT"
"""Ten minutes after `DATE`."""
PAST = "Expires: Fri, 15 Jan 2027 07:50:00 GMT"
MODIFIED = "Last-Modified: Fri, 15 Jan 2027 07:00:00 GMT"
"""An hour before."""


def seconds(*lines: str, status: int = 200, **settings: Any) -> float:
    compiled, head = rules(**settings), response(*lines, status=status)
    directives = response_directives(head.fields, compiled.targets)
    return lifetime_of(compiled, head, directives, date_of(head, WALL)).seconds


@pytest.mark.parametrize(
    ("lines", "lifetime"),
    [
        # section 4.2.1: the first that there is
        (["Cache-Control: max-age=60"], 60),
        (["Cache-Control: max-age=60, s-maxage=5"], 5),
        (["Cache-Control: s-maxage=60, max-age=1"], 60),
        (["Cache-Control: max-age=60", PAST], 60),
        ([PAST, "Cache-Control: max-age=60"], 60),
        (["Cache-Control: max-age=60", "Expires: 0"], 60),
        (["Cache-Control: max-age=0", FUTURE], 0),
        (["Cache-Control: no-cache, max-age=60"], 0),
        (["Cache-Control: no-cache=x-a, max-age=60"], 60),
        ([FUTURE, DATE], 600),
        ([FUTURE], 600),
        ([FUTURE, "Date: never"], 600),
        ([FUTURE, "Date: Fri, 15 Jan 2027 08:05:00 GMT"], 300),
        ([PAST, DATE], 0),
        (["Expires: Fri, 15 Jan 2027 08:00:00 GMT", DATE], 0),
        (["Expires: 0", DATE], 0),
        (["Expires: -1", MODIFIED], 0),
        ([FUTURE, FUTURE, DATE], 0),
        # section 4.2.2: a tenth of its age, where nothing is said
        ([MODIFIED, DATE], 360),
        (["Cache-Control: must-revalidate", MODIFIED, DATE], 360),
        (["Last-Modified: Fri, 01 Jan 1999 00:00:00 GMT", DATE], 86400),
        (["Last-Modified: Fri, 15 Jan 2027 09:00:00 GMT", DATE], 0),
        (["Last-Modified: never", DATE], 0),
        ([DATE], 0),
        # RFC 9213: neither Cache-Control nor Expires
        (["CDN-Cache-Control: max-age=60", "Cache-Control: max-age=1", PAST], 60),
        (["CDN-Cache-Control: max-age=1", "Cache-Control: max-age=60", FUTURE], 1),
        (["CDN-Cache-Control: none", "Cache-Control: max-age=60", FUTURE, DATE], 0),
    ],
    ids=str,
)
def test_its_own_word(lines: list[str], lifetime: float) -> None:
    assert seconds(*lines) == lifetime


@pytest.mark.parametrize(
    ("lines", "lifetime"),
    [
        ([], 30),
        ([MODIFIED, DATE], 30),
        (["Cache-Control: public"], 30),
        (["Cache-Control: max-age=60"], 60),
        (["Cache-Control: max-age=0"], 0),
        (["Cache-Control: max-age=x"], 0),
        (["Cache-Control: no-cache"], 0),
        (["Pragma: no-cache"], 0),
        ([FUTURE, DATE], 600),
        (["Expires: 0"], 0),
    ],
    ids=str,
)
def test_the_configured_time_is_for_those_that_say_nothing(lines: list[str], lifetime: float) -> None:
    assert seconds(*lines, ttl=30) == lifetime


@pytest.mark.parametrize("status", [200, 203, 300, 301, 308, 404, 410])
def test_it_holds_for_statuses_of_things_that_last(status: int) -> None:
    assert seconds(status=status, ttl=30) == 30


@pytest.mark.parametrize("status", [201, 302, 307, 400, 403, 405, 500, 503, 599])
def test_it_holds_for_others_where_they_are_named(status: int) -> None:
    assert seconds(status=status, ttl=30) == 0
    assert seconds(status=status, ttl=30, statuses=[status]) == 30


@pytest.mark.parametrize("status", [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501])
def test_statuses_with_a_heuristic(status: int) -> None:
    assert seconds(MODIFIED, DATE, status=status) == 360


@pytest.mark.parametrize("status", [201, 202, 302, 307, 400, 403, 500, 502, 503, 504, 599])
def test_other_statuses_have_none_unless_they_are_public(status: int) -> None:
    assert seconds(MODIFIED, DATE, status=status) == 0
    assert seconds(MODIFIED, DATE, "Cache-Control: public", status=status) == 360


@pytest.mark.parametrize(
    ("lines", "delay", "age"),
    [
        ([DATE], 0.0, 0),
        ([], 0.0, 0),
        ([DATE], 2.5, 2.5),
        ([DATE, "Age: 30"], 0.0, 30),
        ([DATE, "Age: 30"], 2.5, 32.5),
        (["Date: Fri, 15 Jan 2027 06:00:00 GMT"], 0.0, 7200),
        (["Date: Fri, 15 Jan 2027 06:00:00 GMT", "Age: 30"], 0.0, 7200),
        (["Date: Fri, 15 Jan 2027 09:00:00 GMT", "Age: 30"], 0.0, 30),
        (["Date: Fri, 15 Jan 2027 07:59:59 GMT"], 0.0, 0),  # made at the end of that second
        (["Date: never", "Age: 5"], 0.0, 5),
        # section 5.1
        (["Age: abc"], 0.0, 0),
        (["Age: -7200"], 0.0, 0),
        (["Age: 7200.0"], 0.0, 0),
        (["Age: 7200;x=y"], 0.0, 0),
        (["Age: 7200, 0"], 0.0, 7200),
        (["Age: 0, 7200"], 0.0, 0),
        (["Age: 7200", "Age: 0"], 0.0, 7200),
        (["Age: 0", "Age: 7200"], 0.0, 0),
        (["Age: 2147483649"], 0.0, 2147483648),
        (["Age: " + "9" * 4500], 0.0, 2147483648),
    ],
    ids=lambda value: str(value)[:60],
)
def test_how_old_it_is_when_it_arrives(lines: list[str], delay: float, age: float) -> None:
    head = response(*lines)
    assert initial_age(head, date_of(head, WALL), Arrival(NOW, WALL + 0.5, delay)) == age
