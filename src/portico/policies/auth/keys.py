"""Keys that verify signatures: what a JSON Web Key Set (RFC 7517) or a PEM file holds, each for its own algorithms."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import load_pem_x509_certificates
from jwt.algorithms import Algorithm, ECAlgorithm, OKPAlgorithm, RSAAlgorithm, get_default_algorithms

_OF_RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_OF_CURVES: Final = {"secp256r1": ("ES256",), "secp384r1": ("ES384",), "secp521r1": ("ES512",)}
_OF_ED25519: Final = ("EdDSA", "Ed25519")
_OF_ED448: Final = ("EdDSA", "Ed448")
SHARED: Final = ("HS256", "HS384", "HS512")
PUBLIC: Final = (*_OF_RSA, *(name for names in _OF_CURVES.values() for name in names), *_OF_ED25519, "Ed448")
"""The algorithms (RFC 7518, section 3.1; RFC 8037; RFC 9864) with a shared key, and those with a public one."""

_EDWARDS: Final = OKPAlgorithm()
ALGORITHMS: Final[Mapping[str, Algorithm]] = {
    **{name: algorithm for name, algorithm in get_default_algorithms().items() if name in (*SHARED, *PUBLIC)},
    "Ed25519": _EDWARDS,
    "Ed448": _EDWARDS,
}
_SMALLEST_RSA: Final = 2048
"""Bits of a modulus (RFC 7518, section 3.3)."""
_LARGEST_RSA: Final = 4096
_LARGEST_EXPONENT: Final = 32
"""Bits, of keys that clients choose."""
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_READERS: Final = {"RSA": RSAAlgorithm.from_jwk, "EC": ECAlgorithm.from_jwk, "OKP": OKPAlgorithm.from_jwk}
_TRIED: Final = 8
"""Keys that a token without `kid` is tried with, at most."""


class Key(NamedTuple):
    """A key in the form in which PyJWT's algorithms take it, and the names of those that it is for."""

    material: Any
    algorithms: tuple[str, ...]
    kid: str | None = None


class KeySet:
    """The keys of an issuer. `left_out` says, a key each, why one that is in the set is not used."""

    def __init__(self, keys: list[Key], left_out: list[str] | None = None) -> None:
        self.keys = keys
        self.left_out = left_out or []

    def matching(self, kid: str | None, algorithm: str) -> list[Key]:
        """The keys that may have signed a token with this header: empty where its key is not known."""
        fitting = [key for key in self.keys if algorithm in key.algorithms]
        if kid is None:
            return fitting[:_TRIED]
        return [key for key in fitting if key.kid in (kid, None)][:_TRIED]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeySet) and self.keys == other.keys

    __hash__ = None  # type: ignore[assignment]


def key_set(document: bytes | str) -> KeySet:
    """The keys of a JSON Web Key Set that verify signatures. Raises ValueError for what is none, or has none of those.

    A symmetric key in it is left out: what is published is no secret.
    """
    try:
        said = json.loads(document, object_pairs_hook=single)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is no JSON: {error}") from None
    written = said.get("keys") if isinstance(said, dict) else None
    if not isinstance(written, list):
        raise ValueError("it is no JSON Web Key Set: that is an object with a list of keys")
    keys, left_out = [], []
    for each in written:
        try:
            keys.append(_key_of(each))
        except ValueError as error:
            left_out.append(f"{_name_of(each)}: {error}")
    if not keys:
        raise ValueError("; ".join(["it has no key that verifies signatures", *left_out]))
    return KeySet(keys, left_out)


def public_jwk(written: Any) -> Key:
    """The key of one JSON Web Key that a client sends. Raises ValueError for what is none, or is private, or too large.

    Verifying by a large key takes long, and a client chooses it.
    """
    if isinstance(written, dict) and not _PRIVATE.isdisjoint(written):
        raise ValueError("its jwk is a private key")
    key = _key_of(written)
    if isinstance(key.material, RSAPublicKey):
        exponent = key.material.public_numbers().e.bit_length()
        if key.material.key_size > _LARGEST_RSA or exponent > _LARGEST_EXPONENT:
            raise ValueError(f"its jwk is an RSA key of more than {_LARGEST_RSA} bits, or with a large exponent")
    return key


def public_key(pem: bytes) -> KeySet:
    """The keys of a PEM file: public keys, or certificates, of which only the keys count. Raises ValueError."""
    if b"PRIVATE KEY" in pem:
        raise ValueError("it holds a private key: the gateway only needs the public one, openssl pkey -pubout makes it")
    try:
        if b"BEGIN CERTIFICATE" in pem:
            found: list[Any] = [certificate.public_key() for certificate in load_pem_x509_certificates(pem)]
        else:
            found = [load_pem_public_key(block) for block in _blocks(pem)]
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(f"it is no public key in PEM: {error}") from None
    if not found:
        raise ValueError("it is no public key in PEM: that begins with -----BEGIN PUBLIC KEY-----")
    return KeySet([_checked(material, None, None) for material in found])


def single(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON whose names are different. Raises ValueError where readers would not agree on it."""
    made = dict(members)
    if len(made) != len(members):
        raise ValueError("a name is twice in one object")
    return made


def _blocks(pem: bytes) -> Iterator[bytes]:
    end = b"-----END PUBLIC KEY-----"
    for block in pem.split(end)[:-1]:
        yield block + end + b"\n"


def _name_of(written: Any) -> str:
    kid = written.get("kid") if isinstance(written, dict) else None
    return f"key {kid[:64]!r}" if isinstance(kid, str) else "a key without kid"


def _key_of(written: Any) -> Key:
    if not isinstance(written, dict):
        raise ValueError("it is no object")
    kind, kid, algorithm = written.get("kty"), written.get("kid"), written.get("alg")
    operations = written.get("key_ops")
    if not isinstance(kind, str) or kind not in _READERS:
        raise ValueError(f"keys of type {kind!r} are not supported" if kind != "oct" else "it is a shared secret")
    if kid is not None and not isinstance(kid, str):
        raise ValueError("its kid is no text")
    if written.get("use", "sig") != "sig":
        raise ValueError("it is not for signatures")
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):
        raise ValueError("its key_ops do not have verify")
    public = {name: value for name, value in written.items() if name not in _PRIVATE}
    try:
        material = _READERS[kind](public)
    except (jwt.InvalidKeyError, ValueError, TypeError, KeyError, AttributeError, UnsupportedAlgorithm) as error:
        raise ValueError(str(error) or "it cannot be read") from None
    return _checked(material, algorithm, kid)


def _checked(material: Any, algorithm: Any, kid: str | None) -> Key:
    """The key, for its own `alg` where it has one. Raises ValueError where it is weak, or that fits no such key."""
    algorithms = _algorithms_of(material)
    if algorithm is not None:
        if algorithm not in algorithms:
            raise ValueError(f"its alg {algorithm!r} does not go with such a key, or is not supported")
        algorithms = _OF_ED25519 if algorithm in _OF_ED25519 else (algorithm,)
    return Key(material, algorithms, kid)


def _algorithms_of(material: Any) -> tuple[str, ...]:
    if isinstance(material, RSAPublicKey):
        if material.key_size < _SMALLEST_RSA:
            raise ValueError(f"an RSA key of {material.key_size} bits is too short: {_SMALLEST_RSA} are needed")
        return _OF_RSA
    if isinstance(material, EllipticCurvePublicKey) and material.curve.name in _OF_CURVES:
        return _OF_CURVES[material.curve.name]
    if isinstance(material, Ed25519PublicKey):
        return _OF_ED25519
    if isinstance(material, Ed448PublicKey):
        return _OF_ED448
    raise ValueError("keys of this kind are not supported")
