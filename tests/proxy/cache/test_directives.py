"""What Cache-Control says, and what counts where it breaks the rules (RFC 9111, sections 4.2.1 and 5.2; RFC 9213)."""

from __future__ import annotations

from typing import Any

import pytest

from portico.proxy.cache.directives import MOST_SECONDS, NOTHING, Directives, request_directives, response_directives
from proxy.cache.messages import fields


def written(value: Any) -> str:
    """The name of a case: what is written, not what comes of it."""
    return "" if isinstance(value, dict) else str(value)[:40]


def said(directives: Directives) -> dict[str, Any]:
    """What is not as where nothing is said."""
    names = Directives.__dataclass_fields__
    return {name: value for name in names if (value := getattr(directives, name)) != getattr(NOTHING, name)}


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("max-age=60", {"max_age": 60}),
        ("MaX-aGe=60, PUBLIC", {"max_age": 60, "public": True}),
        ("max-age=1, s-maxage=2", {"max_age": 1, "s_maxage": 2}),
        ("max-age=003600", {"max_age": 3600}),
        ('max-age="60"', {"max_age": 60}),
        (" max-age=60 , ,,public\t", {"max_age": 60, "public": True}),
        ("no-store, no-cache", {"no_store": True, "no_cache": True}),
        ("must-revalidate,proxy-revalidate", {"must_revalidate": True, "proxy_revalidate": True}),
        ("must-understand, immutable", {"must_understand": True, "immutable": True}),
        ("stale-while-revalidate=5, stale-if-error=6", {"stale_while_revalidate": 5, "stale_if_error": 6}),
        ("foobar, x=y, max-age=1", {"max_age": 1}),
        ('private="X-A, x-b"', {"private_fields": {b"x-a", b"x-b"}}),
        ("no-cache=x-a", {"no_cache_fields": {b"x-a"}}),
    ],
    ids=written,
)
def test_what_it_says(value: str, found: dict[str, Any]) -> None:
    assert said(response_directives(fields(f"Cache-Control: {value}"))) == found


@pytest.mark.parametrize(
    ("value", "found"),
    [
        # numbers that are none: stale
        ("max-age=-3600", {"max_age": 0}),
        ("max-age=3600.0", {"max_age": 0}),
        ("max-age='3600'", {"max_age": 0}),
        ("max-age=a3600", {"max_age": 0}),
        ("max-age=3600a", {"max_age": 0}),
        ("max-age", {"max_age": 0}),
        ("max-age=", {"max_age": 0}),
        ("max-age =3600", {"max_age": 0}),
        ("max-age= 3600", {"max_age": 0}),
        ("max-age=3600;x=y", {"max_age": 0}),
        # great ones: for ever
        ("max-age=2147483648", {"max_age": MOST_SECONDS}),
        ("max-age=99999999999", {"max_age": MOST_SECONDS}),
        ("max-age=" + "9" * 5000, {"max_age": MOST_SECONDS}),
        # several: the least
        ("max-age=1800, max-age=1", {"max_age": 1}),
        ("max-age=1, max-age=1800", {"max_age": 1}),
        ("max-age=60, max-age=x", {"max_age": 0}),
        ("no-cache, no-cache=x-a", {"no_cache": True, "no_cache_fields": {b"x-a"}}),
        # in quoted strings nothing counts, unless they do not end
        ('ext="max-age=3600", max-age=1', {"max_age": 1}),
        ('max-age=1, ext="no-store, x\\", private"', {"max_age": 1}),
        ('ext="x, no-store', {"no_store": True}),
        # what restricts holds with an argument, too; what allows does not
        ("no-store=x, public=y, immutable=z", {"no_store": True}),
        ('private=""', {"private": True}),
        ('private="x a"', {"private": True}),
    ],
    ids=written,
)
def test_a_broken_one_restricts(value: str, found: dict[str, Any]) -> None:
    assert said(response_directives(fields(f"Cache-Control: {value}"))) == found


def test_several_lines_are_one_list() -> None:
    two = fields("Cache-Control: max-age=1800", "Cache-Control: max-age=1, public")
    assert said(response_directives(two)) == {"max_age": 1, "public": True}


def test_pragma_counts_where_there_is_no_cache_control() -> None:
    assert said(request_directives(fields("Pragma: no-cache"))) == {"no_cache": True}
    assert said(request_directives(fields("Pragma: no-cache", "Cache-Control: max-age=5"))) == {"max_age": 5}
    assert said(request_directives(fields("Pragma: x=no-cache"))) == {}
    assert said(response_directives(fields("Pragma: no-cache"))) == {"no_cache": True}
    assert said(response_directives(fields("Pragma: no-cache", "Cache-Control: max-age=5"))) == {"max_age": 5}


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("max-age=0", {"max_age": 0}),
        ("max-stale", {"max_stale": MOST_SECONDS}),
        ("max-stale=10, min-fresh=20", {"max_stale": 10, "min_fresh": 20}),
        ("only-if-cached, no-store", {"only_if_cached": True, "no_store": True}),
        ("stale-if-error=60", {"stale_if_error": 60}),
    ],
)
def test_what_a_request_says(value: str, found: dict[str, Any]) -> None:
    assert said(request_directives(fields(f"Cache-Control: {value}"))) == found


TARGETS = (b"shop-cache-control", b"cdn-cache-control")


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (["CDN-Cache-Control: max-age=60"], {"is_targeted": True, "max_age": 60}),
        (["CDN-Cache-Control: max-age=60;x=1, foo"], {"is_targeted": True, "max_age": 60}),
        (['CDN-Cache-Control: private="A, b"'], {"is_targeted": True, "private_fields": {b"a", b"b"}}),
        (["CDN-Cache-Control: no-store=?0, max-age=1"], {"is_targeted": True, "max_age": 1}),
        (["CDN-Cache-Control: none"], {"is_targeted": True}),
        (
            ["CDN-Cache-Control: max-age=60", "Shop-Cache-Control: max-age=5"],
            {"is_targeted": True, "max_age": 5},
        ),
        # a value of another type is no number
        (['CDN-Cache-Control: max-age="60"'], {"is_targeted": True, "max_age": 0}),
        (["CDN-Cache-Control: max-age=60.5"], {"is_targeted": True, "max_age": 0}),
        (["CDN-Cache-Control: max-age=-1"], {"is_targeted": True, "max_age": 0}),
        # no dictionary, or an empty one: as if it were not there
        (["CDN-Cache-Control: max-age=60, &&&"], {"no_store": True}),
        (["CDN-Cache-Control: max-age =60"], {"no_store": True}),
        (["CDN-Cache-Control: MaX-aGe=60"], {"no_store": True}),
        (["CDN-Cache-Control: "], {"no_store": True}),
        (["Other-Cache-Control: max-age=60"], {"no_store": True}),
    ],
    ids=written,
)
def test_a_field_that_is_meant_for_this_cache_comes_first(lines: list[str], found: dict[str, Any]) -> None:
    assert said(response_directives(fields("Cache-Control: no-store", *lines), TARGETS)) == found
