"""Structured fields (RFC 9651)."""

from __future__ import annotations

from typing import Any

import pytest

from portico.proxy.cache.structured import NotStructuredError, parse_dictionary, parse_list, strings_of


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([b""], {}),
        ([b"a"], {b"a": True}),
        ([b"a=1, b=-2.5, c"], {b"a": 1, b"b": -2.5, b"c": True}),
        ([b"a=1", b"b=2"], {b"a": 1, b"b": 2}),
        ([b"a=1,\tb=?0"], {b"a": 1, b"b": False}),
        ([b'a="x \\"y\\" \\\\"'], {b"a": 'x "y" \\'}),
        ([b"a=tok/en:1*"], {b"a": b"tok/en:1*"}),
        ([b"a=1;x;y=2, b;z"], {b"a": 1, b"b": True}),
        ([b"a=1, a=2"], {b"a": 2}),
        ([b'a=("x" "y" t 1);q=2, b=()'], {b"a": ["x", "y", b"t", 1], b"b": []}),
        ([b"a=:aGk=:, b=@1659578233"], {b"a": None, b"b": None}),
    ],
)
def test_a_dictionary(lines: list[bytes], found: dict[bytes, Any]) -> None:
    assert parse_dictionary(lines) == found


@pytest.mark.parametrize(
    "line",
    [b"a=1,", b",a", b"a,,b", b"A=1", b"a =1", b"a= 1", b"a=", b'a="x', b"a=1 b", b"a=(1", b"a=(1,2)", b"a=1.", b"&&"],
)
def test_no_dictionary(line: bytes) -> None:
    with pytest.raises(NotStructuredError):
        parse_dictionary([line])


def test_a_list() -> None:
    assert parse_list([b'"a", b', b"(1 2);x"]) == ["a", b"b", [1, 2]]


def test_strings_of_a_list() -> None:
    assert strings_of([b'"a";p=1, tok, "b"']) == ["a", "b"]
    assert strings_of([b'"a", "b'], 1) == []
    assert strings_of([b'"a", "b"'], 1) == ["a"]
