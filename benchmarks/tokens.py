"""Tokens that are all different, by algorithm, and the keys of who issues them."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from benchmarks.request import CLAIMS, SECRET, Request, token
from support.issuer import encoded, private_key, public_jwk, signed

ISSUER: Final = "https://issuer.example"
PUBLIC: Final = ("RS256", "ES256", "EdDSA")
"""The algorithms with a public key; that of EdDSA is Ed25519's."""
BAD: Final = "bad RS256"
"""In place of an algorithm: RS256 with a signature that is none."""

_COUNT: Final = 10_000
"""More than any gateway here remembers: sent in turn, each is new to it when it comes again."""


def authorization(request: Request, *, forged: bool = False) -> str:
    """A token for one request: of its algorithm, or with a wrong signature."""
    if request.tokens not in PUBLIC:
        return token(SECRET[::-1] if forged else SECRET)
    return _bad(0) if forged else issued(request.tokens, jti="0")


def issued(algorithm: str, **more: Any) -> str:
    """A token of one of the PUBLIC algorithms, with more claims or others."""
    return signed(algorithm, {**CLAIMS, "iss": ISSUER, **more})


def token_file(algorithm: str, directory: Path) -> Path:
    """Where many tokens lie for a generator to read, of which no two are alike, one a line."""
    path = directory / "tokens.txt"
    if not path.exists():
        path.write_text("".join(f"{each}\n" for each in _distinct(algorithm)))
    return path


def key_set() -> dict[str, Any]:
    """The public keys of the issuer."""
    return {"keys": [public_jwk(algorithm) for algorithm in PUBLIC]}


def public_key(algorithm: str) -> bytes:
    """One of them in DER (SubjectPublicKeyInfo)."""
    key = private_key(algorithm).public_key()
    der: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return der


@cache
def _distinct(algorithm: str) -> list[str]:
    if algorithm == "HS256":
        return [token(jti=str(number)) for number in range(_COUNT)]
    if algorithm == BAD:
        return [_bad(number) for number in range(_COUNT)]
    return [issued(algorithm, jti=str(number)) for number in range(_COUNT)]


def _bad(number: int) -> str:
    """Below the modulus, so that only the calculation shows it."""
    head = {"alg": "RS256", "typ": "JWT", "kid": public_jwk("RS256")["kid"]}
    claims = {**CLAIMS, "iss": ISSUER, "jti": str(number)}
    return f"{encoded(head)}.{encoded(claims)}.{encoded(bytes([1]) + os.urandom(255))}"
