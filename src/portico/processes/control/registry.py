"""The registry as this gateway knows it: which instances there are, and until when each is valid.

Instances expire by their time to live. They are not removed because Redis is down: what it lost by being unreachable,
stopped or started empty is kept, and only dropped once other instances of the service have come back, or its health
checks fail.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from portico.client.registry_keys import parts_of
from portico.config import Config, refusal
from portico.core.found import Found
from portico.processes.control.registration import Entry, entry_of, read_value
from portico.processes.ipc.runtime import Runtime

logger: Final = logging.getLogger("portico.registry")

_GATHER: Final = 0.05
"""Seconds for which changes are gathered before they are reported."""
_STORE_PAUSE: Final = 20
"""How many times as long as it took to store what is registered it is not stored again: 5 % of the time at most."""
_MOST_INSTANCES: Final = 10_000
"""Of all services together."""
_TOO_MANY: Final = f"there are {_MOST_INSTANCES} instances already"
_GRACE_LEAST: Final = 30.0
_GRACE_MOST: Final = 600.0
"""Seconds for which what Redis has lost is kept in any case; between them, twice the time to live."""
_RESTART: Final = 5.0
"""Seconds that this process may need until it takes heartbeats: it loads what answers when the first one comes."""
_LATE: Final = 0.05
"""Seconds by which a clock may be off."""
_REMEMBERED: Final = 1000


class UnknownServiceError(Exception):
    """No configuration discovers instances of this service."""


@dataclass(frozen=True, slots=True)
class Listeners:
    """Callbacks for changes of one service's instances, and of the services to admit; `is_down` is a query.

    `discovered` is called with what is registered now at those URLs of the service where that has changed.
    """

    discovered: Callable[[str, dict[str, list[Found]]], None]
    admitted: Callable[[], None]
    is_down: Callable[[str, str], bool]


class Registry:
    """Takes what is read from Redis, and what the admin API receives.

    Redis has one life after another: a new one begins when it was unreachable, or has started again. What it had in
    the last one and does not have in this one was not removed by a client: it was lost.
    """

    def __init__(self, config: Config, runtime: Runtime, listeners: Listeners) -> None:
        self.config = config
        self.entries: dict[str, Entry] = {}
        self.up = True
        """Whether Redis is reachable."""
        self._runtime = runtime
        self._listeners = listeners
        self._life = 1
        self._at: dict[tuple[str, str], dict[str, Entry]] = {}
        """What is registered by service and URL, there by key."""
        self._reported: dict[tuple[str, str], list[Found]] = {}
        """What was last reported by service and URL."""
        self._changed: dict[str, dict[str, None]] = {}
        """The URLs at which something may have changed, by service."""
        self._flush: asyncio.TimerHandle | None = None
        self._storing: asyncio.TimerHandle | None = None
        self._store_from = 0.0
        """From when on it may be stored again."""
        self._timed: set[str] = set()
        """The keys of instances that end by the clock of this process: those that are kept here, and lost ones."""
        self._complaints: dict[str, str] = {}
        self._said: dict[str, int] = {}
        """Hashes of what keys in Redis said when they were last read, of the instances that are known from there."""
        self._last_seen = dict.fromkeys(config.admitted, time.monotonic())
        """When a service that is not in the configuration last had an instance."""
        self._restore()

    # ---- queries

    def wanted(self, name: str) -> str | None:
        """The source that instances of a service may come from; None where none are discovered."""
        settings = self.config.discovery(name)
        return settings.directory if settings is not None else None

    def found(self) -> dict[str, list[Found]]:
        """The instances by service, as they are sent to workers."""
        found: dict[str, list[Found]] = {}
        for key in sorted(self.entries, key=_specific_first):
            entry = self.entries[key]
            found.setdefault(entry.service, []).append(_found(entry))
        return found

    def admitted(self, config: Config | None = None) -> list[str]:
        """The services to admit that are not in the configuration: the first that came, up to the limit."""
        config = config or self.config
        if config.discover is None:
            return []
        written = config.services.keys() - set(config.admitted)
        names = [name for name in self._last_seen if name not in written and config.discovery(name) is not None]
        return names[: config.discover.max_services]

    # ---- changes

    def follow(self, config: Config) -> None:
        """Use another configuration: what it does not discover, or accept, is dropped."""
        self.config = config
        for key, entry in list(self.entries.items()):
            if self.wanted(entry.service) != entry.source or self._objection(entry) is not None:
                self._drop(key, "not wanted any more")
        self._see_services()

    def read(self, key: str, value: bytes, seconds: float) -> None:
        """Redis has this key, for so many `seconds` more (infinite: for ever)."""
        parts = parts_of(key)
        if parts is None or self.wanted(parts[0]) != "redis":
            return
        try:
            entry = entry_of(*parts, "redis", read_value(value))
            if (objection := self._objection(entry)) is not None:
                raise ValueError(objection)
        except ValueError as error:
            self._complain(key, str(error))
            if key in self.entries:
                self._drop(key, "what it says now cannot be used")
            return
        self._complaints.pop(key, None)
        now, known = time.monotonic(), self.entries.get(key)
        entry.expires_at, entry.seen = (now + seconds if math.isfinite(seconds) else 0.0), self._life
        entry.ttl = max(seconds, known.ttl if known else 0.0) if math.isfinite(seconds) else 0.0
        self._put(entry)
        if self.entries.get(key) is entry:
            self._said[key] = hash(value)

    def still_says(self, key: str, value: bytes, seconds: float) -> bool:
        """Whether Redis has what it had: then the instance is known for so many `seconds` more."""
        entry = self.entries.get(key)
        if entry is None or entry.source != "redis" or self._said.get(key) != hash(value) or not math.isfinite(seconds):
            return False
        entry.expires_at, entry.seen, entry.kept_until = time.monotonic() + seconds, self._life, 0.0
        entry.ttl = max(seconds, entry.ttl)
        return True

    def due(self) -> list[str]:
        """The keys in Redis of instances that should have expired, unless they have been heard of."""
        now = time.monotonic()
        return [key for key, entry in self.entries.items() if 0 < entry.expires_at <= now and entry.source == "redis"]

    def missing(self, key: str, *, deleted: bool, others_there: bool = False) -> None:
        """Redis does not have this key; it is `deleted` where that was reported.

        Where other registrations exist, it must have been. Where none does, Redis may have been emptied as a whole.
        """
        entry, now = self.entries.get(key), time.monotonic()
        if entry is None or entry.source != "redis":
            return
        if deleted:
            self._drop(key, "deregistered")
        elif entry.seen < self._life:
            if not entry.kept_until:
                self._timed.add(key)
                entry.kept_until = now + min(max(2 * entry.ttl, _GRACE_LEAST), _GRACE_MOST)
                extra = {"service": entry.service, "instance": entry.url}
                logger.warning("Redis has lost an instance; it is kept", extra=extra)
        elif entry.seconds_left(now) <= _LATE or not entry.expires_at:
            self._drop(key, "expired")
        elif others_there:
            self._drop(key, "deregistered")

    def new_life(self) -> None:
        """Redis is unreachable, or has started again: what it does not have from here on, it has lost."""
        self._life += 1

    def set_up(self, up: bool, reason: str = "") -> None:
        """Record whether Redis is reachable."""
        if up == self.up:
            return
        self.up = up
        if up:
            logger.info("the registry in Redis is in reach again")
        else:
            self.new_life()
            extra = {"reason": reason, "instances": sum(entry.source == "redis" for entry in self.entries.values())}
            logger.warning("the registry in Redis is out of reach; the instances that were known go on", extra=extra)

    def register(self, entry: Entry) -> None:
        """Keep an instance here; it passed `check`."""
        entry.expires_at = time.monotonic() + entry.ttl
        self._put(entry)

    def replace(self, service: str, entries: Sequence[Entry]) -> None:
        """Another directory than Redis has these instances of a service, and no others. Of one key the first counts."""
        fresh: dict[str, Entry] = {}
        for entry in entries:
            if self.wanted(service) != entry.source:
                continue
            if (objection := self._objection(entry)) is not None:
                self._complain(entry.key, objection)
                continue
            self._complaints.pop(entry.key, None)
            fresh.setdefault(entry.key, entry)
        for key in [key for key, known in self.entries.items() if known.service == service and key not in fresh]:
            self._drop(key, f"gone from {self.entries[key].source}")
        for entry in fresh.values():
            self._put(entry)

    def check(self, entry: Entry) -> None:
        """Raises UnknownServiceError or ValueError where an instance would not be accepted."""
        if self.wanted(entry.service) != entry.source:
            raise UnknownServiceError(entry.service)
        if (objection := self._objection(entry)) is not None:
            raise ValueError(f"url: {objection}")
        if self._is_one_too_many(entry):
            raise ValueError(_TOO_MANY)

    def heartbeat(self, key: str) -> bool:
        """Extend an instance that is kept here; False where there is none."""
        entry = self.entries.get(key)
        if entry is None or entry.source != "admin":
            return False
        entry.expires_at = time.monotonic() + entry.ttl
        return True

    def deregister(self, key: str) -> None:
        """Remove an instance that is kept here."""
        if key in self.entries:
            self._drop(key, "deregistered")

    def tick(self) -> None:
        """Apply the time that has passed: instances that are kept here expire, and lost ones reach their timeout."""
        now = time.monotonic()
        for key in list(self._timed):
            entry = self.entries.get(key)
            if entry is None or not (entry.source == "admin" or entry.kept_until):
                self._timed.discard(key)
            elif entry.source == "admin" and entry.seconds_left(now) <= 0:
                self._drop(key, "expired")
            elif entry.kept_until and self.up and now >= entry.kept_until and self._is_given_up(entry):
                self._drop(key, "lost by Redis, and not registered again")
        if self.config.discover is not None:
            forget = now - self.config.discover.forget_after
            old = [name for name, seen in self._last_seen.items() if seen < forget]
            if old:
                names = {entry.service for entry in self.entries.values()}
                old = [name for name in old if name not in names]
            for name in old:
                del self._last_seen[name]
            if old:
                self._schedule()

    def close(self) -> None:
        """Report nothing any more."""
        if self._flush is not None:
            self._flush.cancel()
        if self._storing is not None:
            self._storing.cancel()
            self._store_now()

    # ---- internals

    def _objection(self, entry: Entry) -> str | None:
        """Why an instance is not accepted."""
        settings = self.config.discovery(entry.service)
        if settings is None:
            return "nobody looks for this service"
        versions = self.config.services[entry.service].versions if entry.service in self.config.services else {}
        if versions and entry.version is not None and entry.version not in versions:
            return f"its version {entry.version} is none of {', '.join(versions)}"
        return refusal(entry.url, settings.allow)

    def _is_given_up(self, entry: Entry) -> bool:
        """Whether a lost instance is to be removed: others of its service have come back, or its checks fail."""
        others = (other for other in self.entries.values() if other.service == entry.service)
        return any(other.seen == self._life for other in others) or self._listeners.is_down(entry.service, entry.url)

    def _is_one_too_many(self, entry: Entry) -> bool:
        return entry.key not in self.entries and len(self.entries) >= _MOST_INSTANCES

    def _put(self, entry: Entry) -> None:
        key, known = entry.key, self.entries.get(entry.key)
        if self._is_one_too_many(entry):
            self._complain("service:*", _TOO_MANY)
            return
        self.entries[key] = entry
        if entry.source == "admin":
            self._timed.add(key)
        self._at.setdefault((entry.service, entry.url), {})[key] = entry
        if known is None or not known.describes(entry):
            if known is not None and known.url != entry.url:
                self._leave(key, known)
            extra = {"service": entry.service, "instance": entry.url, **_id(entry), "from": entry.source}
            logger.info("instance %s", "registered" if known is None else "changed", extra=extra)
            self._change(entry)

    def _drop(self, key: str, reason: str) -> None:
        entry = self.entries.pop(key)
        self._said.pop(key, None)
        extra = {"service": entry.service, "instance": entry.url, **_id(entry), "reason": reason}
        logger.info("instance gone", extra=extra)
        self._leave(key, entry)

    def _leave(self, key: str, entry: Entry) -> None:
        """A registration is no longer at its URL."""
        at = self._at[entry.service, entry.url]
        del at[key]
        if not at:
            del self._at[entry.service, entry.url]
        self._change(entry)

    def _change(self, entry: Entry) -> None:
        self._changed.setdefault(entry.service, {})[entry.url] = None
        self._schedule()

    def _complain(self, key: str, reason: str) -> None:
        """Log a problem once for each key, until the problem changes or is gone."""
        if self._complaints.get(key) == reason:
            return
        if len(self._complaints) >= _REMEMBERED:
            self._complaints.pop(next(iter(self._complaints)))
        self._complaints[key] = reason
        logger.warning("a registration is ignored", extra={"key": key[:300], "reason": reason})

    def _schedule(self) -> None:
        if self._flush is None:
            self._flush = asyncio.get_running_loop().call_later(_GATHER, self._report)

    def report_now(self) -> None:
        """Report the changes now, without gathering more."""
        if self._flush is not None:
            self._flush.cancel()
            self._report()

    def _report(self) -> None:
        self._flush = None
        changed, self._changed = self._changed, {}
        for name, urls in changed.items():
            news = {url: at for url in urls if (at := self._found_at(name, url)) != self._reported.get((name, url), [])}
            if not news:
                continue
            try:
                self._listeners.discovered(name, news)
            except Exception:  # a failure for one service must not affect the others
                logger.exception("instances could not be passed on", extra={"service": name})
                self._changed.setdefault(name, {}).update(urls)  # reported with the next change of any
                continue
            self._note_reported(name, news)
        self._store()
        self._see_services()

    def _store(self) -> None:
        """Keep what is registered for processes that start later: of thousands, not after every change."""
        if self._storing is not None:
            return
        pause = self._store_from - time.monotonic()
        if pause > 0:
            self._storing = asyncio.get_running_loop().call_later(pause, self._store_now)
        else:
            self._store_now()

    def _store_now(self) -> None:
        self._storing = None
        began = time.monotonic()
        try:
            self._runtime.store_registry(self.found(), list(self.entries.values()))
        except OSError:  # a full disk is no reason to keep services out
            logger.exception("registrations could not be kept for processes that start later")
        ended = time.monotonic()
        self._store_from = ended + _STORE_PAUSE * (ended - began)

    def _found_at(self, service: str, url: str) -> list[Found]:
        """What is registered at a URL, in the order in which it counts."""
        at = self._at.get((service, url), {})
        return [_found(at[key]) for key in sorted(at, key=_specific_first)]

    def _note_reported(self, service: str, news: Mapping[str, list[Found]]) -> None:
        for url, at in news.items():
            self._reported[service, url] = at
            if not at:
                del self._reported[service, url]

    def _see_services(self) -> None:
        """Admit services that have instances, and remove forgotten ones."""
        now = time.monotonic()
        for service in dict.fromkeys(entry.service for entry in self.entries.values()):
            if service not in self.config.services or service in self.config.admitted:
                self._last_seen[service] = now
        if self.admitted() != list(self.config.admitted):
            self._listeners.admitted()

    def _restore(self) -> None:
        """Load what was known when control last ran; what is kept here gets time for its next heartbeat."""
        now = time.monotonic()
        for entry in self._runtime.registry_entries(Entry):
            entry.seen = 0
            if entry.source == "admin":
                entry.expires_at = now + entry.ttl + _RESTART
            if self.wanted(entry.service) == entry.source and self._objection(entry) is None:
                self.entries[entry.key] = entry
                self._at.setdefault((entry.service, entry.url), {})[entry.key] = entry
                self._timed.add(entry.key)
        for name, found in self.found().items():
            news = {each.url: self._found_at(name, each.url) for each in found}
            self._note_reported(name, news)
            self._listeners.discovered(name, news)


def keys_to_read(registry: Registry, names: Collection[str], scanned: Mapping[str, None]) -> list[str]:
    """The keys that are known, those that the configuration names, and those that were found."""
    plain = (f"service:{name}" for name in names if registry.wanted(name) == "redis")
    known = (key for key, entry in registry.entries.items() if entry.source == "redis")
    return list(dict.fromkeys([*known, *plain, *scanned]))


def _specific_first(key: str) -> tuple[bool, str]:
    """What keys are sorted by: of those at one URL, the more specific counts."""
    return key.count(":") < 2, key


def _found(entry: Entry) -> Found:
    return Found(entry.url, entry.weight, entry.version, entry.backup)


def _id(entry: Entry) -> dict[str, str]:
    return {"id": entry.instance} if entry.instance is not None else {}
