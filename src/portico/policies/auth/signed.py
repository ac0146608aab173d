"""A signed token in compact form (RFC 7515), taken apart: what it says of itself, before anything is believed."""

from __future__ import annotations

import json
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from portico.core.claims import no_constant
from portico.policies.auth.keys import ALGORITHMS, Key, single

TOKEN_LIMIT: Final = 8192
_SIGNED: Final = 3
_ENCRYPTED: Final = 5
_TO_BASE64: Final = bytes.maketrans(b"-_+/", b"+/??")


class Signed(NamedTuple):
    """What a token is made of. `algorithm`, `kid` and `kind` (`typ`) are its header's, none of which is proved."""

    algorithm: str
    kid: str | None
    kind: str | None
    claims: dict[str, Any]
    signed: bytes
    signature: bytes
    jwk: Any = None
    """The key that its header brings along: it means nothing, except where it is compared with one that is known."""

    def is_by(self, keys: Iterable[Key]) -> bool:
        """Whether one of the keys made its signature."""
        verify = ALGORITHMS[self.algorithm].verify
        return any(
            verify(self.signed, key.material, self.signature) for key in keys if self.algorithm in key.algorithms
        )


def signed(token: bytes, limit: int = TOKEN_LIMIT) -> Signed:
    """Take a token apart. Raises ValueError or RecursionError for what breaks a rule of RFC 7515 or RFC 7519.

    Refused, too, is what is read differently by different readers: doubled names, padding, other alphabets; extensions
    that have to be understood (`crit`), of which none is; and content that is not encoded (`b64`).
    """
    if len(token) > limit:
        raise ValueError(f"it is longer than {limit} bytes")
    parts = token.split(b".")
    if len(parts) != _SIGNED:
        raise ValueError("it is encrypted" if len(parts) == _ENCRYPTED else "it has not three parts")
    head, content, signature = map(_decoded, parts)
    header, claims = _object_of(head), _object_of(content)
    if "crit" in header or "b64" in header:
        raise ValueError("it asks for extensions that are not supported (crit, b64)")
    algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ")
    if not isinstance(algorithm, str) or not _is_text(kid) or not _is_text(kind):
        raise ValueError("its alg, kid or typ is no text")
    size = len(parts[0]) + 1 + len(parts[1])
    return Signed(algorithm, kid, kind, claims, token[:size], signature, header.get("jwk"))


def _is_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _decoded(part: bytes) -> bytes:
    """The bytes of base64url without padding, of whose spellings one is right."""
    standard = part.translate(_TO_BASE64)
    try:
        decoded = a2b_base64(standard + b"=" * (-len(part) % 4), strict_mode=True)
    except ValueError:
        decoded = b""
    if b2a_base64(decoded, newline=False).rstrip(b"=") != standard:
        raise ValueError("its parts are not base64url without padding (RFC 7515, section 2)")
    return decoded


def _object_of(part: bytes) -> dict[str, Any]:
    said = _DECODER.decode(part.decode())
    if not isinstance(said, dict):
        raise ValueError("its header or its claims are no JSON object")
    return said


_DECODER: Final = json.JSONDecoder(parse_constant=no_constant, object_pairs_hook=single)
