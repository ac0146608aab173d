"""Keys that the gateway signs tokens with: made here, published before they sign and while tokens need them."""

from __future__ import annotations

import json
import secrets
from typing import Any, Final

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

AHEAD: Final = 600.0
"""Seconds for which a key is published before it signs: services that keep the published keys have it by then."""
_KEPT: Final = 120.0
"""Seconds for which one is published after the last token that it signed has ended."""
_OF_ED25519: Final = ("Ed25519", "EdDSA")
_CURVES: Final = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}


class SigningKey(msgspec.Struct, frozen=True):
    """A private key in PEM, and from when on it signs, in seconds since the epoch."""

    kid: str
    algorithm: str
    pem: str
    signs_from: float


class Ring(msgspec.Struct, frozen=True):
    """The keys, each after the one that it takes the place of, and what refresh tokens are signed with."""

    keys: list[SigningKey]
    secret: str

    def signing(self, now: float) -> SigningKey:
        """The key that signs."""
        return next((key for key in reversed(self.keys) if key.signs_from <= now), self.keys[0])


encode: Final = msgspec.json.Encoder().encode
decode: Final = msgspec.json.Decoder(Ring).decode


def begun(algorithm: str, now: float) -> Ring:
    """A first key, which signs at once."""
    return Ring([_made(algorithm, now)], secrets.token_urlsafe(32))


def rotated(ring: Ring, algorithm: str, now: float) -> Ring:
    """The same with another key, which will sign once it is known everywhere."""
    return msgspec.structs.replace(ring, keys=[*ring.keys, _made(algorithm, now + AHEAD)])


def withdrawn(ring: Ring, algorithm: str, now: float) -> Ring:
    """One new key alone, which signs at once: tokens of all others are not accepted any more."""
    return msgspec.structs.replace(ring, keys=[_made(algorithm, now)])


def kept_up(ring: Ring, algorithm: str, now: float, rotate: float, life: float) -> Ring:
    """What becomes of keys with time: a new one where the last is old, or for another algorithm; old ones go.

    `life` is that of a token, `rotate` the time for which a key signs, or 0.
    """
    last = ring.keys[-1]
    is_old = bool(rotate) and now >= last.signs_from + rotate - AHEAD
    is_another = all(key.algorithm != algorithm for key in ring.keys)  # gateways that differ do not outdo each other
    if is_another or is_old:
        ring = rotated(ring, algorithm, now)
    following = [*ring.keys[1:], None]
    kept = [
        key
        for key, after in zip(ring.keys, following, strict=True)
        if after is None or now < after.signs_from + life + _KEPT
    ]
    return ring if len(kept) == len(ring.keys) else msgspec.structs.replace(ring, keys=kept)


def published(ring: Ring) -> bytes:
    """The public halves as a JSON Web Key Set (RFC 7517)."""
    return json.dumps({"keys": [_public(key) for key in ring.keys]}).encode()


def _made(algorithm: str, signs_from: float) -> SigningKey:
    key: Any
    if algorithm in _CURVES:
        key = ec.generate_private_key(_CURVES[algorithm])
    elif algorithm in _OF_ED25519:
        key = ed25519.Ed25519PrivateKey.generate()
    else:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return SigningKey(secrets.token_urlsafe(8), algorithm, pem, signs_from)


def private_key(key: SigningKey) -> Any:
    """The key in the form in which PyJWT takes it."""
    return load_pem_private_key(key.pem.encode(), None)


def _public(key: SigningKey) -> dict[str, Any]:
    public: Any = private_key(key).public_key()
    if key.algorithm in _CURVES:
        written = ECAlgorithm.to_jwk(public, as_dict=True)
    elif key.algorithm in _OF_ED25519:
        written = OKPAlgorithm.to_jwk(public, as_dict=True)
    else:
        written = RSAAlgorithm.to_jwk(public, as_dict=True)
    kept = {name: value for name, value in written.items() if name != "key_ops"}
    return {**kept, "kid": key.kid, "alg": key.algorithm, "use": "sig"}


JWS: Final = jwt.PyJWS()
"""Signs by all algorithms that there are here; PyJWT does not know this one by its name of RFC 9864."""
JWS.register_algorithm("Ed25519", OKPAlgorithm())
