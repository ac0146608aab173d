"""The signed identity of the consumer for a service: a JSON Web Token (RFC 7519) for one attempt of one request.

`portico.client.identity` verifies it and describes what binds it; docs/services.md describes it for other languages.
It is made anew when each attempt is sent: a service may refuse one that it has seen before.
"""

from __future__ import annotations

import hmac
import time
from binascii import b2a_base64
from math import ceil
from random import getrandbits
from typing import Annotated, Final

import msgspec
from pydantic import AfterValidator, Field, SecretStr

from portico.core.exchange import Exchange
from portico.core.settings import Duration, Settings, plain_secret
from portico.policies.policy import Context, Hooks

_KEY_BYTES: Final = 32


def _long_enough(key: SecretStr) -> SecretStr:
    text = plain_secret(key.get_secret_value())
    if len(text.encode()) < _KEY_BYTES:
        raise ValueError(f"a key has {_KEY_BYTES} bytes or more (RFC 7518, section 3.2)")
    if "," in text:
        raise ValueError("a key has no commas: IDENTITY_KEYS could not hold it")
    return key


class IdentitySettings(Settings):
    """The first of `keys` signs (IDENTITY_KEYS fills them in); the others are for services to accept meanwhile.

    `lifetime` is how many seconds a signature is valid.
    """

    keys: list[Annotated[SecretStr, AfterValidator(_long_enough)]] = []
    """Of 32 bytes or more each, without commas. The first signs; the others are there so that gateway and services may
    have the same list while keys change.
    """
    lifetime: Annotated[Duration, Field(le=300)] = 30.0
    """How long a signature is good for, from when the request is sent."""


def build_identity(settings: IdentitySettings, context: Context) -> Hooks:  # noqa: ARG001
    """The policy: signs for each attempt."""
    return Hooks(attempt=Signer(settings).line)


_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")


def _encoded(data: bytes) -> bytes:
    return b2a_base64(data, newline=False).rstrip(b"=").translate(_URL_SAFE)


_START: Final = _encoded(b'{"alg":"HS256","typ":"portico-identity+jwt"}') + b"."


class Signer:
    """Signs for the service that an exchange goes to."""

    __slots__ = ("_lifetime", "_mac")

    def __init__(self, settings: IdentitySettings) -> None:
        self._mac = hmac.new(settings.keys[0].get_secret_value().encode(), _START, "sha256")
        self._lifetime = ceil(settings.lifetime)

    def line(self, exchange: Exchange) -> bytes | None:
        """The field line for an attempt that is sent now; None where nobody was authenticated."""
        if exchange.consumer is None:
            return None
        now = int(time.time())
        target = exchange.match.target
        target = target + exchange.query if len(exchange.query) > 1 else target
        claims = {
            "iss": "portico",
            "aud": exchange.match.handling.service_name,
            "sub": exchange.consumer,
            "scope": " ".join(exchange.scopes),
            "method": exchange.method if exchange.request is None else exchange.request.method_name,
            "target": target.decode(),
            "request_id": exchange.request_id,
            "jti": f"{getrandbits(96):024x}",
            "iat": now,
            "exp": now + self._lifetime,
        }
        payload = _encoded(msgspec.json.encode(claims))
        mac = self._mac.copy()  # it already holds the common start of every token
        mac.update(payload)
        return b"X-Consumer-Identity: %b%b.%b" % (_START, payload, _encoded(mac.digest()))
