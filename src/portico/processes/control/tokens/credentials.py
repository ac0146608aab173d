"""Who somebody is by a name and a password: alike in words and in time for names that there are and are not."""

from __future__ import annotations

import hashlib
import logging
import math
import secrets
from collections.abc import Sequence
from typing import Final

from portico.core.consumers import Consumer, Consumers
from portico.core.passwords import TooManyError, nobodys, verified
from portico.policies.consumer_fields import consumer_name
from portico.policies.counters.guessing import Guessing
from portico.processes.control.tokens.errors import OAuthError

logger: Final = logging.getLogger("portico.auth")


class Credentials:
    """Checks names and passwords of consumers, against `guessing`."""

    def __init__(self, consumers: Consumers, guessing: Guessing) -> None:
        self._consumers = consumers
        self._guessing = guessing
        self._hashes = consumers.passwords
        self._salt = secrets.token_bytes(16)

    async def check(self, readings: Sequence[tuple[str, str]], address: str) -> Consumer | None:
        """The consumer that one of these names and passwords proves; None where none does.

        Raises OAuthError where too much was guessed, or there is too much to do.
        """
        names = list(dict.fromkeys(_compared(name) for name, _ in readings))
        wait = max(self._guessing.wait(name, address) for name in names)
        if wait > 0:
            after = {"Retry-After": str(math.ceil(wait))}
            raise OAuthError("too_many_attempts", "too many attempts failed: try again later", 429, after)
        proved = None
        for name, password in readings:
            consumer = self._consumers.find(_compared(name))
            if await self._is_password_of(consumer, _compared(name), password):
                proved = consumer
        if proved is not None:
            self._guessing.succeeded(proved.name, address)
            return proved
        for name in names:
            self._guessing.failed(name, address)
        known = next((name for name in names if self._consumers.find(name) is not None), None)
        logger.warning("somebody failed to sign in", extra={"consumer": known, "client_ip": address})
        return None

    async def _is_password_of(self, consumer: Consumer | None, name: str, password: str) -> bool:
        known = consumer.password if consumer is not None else ""
        try:
            return await verified(known or self._hash_of_nobody(name), password) and bool(known)
        except TooManyError:
            message = "too many sign in at this moment: try again soon"
            raise OAuthError("temporarily_unavailable", message, 503, {"Retry-After": "1"}) from None

    def _hash_of_nobody(self, name: str) -> str:
        """Takes as long as that of a consumer, always the same one for a name: else time would tell them apart."""
        if not self._hashes:
            return nobodys()
        digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), key=self._salt, digest_size=8).digest()
        return nobodys(self._hashes[int.from_bytes(digest) % len(self._hashes)])


def _compared(name: str) -> str:
    """A name as those of consumers are compared; one that nobody can have stays as it is."""
    try:
        return consumer_name(name)
    except ValueError:
        return name
