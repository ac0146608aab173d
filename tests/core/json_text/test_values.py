"""Values that rules write."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.core.json_text import json_value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (12345678901234567890123, "12345678901234567890123"),
        (1.0, "1.0"),
        ('é"\\\n\u2028', '"é\\"\\\\\\n\u2028"'),
        ("\ud800x", '"\\ud800x"'),
        ([], "[]"),
        ({"b": [1, {}], "a": None}, '{"b":[1,{}],"a":null}'),
        ({1: "number"}, '{"1":"number"}'),
    ],
)
def test_text(value: Any, text: str) -> None:
    assert json_value(value) == text.encode()


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), {"a": b"bytes"}, datetime.date(2026, 11, 30), {(1, 2): 3}, nested(100_000)]
)
def test_what_json_has_not(value: Any) -> None:
    with pytest.raises(ValueError, match="JSON"):
        json_value(value)


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_values_are_read_back(value: Any) -> None:
    assert json.loads(json_value(value)) == value
