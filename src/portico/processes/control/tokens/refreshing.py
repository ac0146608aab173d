"""Refresh tokens: issued, used, revoked. What is in one is the name of its family, its number there, and a MAC."""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from typing import Final

from portico.core.consumers import Consumer
from portico.processes.control.tokens.errors import OAuthError
from portico.processes.control.tokens.families import Families, Family

logger: Final = logging.getLogger("portico.auth")

_FORM: Final = re.compile(r"portico_rt_([A-Za-z0-9_-]{22})\.(\d{1,9})\.([A-Za-z0-9_-]{43})", re.ASCII)


class ReusedError(Exception):
    """A refresh token came a second time: nothing that came from its sign-in is good any more."""


class RefreshTokens:
    """Issues them where `families` are kept, signed with a key that is derived from `secret`.

    Each is good for `life` seconds, and for another `grace` seconds after it was used. All may raise StoreError.
    """

    def __init__(self, families: Families, secret: bytes, life: float, grace: float) -> None:
        self._families = families
        self._key = hmac.digest(secret, b"portico refresh tokens", "sha256")
        self._life = life
        self._grace = grace

    async def issue(self, consumer: Consumer, scopes: Sequence[str], client: Consumer | None) -> tuple[str, str]:
        """The first token of a family, and the family's name: `client` alone may use it, where one is given."""
        name = secrets.token_urlsafe(16)
        client_name = client.name if client is not None else ""
        family = Family(consumer.name, list(scopes), client_name, password_mark(consumer), int(time.time()))
        await self._families.begin(name, family, self._life)
        return self._token(name, 0), name

    async def find(self, token: str) -> tuple[str, int, Family] | None:
        """The family of a token with its name, and the token's number; None where there is none, or none any more."""
        written = _FORM.fullmatch(token)
        if written is None or not hmac.compare_digest(self._token(written[1], int(written[2])), token):
            return None
        family = await self._families.find(written[1])
        return None if family is None else (written[1], int(written[2]), family)

    async def turn(self, name: str, number: int, address: str) -> str | None:
        """The token in place of the one of this number; None where there is none.

        Raises ReusedError where that was used before, which ends the family.
        """
        turn = await self._families.turn(name, number, self._life, self._grace)
        if turn.was_reused:
            message = "a refresh token came a second time: all that were made from it are revoked"
            logger.warning(message, extra={"client_ip": address})
            raise ReusedError
        return None if turn.number is None else self._token(name, turn.number)

    async def end(self, name: str) -> None:
        """Revoke all tokens of a family."""
        await self._families.end(name)

    def _token(self, name: str, number: int) -> str:
        mac = hmac.digest(self._key, f"{name}.{number}".encode(), "sha256")
        return f"portico_rt_{name}.{number}.{urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def sign_in_of(family: str) -> str:
    """What access tokens say of the sign-in that they came from (`sid`): the name of a family can be used for more."""
    return urlsafe_b64encode(hashlib.blake2b(family.encode(), digest_size=12).digest()).decode()


def password_mark(consumer: Consumer) -> str:
    """What is another one once the consumer has another password."""
    return hashlib.blake2b(consumer.password.encode(), digest_size=16).hexdigest()


def check_client(issued_to: str, client: Consumer | None) -> None:
    """Raises OAuthError where a token is not this client's (RFC 6749, section 6; RFC 7009, section 2.1)."""
    if issued_to and (client is None or client.name != issued_to):
        raise OAuthError("invalid_grant", "the token is another client's: send client_id and client_secret of that one")
