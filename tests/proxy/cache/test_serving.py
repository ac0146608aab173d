"""May a stored response be served, and how (RFC 9111, sections 4 and 5.2.1; RFC 5861; RFC 8246)?"""

from __future__ import annotations

import pytest

from portico.proxy.cache.serving import Use, is_hopeless, may_follow, may_replace_error, may_store, takes_part, use_of
from proxy.cache.messages import NOW, asked, request, rules, stored

MINUTE = "Cache-Control: max-age=60"
SWR = "Cache-Control: max-age=60, stale-while-revalidate=30"


@pytest.mark.parametrize(
    ("response", "age", "use"),
    [
        (MINUTE, 0, Use.FRESH),
        (MINUTE, 59.9, Use.FRESH),
        (MINUTE, 60, Use.VALIDATE),
        (SWR, 60, Use.REFRESH),
        (SWR, 89.9, Use.REFRESH),
        (SWR, 90, Use.VALIDATE),
        ("Cache-Control: max-age=0, stale-while-revalidate=30", 0, Use.REFRESH),
        ("Cache-Control: s-maxage=60, stale-while-revalidate=30", 61, Use.VALIDATE),
        ("Cache-Control: no-cache, max-age=60, stale-while-revalidate=30", 0, Use.VALIDATE),
    ],
)
def test_by_its_age(response: str, age: float, use: Use) -> None:
    found = stored(response, 'ETag: "a"')
    assert use_of(found, asked(), NOW + age) is use
    assert use_of(found, asked("If-None-Match: x"), NOW + age) is use  # whose directives are looked at


@pytest.mark.parametrize(
    ("response", "wish", "age", "use"),
    [
        # section 5.2.1.1
        (MINUTE, "max-age=0", 0.1, Use.VALIDATE),
        (MINUTE, "max-age=10", 10, Use.FRESH),
        (MINUTE, "max-age=10", 10.1, Use.VALIDATE),
        (SWR, "max-age=100", 61, Use.VALIDATE),
        (SWR, "max-age=100, max-stale", 61, Use.REFRESH),
        # section 5.2.1.2
        (MINUTE, "max-stale", 1000, Use.STALE),
        (MINUTE, "max-stale=10", 70, Use.STALE),
        (MINUTE, "max-stale=10", 70.1, Use.VALIDATE),
        (MINUTE, "max-stale=100, max-age=50", 61, Use.VALIDATE),
        (SWR, "max-stale=100", 70, Use.REFRESH),
        ("Cache-Control: max-age=60, must-revalidate", "max-stale", 61, Use.VALIDATE),
        ("Cache-Control: max-age=60, proxy-revalidate", "max-stale", 61, Use.VALIDATE),
        ("Cache-Control: s-maxage=60", "max-stale", 61, Use.VALIDATE),
        ("Cache-Control: no-cache", "max-stale", 61, Use.VALIDATE),
        # section 5.2.1.3
        (MINUTE, "min-fresh=20", 40, Use.FRESH),
        (MINUTE, "min-fresh=20", 40.1, Use.VALIDATE),
        (SWR, "min-fresh=0", 61, Use.VALIDATE),
        # section 5.2.1.4
        (MINUTE, "no-cache", 1, Use.VALIDATE),
        # section 5.2.1.5: what is stored already may be served
        (MINUTE, "no-store", 1, Use.FRESH),
        # section 5.2.1.7
        (MINUTE, "only-if-cached", 1, Use.FRESH),
        (MINUTE, "only-if-cached", 61, Use.VALIDATE),
        # RFC 8246, section 2: a reload is no reason, a forced one is
        ("Cache-Control: max-age=60, immutable", "max-age=0", 10, Use.FRESH),
        ("Cache-Control: max-age=60, immutable", "no-cache", 10, Use.VALIDATE),
        ("Cache-Control: max-age=60, immutable", "max-age=0", 61, Use.VALIDATE),
    ],
)
def test_by_what_the_request_wishes(response: str, wish: str, age: float, use: Use) -> None:
    assert use_of(stored(response, 'ETag: "a"'), asked(f"Cache-Control: {wish}"), NOW + age) is use


@pytest.mark.parametrize(
    ("response", "wish", "age", "may"),
    [
        ("max-age=60, stale-if-error=30", None, 61, True),
        ("max-age=60, stale-if-error=30", None, 90, False),
        ("max-age=60, stale-if-error=30, must-revalidate", None, 61, False),
        ("max-age=60, stale-if-error=30, proxy-revalidate", None, 61, False),
        ("s-maxage=60, stale-if-error=30", None, 61, False),
        ("no-cache, stale-if-error=30", None, 1, False),
        ("max-age=60", None, 61, False),
        ("max-age=60", "stale-if-error=30", 61, True),
        ("max-age=60, must-revalidate", "stale-if-error=30", 61, False),
        ("max-age=60", "max-age=0", 10, True),  # it is fresh: the client only wished for a newer one
        ("max-age=60, stale-if-error=30", "no-cache", 10, False),
    ],
)
def test_in_place_of_an_error(response: str, wish: str | None, age: float, may: bool) -> None:
    lines = () if wish is None else (f"Cache-Control: {wish}",)
    assert may_replace_error(stored(f"Cache-Control: {response}", 'ETag: "a"'), asked(*lines), NOW + age) is may


def test_those_who_waited_get_what_they_would_get_from_the_store() -> None:
    found = stored(MINUTE, "Vary: Foo", to=("Foo: 1",))
    assert may_follow(found, asked("Foo: 1"), None, NOW)
    assert not may_follow(found, asked("Foo: 2"), None, NOW)
    assert not may_follow(found, asked("Foo: 1"), b"alice", NOW)
    assert not may_follow(found, asked("Foo: 1"), None, NOW + 60)
    assert not may_follow(stored("Cache-Control: no-cache", 'ETag: "a"'), asked(), None, NOW)


def test_what_a_request_forbids() -> None:
    assert may_store(asked())
    assert not may_store(asked("Cache-Control: no-store"))
    assert is_hopeless(asked("Cache-Control: only-if-cached"))
    assert not is_hopeless(asked("Cache-Control: max-age=0"))


@pytest.mark.parametrize(
    ("method", "framing", "takes"),
    [
        (b"GET", 0, True),
        (b"HEAD", 0, True),
        (b"QUERY", 9, True),
        (b"GET", 9, False),
        (b"GET", -1, False),
        (b"PUT", 0, False),
    ],
)
def test_requests_with_content_are_not_for_the_cache(method: bytes, framing: int, takes: bool) -> None:
    assert takes_part(rules(), request(method=method, framing=framing)) is takes


def test_nor_are_those_that_want_another_protocol() -> None:
    wanting = request("Upgrade: websocket")
    wanting.noted = frozenset({b"upgrade"})
    assert not takes_part(rules(), wanting)
