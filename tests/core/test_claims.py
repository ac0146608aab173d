"""Claims of tokens: they are what was signed, and nobody can change them."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest

from portico.core.claims import claims_of, json_of

SECRET = "a secret of at least thirty-two bytes"


def part(written: str, encoding: str = "utf-8") -> bytes:
    return base64.urlsafe_b64encode(written.encode(encoding)).rstrip(b"=")


def nested(levels: int) -> str:
    """Claims of which one has so many levels above it."""
    return '{"a":' * levels + "1" + "}" * levels


@pytest.mark.parametrize("before", ["", "Authorization: Bearer ", "authorization:bearer   "])
def test_they_equal_what_was_signed_and_cannot_be_changed(before: str) -> None:
    written: dict[str, Any] = {"a": [1, {"b": "c"}], "d": {"e": []}, "f": None, "J\u00fcrgen": 1.5}
    value: Any = claims_of((before + jwt.encode(written, SECRET)).encode())
    assert value == {"a": (1, {"b": "c"}), "d": {"e": ()}, "f": None, "J\u00fcrgen": 1.5}
    for inner in (value, value["d"], value["a"][1]):
        with pytest.raises(TypeError, match="assignment"):
            inner["x"] = 1


def test_they_are_read_as_the_one_who_verifies_them_reads_them() -> None:
    token = jwt.PyJWS().encode(b'{"sub":"first","sub":"last","n":123456789012345678901234567890,"s":"\\ud800"}', SECRET)
    assert claims_of(token.encode()) == jwt.decode(token, SECRET, ["HS256"], options={"verify_sub": False})


def test_how_deep_they_may_be_nested() -> None:
    assert json.dumps(claims_of(b"." + part(nested(100)) + b"."), default=dict) == nested(100).replace(":", ": ")
    for levels in (101, 5000):
        with pytest.raises(
            (ValueError, RecursionError), match=r"nested more than 100 levels deep|maximum recursion depth"
        ):
            claims_of(b"." + part(nested(levels)) + b".")


@pytest.mark.parametrize("written", ["NaN", '{"a":[Infinity]}', "-Infinity", "", "{", "{} {}"])
def test_what_is_no_json(written: str) -> None:
    with pytest.raises(ValueError, match=r"no number of JSON|Expecting|Extra data"):
        json_of(part(written))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_what_is_no_utf_8(encoding: str) -> None:
    with pytest.raises(ValueError, match=r"Expecting|codec|BOM"):
        json_of(part("{}", encoding))
