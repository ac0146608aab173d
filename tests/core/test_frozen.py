"""JSON values that nobody can change."""

from __future__ import annotations

from typing import Any

import pytest

from portico.core.frozen import frozen


def test_it_equals_what_it_was_made_of_and_cannot_be_changed() -> None:
    written: dict[str, Any] = {"a": [1, {"b": "c"}], "d": {"e": []}, "f": None}
    value, _ = frozen(written)
    assert value == {"a": (1, {"b": "c"}), "d": {"e": ()}, "f": None}
    for part in (value, value["d"], value["a"][1]):
        with pytest.raises(TypeError, match="assignment"):
            part["x"] = 1
    written["a"].append(2)
    written["d"]["e"] = 1
    assert value["a"] == (1, {"b": "c"})
    assert value["d"] == {"e": ()}


def test_its_size_grows_with_all_that_is_in_it() -> None:
    small = frozen({"a": 1})[1]
    assert frozen({"a": "x" * 1000})[1] > small + 900
    assert frozen({"a" * 1000: 1})[1] > small + 900
    assert frozen({"a": [["b"] for _ in range(100)]})[1] > small + 5_000
