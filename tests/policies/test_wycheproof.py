"""Wycheproof's vectors for signed tokens and for keys: all are answered as they say, but for those that are named."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic import SecretStr

from portico.policies.auth import JwtSettings
from portico.policies.auth import signed as signed_module
from portico.policies.auth.keys import ALGORITHMS, SHARED, Key, KeySet, key_set
from portico.policies.auth.signed import signed

VECTORS: Final = Path(__file__).parent / "wycheproof"
OTHERWISE: Final = {
    "json_web_signature_test.json": {
        346: "its key is for PS256, and it says PS384",
        347: "its key is for ES521, which is no algorithm",
        350: "as 346",
        351: "as 347",
        367: "it is the token of the first vector of its group, of which it is said that it is valid",
        370: "as 367",
        372: "characters outside of the alphabet are refused",
        373: "as 372",
    },
    "json_web_key_test.json": {
        2: "a set of shared keys: what is published is no secret",
        7: "a modulus with a known weakness (ROCA), for which nothing here looks",
    },
}
"""Why, by the vector's number."""


@pytest.mark.parametrize("file", OTHERWISE)
def test_vectors(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signed_module, "_object_of", _with_any_content(signed_module._object_of))
    vectors = list(_vectors(json.loads((VECTORS / file).read_text())))
    assert len(vectors) in (401, 26)
    answered = {number: _is_accepted(key, token) for number, key, token, _ in vectors}
    assert {number for number, _, _, is_valid in vectors if answered[number] != is_valid} == OTHERWISE[file].keys()


def _vectors(document: Any) -> Iterator[tuple[int, Any, str, bool]]:
    for group in document["testGroups"]:
        for each in group["tests"]:
            yield each["tcId"], group.get("public") or group["private"], each["jws"], each["result"] == "valid"


def _with_any_content(read: Any) -> Any:
    """The content of the vectors is no JSON; their headers are read as ever."""

    def read_any(part: bytes) -> Any:
        try:
            return read(part)
        except ValueError:
            if b'"alg"' in part:
                raise
            return {}

    return read_any


def _is_accepted(written: Any, token: str) -> bool:
    try:
        taken = signed(token.encode())
        keys = _keys(written, taken.algorithm)
    except (ValueError, RecursionError):
        return False
    return taken.algorithm in ALGORITHMS and taken.is_by(keys.matching(taken.kid, taken.algorithm))


def _keys(written: Any, algorithm: str) -> KeySet:
    """A shared key stands for a secret in the configuration, which is for one algorithm there. Raises ValueError."""
    if len(written.get("keys", ())) == 1:
        (written,) = written["keys"]
    if written.get("kty") != "oct":
        return key_set(json.dumps(written if "keys" in written else {"keys": [written]}))
    if written.get("use", "sig") != "sig":
        raise ValueError("it is not for signatures")
    secret = urlsafe_b64decode(written["k"] + "==")
    own = written.get("alg", algorithm)
    if own not in SHARED or JwtSettings(secret=SecretStr("x" * len(secret)), algorithms=[own]).short_secret:
        raise ValueError("it is too short, or for another algorithm")
    return KeySet([Key(secret, (own,), written.get("kid"))])
