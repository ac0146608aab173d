"""The API keys of this gateway: made, revoked and rotated here, kept in a file, and shared through Redis if it has one.

Workers get all keys when they connect, and each change at once. What holds is never asked for while a request waits, so
no slow answer can bring back a key that was revoked.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from portico.config import Config
from portico.config.problems import nearest
from portico.core.api_keys import digest_of, filed_name, new_key
from portico.core.consumers import Consumer, Consumers
from portico.core.tasks import background, cancelled
from portico.net.redis.connection import masked, reason
from portico.policies.auth import AuthSettings
from portico.processes.control.api_key_records import ApiKeyFile, KeyRecord, merged
from portico.processes.control.api_key_redis import News, Seen, SharedKeys, problems
from portico.processes.control.state_file import state_path
from portico.processes.control.workers import Workers
from portico.processes.ipc import channel
from portico.processes.ipc.runtime import Runtime

logger: Final = logging.getLogger("portico.keys")

_PAUSE: Final = 0.25
"""Seconds between two questions for what other gateways have changed; one does not wait for the answer to another."""
_QUESTIONS: Final = 12
"""Those that may be without an answer."""
_FIRST: Final = 1.0
"""Seconds for the answer to the first one, before this gateway goes by what it has in its file."""
_BATCH: Final = 200
"""Keys that are written to Redis at once."""
_CONFIRMED: Final = 2.0
"""Seconds in which workers confirm a change."""
_USED_STORED: Final = 60.0
"""Seconds between two writings of when keys were used."""


class UnknownKeyError(Exception):
    """There is no such key."""


class RefusedError(Exception):
    """That cannot be done with this key, or not in this configuration; the message says why."""


class UnavailableError(Exception):
    """It cannot be done now; the message says why."""


class Outcome(NamedTuple):
    """What came of a change: whether all gateways have it (None: there is no Redis that they share), the workers that
    have not confirmed it, and whether it outlasts this gateway.
    """

    shared: bool | None
    late: list[str]
    is_kept: bool


class ApiKeys:
    """All keys that were made, here or at another gateway."""

    def __init__(self, workers: Workers, runtime: Runtime, config_path: Path | None) -> None:
        self._workers = workers
        self._runtime = runtime
        self._config_path = config_path
        self._turn = asyncio.Lock()
        """Held while the file and Redis are opened and closed."""
        self._questions: set[asyncio.Task[None]] = set()
        self._directory = Consumers()
        self._records: dict[str, KeyRecord] = {}
        self._used: dict[str, int] = {}
        self._unsent: set[str] = set()
        """Keys of which Redis may not know all."""
        self._unsent_used: dict[str, int] = {}
        self._used_stored, self._used_at = time.monotonic(), 0
        """When that was stored last, and the latest use that was."""
        self._path: Path | None = None
        self._file: ApiKeyFile | None = None
        self._problem = ""
        """Why the file cannot be read."""
        self._is_known = False
        """Whether it is known which keys there are."""
        self._url: str | None = None
        self._redis: SharedKeys | None = None
        self._seen = Seen()
        self.up: bool | None = None
        """Whether Redis answers; None where there is none, or before the first question."""
        workers.api_keys = self._all
        workers.keys_used = self._note_used

    # ---- which there are

    async def follow(self, config: Config) -> None:
        """The keys that routes of this configuration ask for; where none does, they are left alone."""
        async with self._turn:
            self._directory = config.consumer_directory
            if not _takes_keys(config):
                await self._close()
                return
            was_known = self._is_known
            url = self._redis_url(config)
            self._open_file(config, is_shared=url is not None)
            await self._open_redis(url)
            if self._is_known and not was_known:
                self._workers.send(self._all_known())

    def _redis_url(self, config: Config) -> str | None:
        """The Redis of a configuration; not an embedded one, which ends with its gateway."""
        secret = config.gateway.redis_url
        url = secret.get_secret_value() if secret is not None else None
        return None if url == self._runtime.redis_url else url

    def _open_file(self, config: Config, *, is_shared: bool) -> None:
        path = state_path(config, self._config_path, "keys")
        if self._file is not None and path == self._path and not self._problem:
            return
        if self._file is not None:
            self._file.close()
        self._path, self._problem = path, ""
        self._file = ApiKeyFile(path, self._runtime.directory / "api_keys.json")
        try:
            kept = self._file.load(is_shared=is_shared)
        except ValueError as error:
            self._problem = str(error)
            return
        if kept is not None:
            self._take(kept.keys)
            for name, at in kept.used.items():
                self._used[name] = max(at, self._used.get(name, 0))

    async def _open_redis(self, url: str | None) -> None:
        if url != self._url:
            await self._close_redis()
            self._url, self.up, self._seen = url, None, Seen()
            self._redis = SharedKeys(url) if url is not None else None
        if self._redis is not None and not self.up:
            with suppress(TimeoutError):  # the copy here may be an old one: it is believed where there is no other
                async with asyncio.timeout(_FIRST):
                    await self._exchange(self._redis)
        if not self._problem:
            self._is_known = self._is_known or bool(self._records) or self._redis is None

    async def close(self) -> None:
        """Stop sharing, and let another process have the file."""
        async with self._turn:
            await self._close()

    async def _close_redis(self) -> None:
        redis, self._redis = self._redis, None
        if redis is not None:
            await cancelled(self._questions)
            await redis.close()

    async def _close(self) -> None:
        await self._close_redis()
        if self._file is not None:
            self._store_used()
            self._file.close()
        self._records, self._used, self._unsent, self._unsent_used = {}, {}, set(), {}
        self._path = self._file = self._url = self.up = None
        self._seen, self._is_known, self._problem = Seen(), False, ""

    # ---- what is done with them

    async def create(
        self, consumer: str, scopes: Sequence[str] | None, lifetime: float | None, note: str
    ) -> tuple[KeyRecord, str, Outcome]:
        """A new key: what is kept of it, its text, and what came of it. `lifetime` is in seconds.

        Raises ValueError, RefusedError, UnavailableError.
        """
        self._check_ready()
        record, text = self._made(consumer, scopes, lifetime, note)
        outcome = await self._commit([record], is_new=True)
        logger.info("an API key was made", extra={"key": record.id, "consumer": consumer})
        return record, text, outcome

    async def revoke(self, key: str) -> tuple[KeyRecord, Outcome]:
        """End a key now. Raises UnknownKeyError, RefusedError, UnavailableError."""
        record = self._found(key)
        record = merged(record, msgspec.structs.replace(record, revoked=int(time.time())))
        outcome = await self._commit([record])
        logger.info("an API key was revoked", extra={"key": record.id, "consumer": record.consumer})
        return record, outcome

    async def rotate(
        self, key: str, overlap: float, scopes: Sequence[str] | None, lifetime: float | None
    ) -> tuple[KeyRecord, KeyRecord, str, Outcome]:
        """A new key in place of one that holds for `overlap` seconds more: both, the new one's text, what came of it.

        The new one lives as long as the other was made for and has its scopes, if nothing else is said. Raises
        ValueError, UnknownKeyError, RefusedError, UnavailableError.
        """
        old, now = self._found(key), time.time()
        if not old.holds(now):
            raise RefusedError(f"the key {key} has ended: make a new one")
        if lifetime is None and old.expires:
            lifetime = old.expires - old.created
        new, text = self._made(old.consumer, old.scopes if scopes is None else scopes, lifetime, old.note)
        ends = {"expires": int(now + overlap)} if overlap else {"revoked": int(now)}
        old = merged(old, msgspec.structs.replace(old, **ends))
        outcome = await self._commit([new, old], is_new=True)
        logger.info("an API key was rotated", extra={"key": key, "by": new.id, "consumer": new.consumer})
        return old, new, text, outcome

    def _check_ready(self) -> None:
        if self._file is None:
            raise RefusedError("no route takes API keys: write auth: {api_key: {}} in policies, a service or a route")
        if not self._is_known:
            raise UnavailableError(self._problem or "the API keys are not known: Redis does not answer")

    def _found(self, key: str) -> KeyRecord:
        self._check_ready()
        record = self._records.get(key)
        name = key if record is None else filed_name(bytes.fromhex(record.digest))
        if any(name == other for other, _ in self._filed()):
            raise RefusedError(f"the key {key} is in the file: take it out of keys of its consumer, and reload")
        if record is None:
            raise UnknownKeyError(f"there is no key {key}")
        return record

    def _made(
        self, consumer: str, scopes: Sequence[str] | None, lifetime: float | None, note: str
    ) -> tuple[KeyRecord, str]:
        owner = self._directory.find(consumer)
        if owner is None:
            close = nearest(consumer, [each.name for each in self._directory])
            hint = f"; did you mean {close}?" if close else ": write it there first"
            raise ValueError(f"there is no {consumer} under consumers{hint}")
        for scope in scopes or ():
            if scope not in owner.scopes:
                raise ValueError(f"{consumer} does not have the scope {scope}: a key has no more than its consumer")
        key, now = new_key(), int(time.time())
        expires = 0 if lifetime is None else now + max(1, int(lifetime))
        own = None if scopes is None else tuple(dict.fromkeys(scopes))
        digest = digest_of(key.text.encode()).hex()
        return KeyRecord(key.id, digest, consumer, now, own, note, expires), key.text

    async def _commit(self, changed: list[KeyRecord], *, is_new: bool = False) -> Outcome:
        """Have this apply everywhere. What is new is refused where it cannot be stored; what ends does all the same."""
        assert self._file is not None
        before = {each.id: self._records.get(each.id) for each in changed}
        self._records |= {each.id: each for each in changed}
        problem = self._file.store(self._records.values(), self._used)
        if problem and is_new:
            for name, record in before.items():
                if record is None:
                    del self._records[name]
                else:
                    self._records[name] = record
            raise UnavailableError(problem)
        self._unsent |= before.keys()
        late, shared = await asyncio.gather(self._tell_workers(changed), self._share(before.keys()))
        return Outcome(shared, late, is_kept=bool(shared) or (self._file.is_lasting and not problem))

    async def _tell_workers(self, changed: Iterable[KeyRecord]) -> list[str]:
        """Send a change to all workers; those that have not confirmed it in time."""
        keys = [each.for_workers() for each in changed]
        answers = await self._workers.ask(lambda number: channel.NewApiKeys(keys, number=number), _CONFIRMED)
        return [worker for worker, answer in answers.items() if answer is None]

    # ---- with other gateways

    async def keep_sharing(self) -> None:
        """Take over what other gateways have changed, for ever, and note when keys were used."""
        while True:
            await asyncio.sleep(_PAUSE)
            try:
                if self._redis is not None and len(self._questions) < _QUESTIONS:
                    question = background(self._exchange(self._redis), "a question about API keys")
                    self._questions.add(question)
                    question.add_done_callback(self._questions.discard)
                if time.monotonic() - self._used_stored >= _USED_STORED:
                    self._store_used()
                    await self._forget_old()
            except Exception:
                logger.exception("API keys could not be shared with other gateways")

    async def _share(self, keys: Iterable[str]) -> bool | None:
        """Whether Redis knows all of these keys; None where there is none."""
        if self._redis is None:
            return None
        await self._exchange(self._redis)
        return self._unsent.isdisjoint(keys)

    async def _exchange(self, redis: SharedKeys) -> None:
        """Write what Redis may not know, and take over what is news here. Several may be under way at once."""
        try:
            while redis is self._redis:
                sent = [self._records[name] for name in islice(self._unsent, _BATCH)]
                news = await redis.exchange(self._seen, sent)
                if redis is not self._redis:
                    return
                self._unsent.difference_update(each.id for each in sent if self._records.get(each.id) == each)
                self._take_over(news)
                if not self._unsent:
                    break
            await self._write_used(redis)
            self._note(True)
        except problems() as error:
            if redis is self._redis:
                self._seen = Seen()  # Redis may be another one when it comes back, or have lost what came last
                self._note(False, reason(error))

    async def _write_used(self, redis: SharedKeys) -> None:
        used, self._unsent_used = self._unsent_used, {}
        if used:
            try:
                await redis.note_used(used)
            except BaseException:
                self._unsent_used = used | self._unsent_used
                raise

    def _take_over(self, news: News) -> None:
        was_known, self._is_known = self._is_known, True
        self._seen = max(self._seen, news.seen) if self._seen.data == news.seen.data else news.seen
        changed = self._take(news.keys)
        if news.are_all:
            self._unsent |= self._records.keys() - {each.id for each in news.keys}
        if self._problem and self._file is not None and not self._file.store(self._records.values(), self._used):
            self._problem = ""
        elif changed and self._file is not None:
            self._file.store(self._records.values(), self._used)
        if not was_known:
            self._workers.send(self._all_known())
        elif changed:
            self._workers.send(channel.NewApiKeys([each.for_workers() for each in changed]))

    async def _forget_old(self) -> None:
        """Drop keys that are over, here and in Redis."""
        now = time.time()
        over = [name for name, each in self._records.items() if each.is_over(now)]
        if not over or self._file is None or self._problem:
            return
        for name in over:
            del self._records[name]
            self._used.pop(name, None)
        self._unsent.difference_update(over)
        self._file.store(self._records.values(), self._used)
        if self._redis is not None:
            with suppress(*problems()):  # another gateway will, or this one when it hears of them again
                await self._redis.forget(over)

    def _take(self, found: Iterable[KeyRecord]) -> list[KeyRecord]:
        """Join what was found to what is known here; what has changed by that. What is over by now is left out."""
        changed, now = [], time.time()
        for each in found:
            if each.is_over(now):
                continue
            known = self._records.get(each.id)
            joined = each if known is None else merged(known, each)
            if joined != known:
                self._records[each.id] = joined
                changed.append(joined)
            if (joined.expires, joined.revoked) != (each.expires, each.revoked):
                self._unsent.add(each.id)
        return changed

    def _note(self, up: bool, why: str = "") -> None:
        if up != self.up:
            extra = {"redis": masked(self._url or "")}
            if up:
                logger.info("API keys are shared with other gateways", extra=extra)
            else:
                extra["reason"] = why
                logger.warning("API keys are not shared with other gateways: Redis does not answer", extra=extra)
        self.up = up

    # ---- for workers, and about keys

    def _all(self) -> channel.NewApiKeys | None:
        """For a worker that connects now; None where it is not known which keys there are."""
        return self._all_known() if self._is_known else None

    def _all_known(self) -> channel.NewApiKeys:
        keys = [each.for_workers() for each in self._records.values() if not each.revoked]
        return channel.NewApiKeys(keys, are_all=True)

    def _note_used(self, used: dict[str, int]) -> None:
        if self._file is None:
            return
        for name, at in used.items():
            if at > self._used.get(name, 0):
                self._used[name] = at
                if self._redis is not None:
                    self._unsent_used[name] = at

    def _store_used(self) -> None:
        self._used_stored = time.monotonic()
        latest = max(self._used.values(), default=0)
        if self._file is not None and latest > self._used_at and not self._problem:
            self._used_at = latest
            self._file.store(self._records.values(), self._used)

    async def all_used(self) -> dict[str, int]:
        """When keys were last used, by any gateway, by their ids."""
        used = dict(self._used)
        if self._redis is not None:
            try:
                for name, at in (await self._redis.used()).items():
                    used[name] = max(at, used.get(name, 0))
            except problems() as error:
                self._note(False, reason(error))
        return used

    def records(self) -> list[KeyRecord]:
        """All keys, the oldest first. Raises RefusedError, UnavailableError."""
        self._check_ready()
        return sorted(self._records.values(), key=lambda each: (each.created, each.revoked == 0, each.id))

    def filed(self) -> list[tuple[str, Consumer]]:
        """The keys that the file of the configuration has, each by what names it here, and whose it is."""
        return list(self._filed())

    def _filed(self) -> Iterable[tuple[str, Consumer]]:
        return ((filed_name(digest), each) for each in self._directory for digest in each.keys)

    def consumer(self, name: str) -> Consumer | None:
        """The consumer of a key, if it is still there."""
        return self._directory.find(name)

    def held_by(self) -> dict[str, int]:
        """How many keys of each consumer hold now, beside those in the file."""
        now = time.time()
        return Counter(record.consumer for record in self._records.values() if record.holds(now))

    def state(self) -> dict[str, object] | None:
        """For the admin API; None where no route takes keys."""
        if self._file is None:
            return None
        problem = {"problem": self._problem} if self._problem else {}
        return {"keys": len(self._records), "shared": self.up, **problem}


def _takes_keys(config: Config) -> bool:
    settings = (route.policies.get("auth", (None, ""))[0] for route in config.all_routes)
    return any(isinstance(each, AuthSettings) and each.api_key is not None for each in settings)
