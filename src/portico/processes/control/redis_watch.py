"""Watching the registry in Redis: by notifications where the server sends them, and by polling in any case."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from contextlib import suppress
from typing import Any, Final

from portico.client.registry_keys import CHANNEL, parts_of, value_of
from portico.core.tasks import cancelled, endless
from portico.net.redis.connection import connect, failures, masked, reason
from portico.processes.control.registration import VALUE_LIMIT, Entry, read_value
from portico.processes.control.registry import Registry, keys_to_read

logger: Final = logging.getLogger("portico.registry")

_TIMEOUT: Final = 2.0
_INTERVAL: Final = 0.5
"""Seconds between two reads of all known keys."""
_GAP: Final = 3.0
"""Seconds between two answers after which keys may have expired because the server did not receive heartbeats."""
_SAME: Final = 1.0
"""Seconds between two checks whether the subscription is at the server that is read."""
_SETTLE: Final = 0.02
"""Seconds for which changes are gathered."""
_BATCH: Final = 500
_READ: Final = 500
_READ_BEHIND: Final = 50
"""Keys that are read in one poll as a matter of course, in turns: of more, only those too that should have expired or
of which something was heard. The fewer are for a server that reports what changes: nothing is missed then but what is
lost on the way.
"""
_SCANS: Final = 10
"""Calls of SCAN in one poll, each over a thousand keys or so: the next poll continues from there. One, where the server
reports what changes.
"""
_SCAN_COUNT: Final = 1000
_MOST_KEYS: Final = 20_000
_EVENTS: Final = "__keyspace@*__:service:*"
_FLAGS: Final = "Kg$x"
"""Keyspace events of generic and string commands, and of keys that expire."""
_EXPIRY_EVENTS: Final = frozenset({b"expire", b"persist"})
_DELETING: Final = frozenset({b"del", b"rename_from", b"move_from"})


class RedisWatch:
    """Keeps a `Registry` up to date with Redis, until it is closed. Nothing that Redis does or answers ends it."""

    def __init__(self, registry: Registry, url: str) -> None:
        self._registry = registry
        self._url = url
        self._redis: Any = connect(url, timeout=_TIMEOUT, connections=4)
        self._news: dict[str, bool] = {}
        """Keys to read now, and whether they were reported as deleted."""
        self._woken = asyncio.Event()
        self._cursor: Any = 0
        self._answered = 0.0
        self._server = ""
        self._servers = 0
        """How many servers there were: the subscription may be at one that was."""
        self._is_replica = False
        """Whether the server is one: it takes no registrations, and what it does not have may be elsewhere."""
        self._is_cluster = hasattr(self._redis, "get_primaries")
        self._gets_events = True
        self._is_listening = False
        """Whether the server reports what changes, at this moment."""
        self._wants_all = True
        """Whether nothing that is known is certain: everything is read at once."""
        self._round: list[str] = []
        """The known keys that have not had their turn yet."""
        self.first_look = asyncio.Event()
        """Set after the first attempt."""
        self._tasks = [endless(self._poll_regularly(), "polling of the registry in Redis")]
        if not self._is_cluster:  # a Cluster would need a subscription per node; polling does
            self._tasks.append(endless(self._listen_regularly(), "notifications of the registry in Redis"))

    async def close(self) -> None:
        """Stop watching."""
        await cancelled(self._tasks)
        with suppress(*failures()):
            await self._redis.aclose()

    def look_at(self, key: str, *, deleted: bool = False) -> None:
        """Read a key now."""
        if len(self._news) < _MOST_KEYS:
            self._news[key] = deleted or self._news.get(key, False)
            self._woken.set()

    # ---- writing, for registrations over the admin API; may raise one of `redis_connection.failures()`

    async def write(self, entry: Entry) -> None:
        """Register an instance, for every gateway that watches this Redis."""
        said = {"weight": entry.weight, "version": entry.version, "metadata": entry.metadata, "openapi": entry.openapi}
        value = value_of(entry.url, ttl=entry.ttl, **said)  # type: ignore[arg-type]
        await self._redis.set(entry.key, value, px=round(entry.ttl * 1000))
        await self._announce("+", entry.key)

    async def keep_alive(self, key: str) -> bool:
        """Extend an instance by its time to live; False where there is none."""
        value = await self._redis.getrange(key, 0, VALUE_LIMIT)
        try:
            ttl = read_value(value).ttl if value else 0.0
        except ValueError:
            return False
        return bool(ttl and await self._redis.pexpire(key, round(ttl * 1000)))

    async def delete(self, key: str) -> None:
        """Remove an instance."""
        await self._redis.delete(key)
        await self._announce("-", key)

    async def _announce(self, sign: str, key: str) -> None:
        self.look_at(key, deleted=sign == "-")
        with suppress(*failures()):
            await self._redis.publish(CHANNEL, sign + key)

    # ---- polling

    async def _poll_regularly(self) -> None:
        due = 0.0
        while True:
            try:
                async with asyncio.timeout(3 * _TIMEOUT):
                    if time.monotonic() >= due:
                        due = time.monotonic() + _INTERVAL
                        await self._look()
                    elif self._registry.up or self._is_replica:
                        await self._look_at_news()
                self._note_answer()
            except failures() as error:
                self._wants_all = True
                self._registry.set_up(False, "it does not answer in time" if _is_slow(error) else reason(error))
                await asyncio.sleep(_INTERVAL)
                due = 0.0
            except Exception:
                logger.exception("the registry in Redis could not be read")
                await asyncio.sleep(_INTERVAL)
            self.first_look.set()
            self._woken.clear()
            if not self._news:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), max(0.0, due - time.monotonic()))
            if self._news:
                await asyncio.sleep(_SETTLE)

    async def _look(self) -> None:
        """Check the server itself, then read what is known or found, or as much of it as has its turn."""
        await self._look_at_server()
        scanned = await self._scan()
        news, self._news = self._news, {}
        scanned |= dict.fromkeys(news)
        wants_all, self._wants_all = self._wants_all, False
        try:
            await self._read(self._wanted(scanned, news, wants_all=wants_all), news)
        except BaseException:
            self._wants_all = self._wants_all or wants_all
            raise

    def _wanted(self, scanned: dict[str, None], news: dict[str, bool], *, wants_all: bool) -> list[str]:
        """The keys to read now."""
        registry = self._registry
        most = _READ_BEHIND if self._is_listening else _READ
        if wants_all or len(registry.entries) + len(registry.config.services) <= most:
            return keys_to_read(registry, list(registry.config.services), scanned)
        if not self._round:
            self._round = keys_to_read(registry, list(registry.config.services), {})
        turns, self._round = self._round[:most], self._round[most:]
        return list(dict.fromkeys([*registry.due(), *turns, *scanned, *news]))

    async def _look_at_news(self) -> None:
        news, self._news = self._news, {}
        if news:
            await self._read(list(news), news)

    async def _look_at_server(self) -> None:
        """Check whether it is the same server as before, and no replica, and was reachable all the time."""
        server, self._is_replica = await self._ask_server()
        if self._is_replica:  # demoted: the master may be at the same address by now
            await self._redis.connection_pool.disconnect(inuse_connections=False)
            server, self._is_replica = await self._ask_server()
        is_another = bool(server and self._server and server != self._server)
        if is_another:
            self._servers += 1
            await self._redis.connection_pool.disconnect(inuse_connections=False)
        if is_another or self._is_replica or (self._answered and time.monotonic() - self._answered > _GAP):
            self._registry.new_life()
            self._wants_all = True
        self._server = server or self._server

    async def _ask_server(self) -> tuple[str, bool]:
        """What distinguishes it from other servers, and whether it is a replica."""
        if self._is_cluster:  # there are many
            return "", False
        try:
            about, replication = await self._redis.info("server"), await self._redis.info("replication")
        except _refusals():  # INFO may be forbidden
            return "", False
        return str(about.get("run_id", "")), replication.get("role") == "slave"

    def _note_answer(self) -> None:
        self._answered = time.monotonic()
        self._registry.set_up(not self._is_replica, "it is a replica, which takes no registrations")

    async def _scan(self) -> dict[str, None]:
        """Some of the keys that may be registrations and are not known; successive polls cover all keys."""
        found: dict[str, None] = {}
        if self._is_cluster:  # whose nodes have a cursor each
            async for key in self._redis.scan_iter(match="service:*", count=_SCAN_COUNT):
                self._come_upon(found, key)
                if len(found) >= _MOST_KEYS:
                    break
            return found
        for _ in range(1 if self._is_listening and not self._wants_all else _SCANS):
            self._cursor, keys = await self._redis.scan(self._cursor, match="service:*", count=_SCAN_COUNT)
            for key in keys:
                self._come_upon(found, key)
            if self._cursor == 0:
                break
        return found

    def _come_upon(self, found: dict[str, None], key: bytes) -> None:
        text = key.decode(errors="replace")
        if text in self._registry.entries:
            return
        parts = parts_of(text)
        if parts is not None and self._registry.wanted(parts[0]) == "redis" and len(found) < _MOST_KEYS:
            found[text] = None

    async def _read(self, keys: list[str], news: dict[str, bool]) -> None:
        """Read these keys; no more of a value than a registration may have."""
        for start in range(0, len(keys), _BATCH):
            batch = keys[start : start + _BATCH]
            pipeline = self._redis.pipeline(transaction=False)
            for key in batch:
                pipeline.getrange(key, 0, VALUE_LIMIT)
                pipeline.pttl(key)
            answers = await pipeline.execute(raise_on_error=False)
            there = any(answer != -2 for answer in answers[1::2])
            for index, key in enumerate(batch):
                value, left = answers[2 * index : 2 * index + 2]
                if self._is_there(value, left):
                    self._take(key, value, left)
                else:
                    self._registry.missing(key, deleted=news.get(key, False), others_there=there)

    @staticmethod
    def _is_there(value: Any, left: Any) -> bool:
        """Whether a key exists. Raises the error where that was not answered."""
        if isinstance(left, Exception):
            raise left
        if isinstance(value, Exception) and not str(value).startswith("WRONGTYPE"):
            raise value
        return bool(left != -2 and value)

    def _take(self, key: str, value: Any, left: int) -> None:
        text = b"\xff" if isinstance(value, Exception) else value  # a list or the like, which cannot be read as text
        seconds = left / 1000 if left >= 0 else math.inf
        if not self._registry.still_says(key, text, seconds):
            self._registry.read(key, text, seconds)

    # ---- notifications

    async def _listen_regularly(self) -> None:
        while True:
            try:
                await self._listen()
            except failures():
                pass
            except Exception:
                logger.exception("notifications of the registry in Redis could not be received")
            await asyncio.sleep(_INTERVAL)

    async def _listen(self) -> None:
        """Receive changes of keys as the server reports them, and what services announce, which needs no setting."""
        servers = self._servers
        pubsub = self._redis.pubsub(ignore_subscribe_messages=True)
        try:
            with suppress(*_refusals()):  # an ACL may allow none, or not all channels
                await pubsub.subscribe(CHANNEL)
            with suppress(*_refusals()):
                await pubsub.psubscribe(_EVENTS)
            await self._have_events_sent()
            self._is_listening, self._wants_all = self._gets_events, True  # what changed before was not reported
            self._woken.set()
            while self._servers == servers:
                message = await pubsub.get_message(timeout=_SAME)
                if message is not None:
                    self._heed(message)
                elif await self._have_events_sent():  # somebody had turned them off, and what changed was not reported
                    self._wants_all = True
        finally:
            self._is_listening = False
            await pubsub.aclose()

    async def _have_events_sent(self) -> bool:
        """Enable keyspace notifications, in addition to those that are enabled already. Managed servers may refuse.

        Whether that was necessary.
        """
        try:
            settings = await self._redis.config_get("notify-keyspace-events")
            now = next((str(_text(value)) for value in settings.values()), "")
            wanted = set(now) | set(_FLAGS) if "A" not in now else {*now, "K"}
            is_necessary = not wanted <= set(now)
            if is_necessary:
                await self._redis.config_set("notify-keyspace-events", "".join(sorted(wanted)))
            self._gets_events = True
        except _refusals() as error:
            if self._gets_events:
                self._gets_events = False
                extra = {"reason": reason(error), "redis": masked(self._url)}
                logger.info("Redis does not let keyspace notifications be turned on; it is asked instead", extra=extra)
            return False
        return is_necessary

    def _heed(self, message: dict[str, Any]) -> None:
        data = message["data"] if isinstance(message["data"], bytes) else b""
        if message["type"] == "message":
            key, deleted = data[1:].decode(errors="replace"), data[:1] == b"-"
        elif data in _EXPIRY_EVENTS:
            return
        else:
            key, deleted = message["channel"].partition(b":")[2].decode(errors="replace"), data in _DELETING
        parts = parts_of(key)
        if parts is not None and self._registry.wanted(parts[0]) == "redis":
            self.look_at(key, deleted=deleted)


def _refusals() -> tuple[type[Exception], ...]:
    """What a reachable server raises when it refuses a command."""
    from redis.exceptions import ResponseError

    return (ResponseError,)


def _is_slow(error: BaseException) -> bool:
    from redis.exceptions import TimeoutError as RedisTimeout

    return isinstance(error, (TimeoutError, RedisTimeout))


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
