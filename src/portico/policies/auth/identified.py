"""Who was identified by what, remembered: what all ways to prove an identity have in common."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self, TypeAlias

from portico.core.caches import ages
from portico.core.errors import Answer
from portico.core.exchange import Exchange
from portico.core.messages import Fields
from portico.policies.counters.generations import Generations

ABSENT: Final = Answer(401)
"""The verdict of a method of several for a request that shows no credentials of its kind. It is never sent."""

_MOST: Final = 10_000
_MOST_BYTES: Final = 4 * 1024 * 1024
"""Bytes of one generation of identities: 4,000 of the usual size."""
_IDENTITY: Final = 400
_ASKED: Final = 300
_SCOPE: Final = 60
"""Bytes of an identity, of what says that its token was revoked, and of each of its scopes without their text, which is
there twice.
"""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom credentials named: the consumer, and the `lines` that say so to services.

    At `expires`, in seconds since the epoch, they have ended or have to be verified again. The claims of a token are
    the field line that it came in, and decoded where they are read: the line is kept all the same, as the key.
    """

    expires: float
    consumer: str
    scopes: tuple[str, ...]
    lines: tuple[bytes, ...]
    claims_or_token: Mapping[str, Any] | bytes
    proof: Callable[[Exchange, bytes], Answer | None] | None = None
    """Says of each request why its client does not hold the key that its token is bound to."""
    is_revoked: Callable[[], bool] | None = None
    """Says whether the token was revoked; None for tokens that others issued."""

    def holds(self, now: float) -> bool:
        """Whether what proved it is still good."""
        return self.expires > now and (self.is_revoked is None or not self.is_revoked())


class Verified(Generations[bytes, Identity]):
    """The identities that were found, by the credentials that proved them: a field line, or a value on its own."""

    __slots__ = ("__weakref__", "epoch", "sure")

    def __init__(self) -> None:
        super().__init__(_MOST, _MOST_BYTES, _size_of)
        self.sure: dict[bytes, Identity] = {}
        """Those of the young ones that need no other question than whether they have expired, as long as the epoch."""
        self.epoch = object()
        """What a connection keeps with whom its fields name: another one says that nothing of before holds."""
        ages(self)

    def forget(self) -> None:
        """Prove everything anew: what proved it may have been withdrawn."""
        self.rotate()
        self.rotate()
        self.epoch = object()

    def ask_again(self) -> None:
        """Have each identity asked once more whether it holds, also those that connections remember."""
        self.sure = {}
        self.epoch = object()

    def rotate(self) -> None:
        self.sure = {}
        super().rotate()

    def discard(self, key: bytes) -> None:
        self.sure.pop(key, None)
        super().discard(key)

    def age(self, now: float) -> None:  # noqa: ARG002
        """Drop those that have not come lately."""
        self.rotate()

    def peek(self) -> Self:
        peeked = super().peek()
        peeked.sure = {}
        peeked.epoch = object()
        return peeked


def _size_of(identity: Identity) -> int:
    claims = identity.claims_or_token
    told = len(claims) if isinstance(claims, bytes) and claims.startswith(b".") else 0  # else they are the key
    asked = _ASKED if identity.is_revoked is not None else 0
    return _IDENTITY + asked + 2 * sum(map(len, identity.lines)) + _SCOPE * len(identity.scopes) + told


Proved: TypeAlias = Identity | Answer
"""Who it is, or why it is nobody."""


Verify: TypeAlias = Callable[[bytes], Proved | Awaitable[Proved]]
"""Says who credentials name."""
Verdict: TypeAlias = Answer | Awaitable[Answer | None] | None


def by_fields(
    verified: Verified, shown: Callable[[Fields], bytes | Answer | None], verify: Verify, absent: Answer | None
) -> Callable[[Exchange], Verdict]:
    """The policy of a method whose credentials are among the fields: what proved an identity is not verified again.

    `shown` finds them; None where there are none of the kind, for which `absent` is the verdict, and a verdict of its
    own where there are several. A connection remembers whom its fields name, too: see `Fields.identified_by`.
    """
    return remembering(verified, shown, proving(verified, verify), absent)


def remembering(
    verified: Verified,
    shown: Callable[[Fields], bytes | Answer | None],
    prove: Prove,
    absent: Answer | None,
    name: bytes = b"",
) -> Callable[[Exchange], Verdict]:
    """The same where `prove` is all that becomes of credentials that are not remembered with the fields.

    `name` is that of the field whose line they are, where they are looked for nowhere else.
    """

    def auth(exchange: Exchange) -> Verdict:
        assert exchange.request is not None
        fields = exchange.request.fields
        if fields.identified_by is verified.epoch and (identity := fields.identity).expires > time.time():
            exchange.consumer = identity.consumer
            exchange.scopes = identity.scopes
            exchange.claims_or_token = identity.claims_or_token
            exchange.request_lines += identity.lines
            return None
        line = fields.once(name) if name else None
        if line is not None and (known := verified.sure.get(line)) is not None and known.expires > time.time():
            fields.identity, fields.identified_by = known, verified.epoch
            exchange.consumer = known.consumer
            exchange.scopes = known.scopes
            exchange.claims_or_token = known.claims_or_token
            exchange.request_lines += known.lines
            return None
        credentials = shown(fields)
        if credentials is None:
            return absent
        if isinstance(credentials, Answer):
            return credentials
        return prove(exchange, credentials, fields)

    return auth


Prove: TypeAlias = Callable[[Exchange, bytes, "Fields | None"], Verdict]
"""Admits an exchange by its credentials, or says why not; the fields are those that hold them, if they do."""


def proving(verified: Verified, verify: Verify) -> Prove:
    """The usual way: what was verified before is not verified again."""

    def prove(exchange: Exchange, credentials: bytes, fields: Fields | None) -> Verdict:
        known = verified.get(credentials)
        if known is not None and known.holds(time.time()):
            return admit(verified, exchange, fields, credentials, known)
        verified.discard(credentials)
        proved = verify(credentials)
        if isinstance(proved, Identity | Answer):
            return admit(verified, exchange, fields, credentials, proved)
        return later(exchange, fields, credentials, proved)

    async def later(
        exchange: Exchange, fields: Fields | None, credentials: bytes, proved: Awaitable[Proved]
    ) -> Answer | None:
        return admit(verified, exchange, fields, credentials, await proved)

    return prove


def admit(verified: Verified, exchange: Exchange, fields: Fields | None, key: bytes, proved: Proved) -> Answer | None:
    """Let an exchange in as whom its credentials name, and remember that under `key`; or not."""
    if isinstance(proved, Answer):
        return proved
    verified.put(key, proved)
    if proved.proof is not None:
        if (refusal := proved.proof(exchange, key)) is not None:
            return refusal
    elif fields is not None:
        verified.sure[key] = proved
        fields.identity, fields.identified_by = proved, verified.epoch
    exchange.consumer = proved.consumer
    exchange.scopes = proved.scopes
    exchange.claims_or_token = proved.claims_or_token
    exchange.request_lines += proved.lines
    return None


def by_credentials(
    verified: Verified,
    credentials_of: Callable[[Exchange], bytes | Answer | None],
    verify: Verify,
    absent: Answer | None,
) -> Callable[[Exchange], Verdict]:
    """The same as `by_fields` for credentials that may be anywhere in a request."""
    prove = proving(verified, verify)

    def auth(exchange: Exchange) -> Verdict:
        credentials = credentials_of(exchange)
        if credentials is None or isinstance(credentials, Answer):
            return absent if credentials is None else credentials
        return prove(exchange, credentials, None)

    return auth
