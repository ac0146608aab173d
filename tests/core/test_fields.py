"""What the field lines of a head say."""

from __future__ import annotations

import pytest

from portico.core.messages import Fields


def fields(*lines: str) -> Fields:
    return Fields([line.partition(":")[0].lower().encode() for line in lines], [line.encode() for line in lines])


@pytest.mark.parametrize(
    ("lines", "name", "value"),
    [
        ([], b"x", None),
        (["Y: 1"], b"x", None),
        (["X:"], b"x", b""),
        (["X: \t a b \t"], b"x", b"a b"),
        (["X: 1", "Y: 2", "x:3"], b"x", b"1, 3"),
        (["X: 1", "X: 1"], b"x", b"1, 1"),
        (["X: 1, 2", "X:", "X: 3"], b"x", b"1, 2, , 3"),
        (["Cookie: a=1; b=2", "cookie: a=3"], b"cookie", b"a=1; b=2; a=3"),
        (["Set-Cookie: a=1", "X: 1"], b"cookie", None),
    ],
)
def test_several_lines_are_one_value_in_order(lines: list[str], name: bytes, value: bytes | None) -> None:
    assert fields(*lines).get(name) == value


def test_each_line_by_itself() -> None:
    assert fields("X: 1", "Y: 2", "x:3 ").all(b"x") == [b"1", b"3"]
    assert fields("X: A, b", "Y: 2", "x: ,C").tokens(b"x") == [b"a", b"b", b"c"]
