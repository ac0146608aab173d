"""The identity of the user, signed by the gateway: a JSON Web Token (RFC 7519) in `X-Consumer-Identity`.

The gateway signs it for one request with a key that it shares with the service (HMAC with SHA-256), and binds it to
the service (`aud`), the `method`, the `target` as the service gets it, the `request_id` and a time span (`iat`,
`exp`); `jti` is different each time. It names the user (`sub`) and what they may do (`scope`). docs/services.md
describes it for other languages.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import math
import os
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, unquote

from portico.client.behind_gateway import WIRE_PATH
from portico.client.replay import CAPACITY, Seen
from portico.client.types import Scope

HEADER: Final = b"x-consumer-identity"
VARIABLE: Final = "IDENTITY_KEYS"
KEY_BYTES: Final = 32
"""The least that HS256 takes (RFC 7518, section 3.2)."""

_PROTECTED: Final = b'{"alg":"HS256","typ":"portico-identity+jwt"}'
# There is one header: nothing in a token decides how it is verified (RFC 8725, sections 3.1 and 3.11).
_START: Final = base64.urlsafe_b64encode(_PROTECTED).rstrip(b"=")
_LONGEST: Final = 16_384
_EXT_VALUE: Final = re.compile(r"\Autf-8'[^']*'", re.IGNORECASE)
_FOUND: Final = "portico.user"


@dataclass(frozen=True, slots=True)
class User:
    """The consumer behind a request: `name` (may be empty, where a token names no one), `scopes`, all `claims`."""

    name: str
    scopes: frozenset[str]
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def has_scopes(self, *scopes: str) -> bool:
        """Whether every one of `scopes` was granted."""
        return self.scopes.issuperset(scopes)


class IdentityError(Exception):
    """An identity that is not valid; the message says why and contains nothing secret."""


class Verifier:
    """Checks that identities are genuine, meant for `service`, fresh, and used for the first time.

    `keys` are what the gateway signs with, as text of 32 bytes or more: any of them is accepted, so that they can be
    changed on one side after the other. Without them IDENTITY_KEYS is read, where commas separate them. `leeway` is
    how many seconds the clocks of gateway and service may differ. `remember` bounds the ids that are kept against
    replay. `server_root_path` is what the server itself puts before each path (uvicorn's --root-path).

    Each process remembers by itself: within its few seconds, an identity that is stolen on the way can be used once
    with each of them, for the same method, path and query.

    Raises ValueError where keys are missing or too short.
    """

    def __init__(
        self,
        service: str,
        keys: Iterable[str] | str | None = None,
        *,
        leeway: float = 5.0,
        remember: int = CAPACITY,
        server_root_path: str = "",
    ) -> None:
        self.service = service
        self.server_root_path = server_root_path.rstrip("/")
        self._keys = _keys(keys)
        self._leeway = leeway
        self._seen = Seen(remember)

    def verify(self, token: bytes, method: str, target: str, request_id: str | None) -> User:
        """The user that `token` speaks for, in a request of this method, target (path and query) and X-Request-ID.

        Raises IdentityError.
        """
        claims = self._signed_claims(token)
        expected = {"aud": self.service, "method": method, "target": target, "request_id": request_id}
        for name, value in expected.items():
            if value is None or claims.get(name) != value:
                raise IdentityError(f"it was made for another request: its {name} does not match this one")
        now = time.time()
        expires = _seconds(claims, "exp") + self._leeway
        if expires <= now:
            raise IdentityError("it has expired: it took too long on the way, or the clocks differ")
        if _seconds(claims, "iat") > now + self._leeway:
            raise IdentityError("it was made in the future: the clocks of gateway and service differ")
        user = User(_text(claims, "sub"), frozenset(_text(claims, "scope").split()), claims)
        if not self._seen.first_use(_text(claims, "jti"), expires, now):
            raise IdentityError("it was used before")
        return user

    def _signed_claims(self, token: bytes) -> dict[str, Any]:
        signed, _, signature = token.rpartition(b".")
        start, _, payload = signed.partition(b".")
        if len(token) > _LONGEST or start != _START:
            raise IdentityError("it is not one of the gateway's")
        shown = _decoded(signature)
        matches = [hmac.compare_digest(hmac.digest(key, signed, "sha256"), shown) for key in self._keys]
        if not any(matches):
            raise IdentityError("its signature is not by a key of this service")
        try:
            claims = json.loads(_decoded(payload))
        except ValueError:
            claims = None
        if not isinstance(claims, dict):
            raise IdentityError("it holds no claims")
        return claims


def identity(scope: Scope, verifier: Verifier) -> User | None:
    """The user of the request with this ASGI scope; None where the gateway names none. Raises IdentityError.

    The plain `X-Consumer-Username` and `X-Consumer-Scopes` are not used: any client can send them. Called again for
    the same request, it returns the same user.
    """
    by: Verifier | None
    user: User | None
    by, user = scope.get(_FOUND, (None, None))
    if by is verifier:
        return user
    fields = dict.fromkeys((HEADER, b"x-request-id"), b"")
    for name, value in scope["headers"]:
        if name in fields:
            if fields[name]:
                raise IdentityError(f"there are several {name.decode()}")
            fields[name] = value
    user = None
    if token := fields[HEADER]:
        method = scope.get("method", "GET")  # a WebSocket begins with one
        request_id = fields[b"x-request-id"].decode("latin-1")
        user = verifier.verify(token, method, target_of(scope, verifier.server_root_path), request_id)
    scope[_FOUND] = verifier, user
    return user


def decoded_name(value: str | bytes) -> str:
    """The name that a value of `X-Consumer-Username` stands for, or a scope of `X-Consumer-Scopes`.

    They are percent-encoded UTF-8, or an `ext-value` (RFC 8187, section 3.2), where they are not visible ASCII. Only
    what verified its sender may go by them: any client can send them.
    """
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    return unquote(_EXT_VALUE.sub("", text))


def target_of(scope: Scope, server_root_path: str = "") -> str:
    """Path and query as they came over the wire, without what the server and `BehindGateway` put before them."""
    raw = scope.get(WIRE_PATH) or scope.get("raw_path") or quote(scope["path"]).encode()
    path = raw.decode("latin-1").removeprefix(server_root_path)
    query = scope.get("query_string", b"")
    return f"{path}?{query.decode('latin-1')}" if query else path


def _keys(keys: Iterable[str] | str | None) -> list[bytes]:
    written = keys if keys is not None else os.environ.get(VARIABLE, "")
    names = written.split(",") if isinstance(written, str) else written
    found = [key.strip().encode() for key in names if key.strip()]
    if not found:
        raise ValueError(f"no key to verify identities with: set {VARIABLE} to that of the gateway, or hand in keys")
    if any(len(key) < KEY_BYTES for key in found):
        raise ValueError(f"an identity key has {KEY_BYTES} bytes or more")
    return found


def _decoded(part: bytes) -> bytes:
    try:
        return base64.b64decode(part + b"=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise IdentityError("it is not one of the gateway's") from None


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str):
        raise IdentityError(f"it has no {name}")
    return value


def _seconds(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise IdentityError(f"it has no {name}")
    return float(value)
