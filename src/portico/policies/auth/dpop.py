"""Proofs that a client holds the key that its token is bound to: `DPoP` (RFC 9449)."""

from __future__ import annotations

import json
import os
import re
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from copy import copy
from hashlib import blake2b, sha256
from typing import Any, Final

from portico.core.exchange import Exchange
from portico.policies.auth.keys import PUBLIC, public_jwk
from portico.policies.auth.signed import Signed, signed

CHALLENGE: Final = f'WWW-Authenticate: DPoP realm="portico", algs="{" ".join(PUBLIC)}"'.encode()
_WINDOW: Final = 60.0
"""Seconds by which the time of a proof may differ from the gateway's."""
_MOST: Final = 200_000
"""Proofs that are remembered, and as many of before: 35 MB at most, and more than a worker can verify in the window."""
_DIGEST: Final = 8
"""Bytes by which one is known, under a key that nobody else has."""
_LONGEST: Final = 4096
"""Bytes of a proof: one with an RSA key of 4,096 bits has 2,000."""
_LARGEST_JTI: Final = 512
_URI: Final = re.compile(r"(https?)://([^/?#@\\\s]+)(/[^?#\s]*)?(?:[?#].*)?", re.IGNORECASE)
_USUAL_PORTS: Final = {"http": ":80", "https": ":443"}
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED: Final = re.compile(r"[A-Za-z0-9._~-]")
_MEMBERS: Final = {"EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x"), "RSA": ("e", "kty", "n")}
"""What a key's thumbprint is made of (RFC 7638, section 3.2; RFC 8037, section 2)."""


class Replays:
    """The proofs that came within the window: each is good for one request."""

    def __init__(self) -> None:
        self._young: set[bytes] = set()
        self._old: set[bytes] = set()
        self._turned = time.monotonic()
        self._key = os.urandom(32)

    def is_new(self, proof: str) -> bool:
        """Whether this one, by its key and its `jti`, did not come before; it has now."""
        now = time.monotonic()
        if now - self._turned > 3 * _WINDOW or len(self._young) >= _MOST:  # one may come again for twice the window
            self._old, self._young, self._turned = self._young, set(), now
        digest = self._digest_of(proof)
        if digest in self._young or digest in self._old:
            return False
        self._young.add(digest)
        return True

    def _digest_of(self, proof: str) -> bytes:
        return blake2b(proof.encode("utf-8", "surrogatepass"), digest_size=_DIGEST, key=self._key).digest()

    def peek(self) -> Replays:
        """The same, for whoever asks what would be said: no proof is used up by it."""
        peeked = copy(self)
        peeked.__class__ = _Peeked
        return peeked


class _Peeked(Replays):
    def is_new(self, proof: str) -> bool:
        digest = self._digest_of(proof)
        return digest not in self._young and digest not in self._old


def check_proof(exchange: Exchange, token: bytes, thumbprint: str, origin: bytes, replays: Replays) -> None:
    """Check the proof of a request with a token that is bound to the key with this thumbprint (section 4.3).

    Raises ValueError or RecursionError where it is not right.
    """
    assert exchange.request is not None
    shown = exchange.request.fields.all(b"dpop")
    if len(shown) != 1:
        raise ValueError("a request has one DPoP field")
    proof = signed(shown[0], _LONGEST)
    _check_key(proof, thumbprint)
    claims = proof.claims
    if claims.get("htm") != exchange.method:
        raise ValueError("its htm is another method")
    asked = normal_uri(_asked(exchange, origin))
    if not asked or normal_uri(claims.get("htu")) != asked:
        raise ValueError("its htu is another address")
    if claims.get("ath") != _base64(sha256(token).digest()):
        raise ValueError("its ath is of another token")
    issued, jti = claims.get("iat"), claims.get("jti")
    if type(issued) not in (int, float) or not abs(time.time() - issued) <= _WINDOW:  # type: ignore[operator]
        raise ValueError("its iat is not the time that it is")
    if not isinstance(jti, str) or not 0 < len(jti) <= _LARGEST_JTI:
        raise ValueError("it has no jti")
    if not replays.is_new(f"{thumbprint} {jti}"):
        raise ValueError("it was used before")


def _check_key(proof: Signed, thumbprint: str) -> None:
    if proof.kind != "dpop+jwt":
        raise ValueError("its typ is not dpop+jwt")
    if proof.algorithm not in PUBLIC:
        raise ValueError("its alg is none of those that are accepted")
    if thumbprint_of(proof.jwk) != thumbprint:
        raise ValueError("its key is not that of the token")
    key = public_jwk(proof.jwk)
    if proof.algorithm not in key.algorithms or not proof.is_by([key]):
        raise ValueError("its signature is not right")


def thumbprint_of(jwk: Any) -> str:
    """The SHA-256 thumbprint of a key (RFC 7638). Raises ValueError where it is none."""
    said = jwk if isinstance(jwk, Mapping) else {}
    members = {name: said.get(name) for name in _MEMBERS.get(str(said.get("kty")), ())}
    if not members or not all(isinstance(value, str) for value in members.values()):
        raise ValueError("its jwk is no public key")
    return _base64(sha256(json.dumps(members, separators=(",", ":"), sort_keys=True).encode()).digest())


def _asked(exchange: Exchange, origin: bytes) -> str:
    """The address that the client asked for, without its query."""
    request = exchange.request
    assert request is not None
    outer = exchange.stream.client.peer.asked_at(request)
    start: bytes = origin or b"%b://%b" % (outer.scheme, outer.host)
    path: bytes = outer.prefix + request.target.partition(b"?")[0]
    return (start + path).decode("latin-1")


def normal_uri(text: Any) -> str:
    """An address in the form in which addresses are compared, without its query (RFC 3986, section 6.2); or empty."""
    found = _URI.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return ""
    scheme, host = found[1].lower(), found[2].lower().removesuffix(_USUAL_PORTS[found[1].lower()])
    return f"{scheme}://{host}{_ESCAPE.sub(_normal_escape, found[3] or '/')}"


def _normal_escape(found: re.Match[str]) -> str:
    character = chr(int(found[1], 16))
    return character if _UNRESERVED.fullmatch(character) else f"%{found[1].upper()}"


def _base64(digest: bytes) -> str:
    return urlsafe_b64encode(digest).rstrip(b"=").decode()
