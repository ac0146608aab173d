"""Access tokens that are revoked before they end: kept in a file, and shared through Redis where there is one.

Workers get all of them when they connect, and each new one at once. What was revoked stays so: whoever hears of it late
has only to add it, in whatever order.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Iterable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

from portico.core.tasks import cancelled, endless
from portico.net.redis.connection import failures, reason
from portico.policies.auth.revoked import Revocation
from portico.processes.control.state_file import warn_not_kept
from portico.processes.control.tokens.revocation_file import RevocationFile
from portico.processes.control.tokens.shared_revocations import News, Seen, SharedRevocations
from portico.processes.control.workers import Workers
from portico.processes.ipc import channel

logger: Final = logging.getLogger("portico.auth")

LONGEST: Final = 366 * 86_400
"""Seconds that a token lives at most, where nothing else is known of it."""
_PAUSE: Final = 0.25
"""Seconds between two questions for what other gateways have revoked."""
_FIRST: Final = 1.0
"""Seconds for the answer to the first one, before this gateway goes by what it has in its file."""
_BATCH: Final = 200
"""Revocations that are written to Redis at once."""
_HEARD: Final = 1
"""Seconds after which all gateways have heard of one."""
_CONFIRMED: Final = 2.0
"""Seconds in which workers confirm one."""
_SINGLE: Final = 1_000
"""Tokens of one consumer that are revoked one by one. Beyond that all end that it has: somebody plays with them."""
_PRUNED: Final = 60.0
"""Seconds between two looks for those that are over."""


class Outcome(NamedTuple):
    """What came of it: whether all gateways know of it (None: there is no Redis that they share), the workers that have
    not confirmed it, and whether it outlasts this gateway.
    """

    shared: bool | None
    late: list[str]
    is_kept: bool


class Revocations:
    """All that is revoked, here or at another gateway with the same issuer."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._known: dict[tuple[bool, str], Revocation] = {}
        self._singles: dict[str, list[int]] = {}
        """When those tokens of a consumer would have ended that were revoked one by one, here."""
        self._life = self._earlier = 0
        """Seconds that new tokens live, and when the last one ends that was issued to live longer."""
        self.longest = LONGEST
        """Seconds after which nothing is left of what a consumer has now, refresh tokens included."""
        self._unsent: dict[tuple[bool, str], Revocation] = {}
        """What Redis may not know."""
        self._unkept: dict[tuple[bool, str], Revocation] = {}
        """What the file could not take."""
        self._place: tuple[Path | None, str | None, str] | None = None
        self._file: RevocationFile | None = None
        self._redis: SharedRevocations | None = None
        self._seen = Seen()
        self._turn = asyncio.Lock()
        """Held while Redis is asked."""
        self._task: asyncio.Task[None] | None = None
        self.up: bool | None = None
        """Whether Redis answers; None where there is none, or before the first question."""
        workers.revocations = self._all

    def __len__(self) -> int:
        return len(self._known)

    def _all(self) -> channel.NewRevocations:
        """For a worker that connects now."""
        return channel.NewRevocations([*self._known.values()])

    def find(self, consumer: str) -> Revocation | None:
        """Up to when all tokens of a consumer are revoked."""
        return self._known.get((True, consumer))

    async def open(self, path: Path | None, url: str | None, issuer: str, life: int) -> None:
        """Keep them there from now on; what is known goes along. New tokens live for `life` seconds."""
        if self._place != (path, url, issuer):
            await self.close()
            self._place = path, url, issuer
            await self._open(path, url, issuer)
        self._life = life
        if self._file is not None:
            try:
                self._earlier = max(self._earlier, self._file.end_of_earlier(life))
            except sqlite3.Error as error:
                logger.error("how long tokens live cannot be stored", extra={"reason": str(error)})

    async def _open(self, path: Path | None, url: str | None, issuer: str) -> None:
        self._file = RevocationFile(path)
        if self._file.problem:
            warn_not_kept("which tokens are revoked is", path, self._file.problem)
        try:
            before = [*self._known.values()]
            added = self._add(self._file.load())
            self._store(before)
        except sqlite3.Error as error:
            added = []
            logger.error("which tokens are revoked cannot be read", extra={"file": str(path), "reason": str(error)})
        self._unsent = dict(self._known)
        if url is not None:
            self._redis = SharedRevocations(url, issuer)
            with suppress(TimeoutError):
                async with asyncio.timeout(_FIRST):
                    await self._exchange(self._redis)
        self._send(added)
        self._task = endless(self._keep_up(), "the sharing of revoked tokens")

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            await cancelled([self._task])
        if self._redis is not None:
            await self._redis.close()
        if self._file is not None:
            self._file.close()
        self._task = self._redis = self._file = self._place = self.up = None
        self._seen = Seen()

    # ---- what is revoked

    async def revoke_token(self, jti: str, until: int, consumer: str = "") -> Outcome:
        """End one token, which would end by itself at `until`; `consumer` is who wants that, if it is its own."""
        if consumer and self._are_too_many(consumer, jti, until):
            logger.warning("so many tokens of a consumer were revoked that all are", extra={"consumer": consumer})
            return await self.revoke_consumer(consumer)
        return await self._revoke(Revocation(jti, until))

    def _are_too_many(self, consumer: str, jti: str, until: int) -> bool:
        """Whether a consumer has ended so many of its tokens one by one that they would fill workers' memory."""
        if (False, jti) in self._known:
            return False
        now = time.time()
        ends = self._singles[consumer] = [each for each in self._singles.get(consumer, ()) if each > now]
        if len(ends) < _SINGLE:
            ends.append(until)
            return False
        return True

    async def revoke_sign_in(self, sid: str) -> Outcome:
        """End all tokens that came from one sign-in."""
        return await self._revoke(Revocation(sid, max(int(time.time()) + self._life + 1, self._earlier)))

    async def revoke_consumer(self, consumer: str) -> Outcome:
        """End all tokens that a consumer has now; one that it gets afterwards is good."""
        now = int(time.time())
        before = now if self._redis is None else now + _HEARD  # others go on issuing until they have heard of it
        outcome = await self._revoke(Revocation(consumer, before + self.longest, before))
        await asyncio.sleep(max(0.0, before + 1 - time.time()))  # a token says to the second when it was issued
        return outcome

    async def _revoke(self, revocation: Revocation) -> Outcome:
        added = self._add([revocation])
        is_kept = self._store(added)
        self._unsent |= {_key(each): each for each in added}
        late, shared = await asyncio.gather(self._tell_workers(added), self._share(revocation))
        return Outcome(shared, late, is_kept=bool(shared) or is_kept)

    def _add(self, revocations: Iterable[Revocation]) -> list[Revocation]:
        """What of these is new here."""
        now, added = time.time(), []
        for each in revocations:
            known = self._known.get(_key(each))
            if each.until > now and (known is None or (each.until, each.before) > (known.until, known.before)):
                self._known[_key(each)] = each
                added.append(each)
        return added

    def _store(self, added: list[Revocation]) -> bool:
        """Whether they outlast this gateway."""
        self._unkept |= {_key(each): each for each in added}
        if self._file is None:
            return False
        try:
            if self._unkept:
                self._file.store(self._unkept.values())
            self._unkept = {}
        except sqlite3.Error as error:
            logger.error(
                "that a token is revoked cannot be stored: a restart would undo it", extra={"reason": str(error)}
            )
            return False
        return not self._file.problem

    def _send(self, added: list[Revocation]) -> None:
        if added:
            self._workers.send(channel.NewRevocations(added))

    async def _tell_workers(self, added: list[Revocation]) -> list[str]:
        """Send them to all workers; those that have not confirmed it in time."""
        if not added:
            return []
        answers = await self._workers.ask(lambda number: channel.NewRevocations(added, number), _CONFIRMED)
        return [worker for worker, answer in answers.items() if answer is None]

    # ---- with other gateways

    async def _share(self, revocation: Revocation) -> bool | None:
        """Whether Redis knows of it; None where there is none."""
        if self._redis is None:
            return None
        await self._exchange(self._redis)
        return _key(revocation) not in self._unsent

    async def _keep_up(self) -> None:
        """Take over what other gateways have revoked, and forget what is over, for ever."""
        pruned = time.monotonic()
        while True:
            await asyncio.sleep(_PAUSE)
            try:
                if self._redis is not None:
                    await self._exchange(self._redis)
                if time.monotonic() - pruned >= _PRUNED:
                    pruned = time.monotonic()
                    self._prune()
            except Exception:
                logger.exception("revoked tokens could not be shared with other gateways")

    async def _exchange(self, redis: SharedRevocations) -> None:
        """Write what Redis may not know, and take over what is news here."""
        try:
            async with self._turn:
                while redis is self._redis:
                    sent = dict(islice(self._unsent.items(), _BATCH))
                    self._take_over(await redis.exchange(self._seen, sent.values()), sent)
                    if not self._unsent:
                        break
            self._note(up=True)
        except failures() as error:
            self._note(up=False, why=reason(error))

    def _take_over(self, news: News, sent: dict[tuple[bool, str], Revocation]) -> None:
        self._seen = news.seen
        added = self._add(news.revocations)
        for key, each in sent.items():
            if self._unsent.get(key) == each:
                del self._unsent[key]
        if news.are_all:
            there = set(map(_key, news.revocations))
            self._unsent |= {key: each for key, each in self._known.items() if key not in there}
        self._store(added)
        self._send(added)

    def _note(self, *, up: bool, why: str = "") -> None:
        if not up:
            self._seen = Seen()  # Redis may be another one when it comes back, or have lost what came last
        if up != self.up:
            if up:
                logger.info("revoked tokens are shared with other gateways")
            else:
                logger.warning(
                    "revoked tokens are not shared with other gateways: Redis does not answer", extra={"reason": why}
                )
        self.up = up

    def _prune(self) -> None:
        now = time.time()
        self._known = {key: each for key, each in self._known.items() if each.until > now}
        self._unsent = {key: each for key, each in self._unsent.items() if each.until > now}
        singles = {name: [each for each in ends if each > now] for name, ends in self._singles.items()}
        self._singles = {name: ends for name, ends in singles.items() if ends}
        self._unkept = {key: each for key, each in self._unkept.items() if each.until > now}
        self._store([])
        if self._file is not None:
            with suppress(sqlite3.Error):  # they are over: nothing hangs on it
                self._file.prune()

    def state(self) -> dict[str, Any]:
        """For the admin API."""
        return {"revoked": len(self._known), "shared": self.up}


def _key(revocation: Revocation) -> tuple[bool, str]:
    return revocation.before > 0, revocation.name
