"""Names and passwords of consumers, in `Authorization: Basic` (RFC 7617)."""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from base64 import b64decode
from hashlib import blake2b
from typing import Final
from weakref import WeakValueDictionary

from portico.core.clients import client_of
from portico.core.consumers import Consumers
from portico.core.errors import Answer, Refusal
from portico.core.exchange import Exchange
from portico.core.fields import plain_name
from portico.core.messages import Fields
from portico.core.passwords import TooManyError, nobodys, verified
from portico.core.settings import Settings
from portico.policies.auth.identified import Identity, Proved, Verdict, Verified, admit, remembering
from portico.policies.consumer_fields import NameEncoding, consumer_lines, consumer_name
from portico.policies.counters.guessing import Guessing
from portico.policies.policy import Context, Policy
from portico.policies.policy import Verdict as AnyVerdict

_BELIEVED: Final = 300.0
"""Seconds after which a password is checked again."""
HOW: Final = "send a name and a password, as 'Authorization: Basic …'"
CHALLENGE: Final = b'WWW-Authenticate: Basic realm="portico", charset="UTF-8"'
_SEVERAL: Final = Refusal("credentials_missing", "send Authorization once", (CHALLENGE,))
_MALFORMED: Final = Refusal("credentials_invalid", "this is no name and password (RFC 7617)", (CHALLENGE,))
_WRONG: Final = Refusal("credentials_invalid", "the name or the password is not right", (CHALLENGE,))
_TOO_MANY: Final = Refusal("overloaded", "too many passwords are being checked: try again soon", (b"Retry-After: 1",))


class BasicSettings(Settings):
    """Names and passwords of the configured consumers; there is nothing to set."""


def build_basic(settings: BasicSettings, encoding: NameEncoding, context: Context, absent: Answer | None) -> Policy:  # noqa: ARG001
    """The method: a consumer's name with its password identifies it, others get 401, and none `absent`."""
    directory, state = context.directory, context.state
    known: Verified = state.keep(("basic", context.scope, encoding, directory.digest), Verified)
    passwords = _Passwords(directory, state.keep(("guessing",), Guessing), encoding)
    key = secrets.token_bytes(32)
    under_way: dict[bytes, asyncio.Task[Proved]] = {}
    """A page that asks for many things at once has its password checked once."""

    def prove(exchange: Exchange, line: bytes, fields: Fields | None) -> Verdict:
        # The password itself is not kept; and whoever guesses it elsewhere is to wait as if it were not known here.
        digest = blake2b(b"%b\n%b" % (client_of(exchange.client_ip).encode(), line), key=key, digest_size=20).digest()
        identity = known.get(digest)
        if identity is not None and identity.expires > time.time():
            return admit(known, exchange, fields, digest, identity)
        known.discard(digest)
        pair = _name_and_password(line)
        return _MALFORMED if pair is None else later(exchange, fields, digest, *pair)

    async def later(
        exchange: Exchange, fields: Fields | None, digest: bytes, name: str, password: str
    ) -> Answer | None:
        task = under_way.get(digest)
        if task is None:
            task = asyncio.get_running_loop().create_task(passwords.check(name, password, exchange.client_ip))
            under_way[digest] = task
            task.add_done_callback(lambda _: under_way.pop(digest, None))
        return admit(known, exchange, fields, digest, await asyncio.shield(task))

    return remembering(known, _line, prove, absent)


def without_passwords(policy: Policy) -> Policy:
    """A policy of authentication, behind which requests have no name and password, whatever else proved who asks."""
    mark = object()

    def rest(fields: Fields) -> Fields:
        if not any(map(_is_basic, fields.lines)):
            return fields
        return fields.changed(lambda name: plain_name(name) == b"authorization", ())

    def auth(exchange: Exchange) -> AnyVerdict:
        verdict = policy(exchange)
        request = exchange.request
        assert request is not None
        fields = request.fields
        if fields.edited_by is not mark:
            fields.edited, fields.edited_by = rest(fields), mark
        if fields.edited is not fields:
            exchange.request = request.changed(fields=fields.edited)
        return verdict

    return auth


def _is_basic(line: bytes) -> bool:
    name, _, value = line.partition(b":")
    return plain_name(name.lower()) == b"authorization" and value.lstrip()[:6].lower().rstrip() == b"basic"


def _line(fields: Fields) -> bytes | Answer | None:
    names = fields.names
    count = names.count(b"authorization")
    if count != 1:
        return _SEVERAL if count else None
    line = fields.lines[names.index(b"authorization")]
    return line if _is_basic(line) else None


def _name_and_password(line: bytes) -> tuple[str, str] | None:
    """The pair, the name as those of consumers are compared; None where there is none."""
    try:
        text = b64decode(line.partition(b":")[2].strip()[len(b"basic") :].strip(), validate=True).decode()
        name, colon, password = text.partition(":")
        return (consumer_name(name), password) if colon else None
    except ValueError:
        return None


class _Passwords:
    """Checks passwords, one after the other for one name from one client: else many guesses would pass as the first."""

    def __init__(self, directory: Consumers, guessing: Guessing, encoding: NameEncoding) -> None:
        self._directory, self._guessing, self._encoding = directory, guessing, encoding
        self._hashes = directory.passwords
        self._salt = secrets.token_bytes(16)
        self._turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def check(self, name: str, password: str, address: str) -> Proved:
        """Who it is, or why it is nobody."""
        who = name, client_of(address)
        turn = self._turns.get(who)
        if turn is None:
            turn = self._turns[who] = asyncio.Lock()
        async with turn:
            wait = self._guessing.wait(name, address)
            if wait > 0:
                after = b"Retry-After: %d" % math.ceil(wait)
                return Refusal("rate_limited", "too many wrong passwords: try again later", (after,))
            try:
                return await self._proved(name, password, address)
            except TooManyError:
                return _TOO_MANY

    async def _proved(self, name: str, password: str, address: str) -> Proved:
        consumer = self._directory.find(name)
        own = consumer.password if consumer is not None else ""
        is_right = await verified(own or self._hash_of_nobody(name), password)
        if consumer is None or not own or not is_right:
            self._guessing.failed(name, address)
            return _WRONG
        self._guessing.succeeded(name, address)
        lines = consumer_lines(consumer.name, consumer.scopes, self._encoding)
        return Identity(time.time() + _BELIEVED, consumer.name, consumer.scopes, lines, {})

    def _hash_of_nobody(self, name: str) -> str:
        """Takes as long to check as that of a consumer, always the same one for a name: time tells nothing."""
        digest = blake2b(name.encode(), key=self._salt, digest_size=8).digest()
        return nobodys(self._hashes[int.from_bytes(digest) % len(self._hashes)])
