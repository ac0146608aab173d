"""Tokens that have to be verified while many are wrong: one in a turn of the event loop, and clients in turn.

What a flood of bad tokens costs others is the time that they wait behind its checks. Those that come at once, on many
connections, would all be checked before the next request of anybody else is read.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable
from typing import Any, Final, NamedTuple

from portico.core.clients import client_of
from portico.core.errors import Answer
from portico.core.exchange import Exchange
from portico.core.messages import Fields
from portico.core.tasks import background
from portico.policies.auth.identified import Prove, Verdict, Verified

_MANY: Final = 20
"""Refused tokens in a second, from which on the next ones wait for their turn; until there is a second with fewer."""


class _Check(NamedTuple):
    """A request whose token is to be verified, and who waits for the verdict."""

    prove: Prove
    exchange: Exchange
    credentials: bytes
    fields: Fields | None
    verdict: asyncio.Future[Answer | None]


class FairChecks:
    """Who waits, by clients: each has a second token verified after all others have had one."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[_Check]] = {}
        self._second = 0
        self._refused = self._refused_before = 0

    def fairly(self, prove: Prove, verified: Verified) -> Prove:
        """The same; while many tokens are refused, those that are not among the `verified` wait for their turn."""

        def prove_fairly(exchange: Exchange, credentials: bytes, fields: Fields | None) -> Verdict:
            if not self._waiting and not self._are_many():
                return self._noted(prove(exchange, credentials, fields))
            if verified.get(credentials) is not None:
                return prove(exchange, credentials, fields)
            return self._wait(prove, exchange, credentials, fields)

        return prove_fairly

    def _wait(self, prove: Prove, exchange: Exchange, credentials: bytes, fields: Fields | None) -> Verdict:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # nobody else is kept from anything
            return prove(exchange, credentials, fields)
        verdict: asyncio.Future[Answer | None] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._check_one)
        checks = self._waiting.setdefault(client_of(exchange.client_ip), deque())
        checks.append(_Check(prove, exchange, credentials, fields, verdict))
        return verdict

    def _check_one(self) -> None:
        """Check the next one, and have another one follow behind whatever else has come meanwhile."""
        while self._waiting:
            client = next(iter(self._waiting))
            checks = self._waiting.pop(client)
            check = checks.popleft()
            if checks:
                self._waiting[client] = checks  # behind all others
            if not check.verdict.done():  # its client is still there
                self._settle(check)
                break
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._check_one)

    def _settle(self, check: _Check) -> None:
        try:
            verdict = self._noted(check.prove(check.exchange, check.credentials, check.fields))
        except Exception as error:
            check.verdict.set_exception(error)
            return
        if isinstance(verdict, Awaitable):
            background(_pass_on(verdict, check.verdict), "the check of a token")
        else:
            check.verdict.set_result(verdict)

    # ---- how many are refused

    def _noted(self, verdict: Verdict) -> Verdict:
        if isinstance(verdict, Answer):
            self._turn_second()
            self._refused += 1
        return verdict

    def _are_many(self) -> bool:
        if not self._refused and not self._refused_before:
            return False
        self._turn_second()
        return self._refused > _MANY or self._refused_before > _MANY

    def _turn_second(self) -> None:
        second = int(time.monotonic())
        if second != self._second:
            self._refused_before = self._refused if second == self._second + 1 else 0
            self._refused, self._second = 0, second


async def _pass_on(verdict: Awaitable[Answer | None], to: asyncio.Future[Any]) -> None:
    """Settle one by what the other comes to, unless nobody waits for it any more."""
    try:
        found = await verdict
    except Exception as error:
        if not to.done():
            to.set_exception(error)
    else:
        if not to.done():
            to.set_result(found)
