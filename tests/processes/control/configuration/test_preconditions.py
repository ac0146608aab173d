"""`If-Match` as RFC 9110 has it, section 13.1.1."""

from __future__ import annotations

import pytest

from portico.processes.control.configuration.preconditions import read_if_match


@pytest.mark.parametrize(
    ("fields", "tags"),
    [
        ([], None),
        (["*"], {"*"}),
        ([" * "], {"*"}),
        (['"a"'], {'"a"'}),
        (['"a", "b"', '"c"'], {'"a"', '"b"', '"c"'}),
        (['W/"a"'], set()),
        (['W/"a", "b"'], {'"b"'}),
        ([', "a" ,, "b",'], {'"a"', '"b"'}),
        (['"a,b"'], {'"a,b"'}),
        (['""'], {'""'}),
    ],
)
def test_strong_tags_are_what_may_match(fields: list[str], tags: set[str] | None) -> None:
    assert read_if_match(fields) == tags


@pytest.mark.parametrize("field", ["", "abc", '"abc', 'w/"a"', '"a" "b"', "*, *", '*, "a"', '"a\x01"', "'a'", '"a"b'])
def test_all_else_is_an_error(field: str) -> None:
    with pytest.raises(ValueError, match="If-Match"):
        read_if_match([field])
