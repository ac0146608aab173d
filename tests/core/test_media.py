"""Which representation a client wants, by its `Accept` (RFC 9110, section 12.5.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.core.media import preferred

PROBLEM = (b"application/problem+json", b"application/json")
OFFERED = (PROBLEM, (b"text/html",), (b"text/plain",))
NAMES = ("json", "html", "text", None)

CHROMIUM = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", "json"),
        ("*/*", "json"),
        ("application/json", "json"),
        ("application/problem+json", "json"),
        ("text/html", "html"),
        ("TEXT/HTML", "html"),
        ("text/plain", "text"),
        ("text/*", "html"),
        (CHROMIUM, "html"),
        ("text/html, application/xhtml+xml, image/jxr, */*", "html"),
        ("application/json, text/plain, */*", "json"),
        ("text/html, application/json", "json"),
        ("text/html, application/json;q=0.9", "html"),
        ("text/html;q=0.5, */*;q=0.8", "json"),
        ("text/html;q=0.5, text/*;q=0.8", "text"),
        ("text/*;q=0.3, text/html;q=0.7, text/html;level=1, */*;q=0.5", "html"),
        ("application/json;q=0, */*", "json"),
        ("application/problem+json;q=0, application/json;q=0, */*;q=0.1", "html"),
        ("image/png", None),
        ("text/html;q=0", None),
        ("*/*;q=0", None),
        ("text/html;q=0.001", "html"),
        ("text/html ; q=0.5 , text/plain ;q=0.6", "text"),
        ("text/html; charset=utf-8", "html"),
        ('text/html; x="a,b", text/plain', "text"),
        ('text/plain;x="\\",text/html', "json"),
        ("application/xhtml+xml", None),
        ("html, text/plain", "text"),
        ("text/html;q=5, text/plain", "text"),
        ("text/html;q=, text/plain", "text"),
        ("*/html, text/plain;q=0.1", "text"),
        (", ,", "json"),
        ("nonsense", "json"),
    ],
)
def test_what_is_wanted(accept: str, wanted: str | None) -> None:
    index = preferred(accept.encode(), OFFERED)
    assert (None if index is None else NAMES[index]) == wanted


@given(st.binary(max_size=80))
def test_any_bytes_are_read(accept: bytes) -> None:
    assert preferred(accept, OFFERED) in (None, 0, 1, 2)


@given(st.lists(st.sampled_from(["text/html", "text/plain", "application/json", "*/*", "text/*"]), max_size=6))
def test_the_order_of_ranges_means_nothing(ranges: list[str]) -> None:
    one, other = (",".join(order).encode() for order in (ranges, ranges[::-1]))
    assert preferred(one, OFFERED) == preferred(other, OFFERED)
