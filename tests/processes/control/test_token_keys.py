"""Keys that tokens are signed with: which one signs when, and how long each is published."""

from __future__ import annotations

import json
import time

import jwt
import pytest

from portico.policies.auth.keys import key_set
from portico.processes.control.tokens.keys import (
    AHEAD,
    JWS,
    begun,
    decode,
    encode,
    kept_up,
    private_key,
    published,
    rotated,
    withdrawn,
)

DAY = 86_400.0
LIFE = 1800.0


def test_a_key_is_published_before_it_signs_and_after() -> None:
    ring = begun("Ed25519", 0)
    (first,) = ring.keys
    assert kept_up(ring, "Ed25519", 30 * DAY - AHEAD - 1, 30 * DAY, LIFE) is ring
    ring = kept_up(ring, "Ed25519", 30 * DAY - AHEAD, 30 * DAY, LIFE)
    second = ring.keys[1]
    assert second.signs_from == 30 * DAY
    assert (ring.signing(30 * DAY - 1), ring.signing(30 * DAY)) == (first, second)
    assert kept_up(ring, "Ed25519", 30 * DAY + LIFE, 30 * DAY, LIFE) is ring
    assert kept_up(ring, "Ed25519", 30 * DAY + LIFE + 120, 30 * DAY, LIFE).keys == [second]


def test_keys_do_not_become_old_where_they_are_not_to() -> None:
    ring = begun("Ed25519", 0)
    assert kept_up(ring, "Ed25519", 9000 * DAY, 0, LIFE) is ring
    ring = kept_up(ring, "ES256", 1, 0, LIFE)
    assert [key.algorithm for key in ring.keys] == ["Ed25519", "ES256"]
    assert kept_up(ring, "Ed25519", 2, 0, LIFE) is ring  # as a gateway does that has another configuration


def test_rotation_on_demand() -> None:
    ring = rotated(begun("Ed25519", 0), "Ed25519", 100)
    assert (ring.signing(100), ring.signing(100 + AHEAD)) == (ring.keys[0], ring.keys[1])
    alone = withdrawn(ring, "Ed25519", 200)
    assert alone.signing(200) is alone.keys[0] not in ring.keys
    assert alone.secret == ring.secret
    assert decode(encode(ring)) == ring


@pytest.mark.parametrize("algorithm", ["Ed25519", "EdDSA", "ES256", "ES384", "ES512", "RS256", "PS256"])
def test_what_is_published_verifies_what_is_signed(algorithm: str) -> None:
    ring = begun(algorithm, time.time())
    document = published(ring)
    assert key_set(document).left_out == []
    assert ring.keys[0].pem.splitlines()[1] not in document.decode()
    text = JWS.encode(b"{}", private_key(ring.keys[0]), algorithm)
    key = jwt.PyJWK(json.loads(document)["keys"][0], "EdDSA" if algorithm == "Ed25519" else None).key
    assert JWS.decode(text, key, [algorithm]) == b"{}"
