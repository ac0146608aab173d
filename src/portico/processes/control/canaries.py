"""All canaries of a gateway: watched every second, steered over the admin API, and what becomes of them spread."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

from portico.config import Config
from portico.config.canary import CanarySettings
from portico.config.split import SplitChoice
from portico.net.redis.connection import reason
from portico.processes.control.canary import (
    Action,
    Decision,
    begun,
    canary_of,
    canary_splits,
    commanded,
    waits_for,
    watched,
)
from portico.processes.control.canary_counts import Recent, Sides, Tally, Totals
from portico.processes.control.canary_records import CanaryRecords, Record, records_file
from portico.processes.control.canary_redis import Shared, SharedCanaries, problems
from portico.processes.control.workers import Workers
from portico.processes.ipc.runtime import Runtime

logger: Final = logging.getLogger("portico.canary")

_INTERVAL: Final = 1.0
"""Seconds between two looks: a service that turns bad loses its traffic within one or two of them."""
_ATTEMPTS: Final = 5
"""How often a command is tried again whose decision somebody else has just replaced."""


Weights: TypeAlias = dict[str, dict[str, float]]
"""Per cent by service, by route."""
Spread: TypeAlias = Callable[[Weights], None]


class UnavailableError(Exception):
    """What all gateways have to agree on cannot be changed now; the message says why."""


@dataclass
class Canary:
    """One canary, as this gateway sees it."""

    route: str
    settings: CanarySettings
    decision: Decision
    counted: Sides = field(default_factory=Sides)
    """What this gateway has counted in this epoch."""
    of_all: Sides = field(default_factory=Sides)
    """What all gateways have."""
    tally: Tally = field(default_factory=Tally)
    recent: Recent = field(default_factory=Recent)
    is_unsent: bool = False
    """Whether it was aborted here while Redis was away."""
    is_new: bool = False
    """Whether it begins here, unless other gateways have begun it before."""

    @property
    def record(self) -> Record:
        """What is kept of it."""
        return Record(self.decision, self.counted, self.is_unsent)

    @property
    def waits_for(self) -> str:
        """What has to come before it goes on."""
        return waits_for(self.decision, self.settings, self.of_all)

    def adopt(self, decision: Decision) -> None:
        """Go on from there; what was counted belongs to its epoch."""
        if decision.part != self.decision.part:
            self.counted, self.of_all, self.recent = Sides(), Sides(), Recent()
        self.decision = decision


class Canaries:
    """The canaries of the configuration in use. Nothing that Redis or the disk does stops the watch."""

    def __init__(self, workers: Workers, runtime: Runtime, config_path: Path | None) -> None:
        self._workers = workers
        self._runtime = runtime
        self._config_path = config_path
        self._turn = asyncio.Lock()
        self._canaries: dict[str, Canary] = {}
        self._file: Path | None = None
        self._records: CanaryRecords | None = None
        self._stored: dict[str, Record] = {}
        self._stored_weights: Weights | None = None
        self._url: str | None = None
        self._redis: SharedCanaries | None = None
        self._looked = time.monotonic()
        self.changes: Counter[tuple[str, str]] = Counter()
        """How often what has happened, by route and what."""
        self.up: bool | None = None
        """Whether Redis answers; None where there is none, or before the first question."""

    def __iter__(self) -> Iterator[Canary]:
        return iter(self._canaries.values())

    def __len__(self) -> int:
        return len(self._canaries)

    def get(self, route: str) -> Canary | None:
        """The canary of a route."""
        return self._canaries.get(route)

    # ---- which there are

    async def follow(self, config: Config) -> None:
        """The canaries of this configuration: those that were there keep their steps, others are forgotten."""
        async with self._turn:
            wanted = canary_splits(config)
            known = self._known(config, is_needed=bool(wanted))
            before, self._canaries = self._canaries, {}
            for name, split in wanted.items():
                self._canaries[name] = self._following(name, split, before.get(name), known.get(name))
            await self._open_redis(config, is_needed=bool(known or wanted))
            await self._forget(known)
            self._looked = time.monotonic()
            self._count(self._workers.reported())
            await self._decide(0.0, self._workers.keep_weights)
            if not wanted:
                await self._close()

    def _known(self, config: Config, *, is_needed: bool) -> dict[str, Record]:
        """What is known of canaries: of those that are watched, else what the file has, if there is one."""
        known = {canary.route: canary.record for canary in self}
        file = records_file(config, self._config_path)
        if self._records is not None and file == self._file:
            return known
        if self._records is not None:
            self._records.close()
            self._records = None
        if not is_needed and (file is None or not os.access(file, os.F_OK)):  # a home may not be this user's
            return known
        self._file, self._records = file, CanaryRecords(file, self._runtime.directory / "canaries.json")
        self._stored = self._records.load()
        return {**self._stored, **known}

    def _following(self, name: str, split: SplitChoice, before: Canary | None, record: Record | None) -> Canary:
        """The canary of a route: the one that is there, one that was stored, or one that begins."""
        settings = split.canary
        assert settings is not None
        of = canary_of(split)
        if before is not None and before.decision.of == of:
            before.settings = settings
            return before
        if record is not None and record.decision.of == of:
            _say_where(name, record.decision)
            return Canary(name, settings, record.decision, record.counted, is_unsent=record.is_unsent)
        return Canary(name, settings, begun(of, time.time(), _in_place_of(record)), is_new=True)

    async def _open_redis(self, config: Config, *, is_needed: bool) -> None:
        """Connect to the Redis of this configuration; not to an embedded one, which ends with its gateway."""
        secret = config.gateway.redis_url
        url = secret.get_secret_value() if secret is not None and is_needed else None
        url = None if url == self._runtime.redis_url else url
        if url != self._url:
            if self._redis is not None:
                await self._redis.close()
            self._url, self.up = url, None
            self._redis = SharedCanaries(url) if url is not None else None
            if self._redis is not None:
                for canary in self:  # Redis has counted it already, for the process that was here before
                    canary.counted = Sides()

    async def _forget(self, known: Mapping[str, Record]) -> None:
        """Those that are not in the file any more, or not as they were. Without Redis they expire there."""
        gone: dict[str, Decision] = {}
        for route, record in known.items():
            now = self._canaries.get(route)
            if now is None:
                logger.info("the canary is not in the file any more: it is forgotten", extra={"route": route})
            if now is None or now.decision.of != record.decision.of:
                gone[route] = record.decision
        if self._redis is not None:
            with suppress(*problems()):
                for route, decision in gone.items():
                    await self._redis.forget(route, decision)

    async def close(self) -> None:
        """Stop sharing, and let another process have the file."""
        async with self._turn:
            await self._close()

    async def _close(self) -> None:
        if self._redis is not None:
            await self._redis.close()
        if self._records is not None:
            self._records.close()
        self._url = self._redis = self._records = None

    # ---- what becomes of them

    async def keep_watching(self) -> None:
        """Look at all of them every second, for ever."""
        while True:
            await asyncio.sleep(_INTERVAL)
            try:
                async with self._turn:
                    now = time.monotonic()
                    seconds, self._looked = now - self._looked, now
                    if self._canaries:
                        await self._look(seconds)
            except Exception:
                logger.exception("canaries could not be watched")

    async def _look(self, seconds: float) -> None:
        is_needed = any(canary.decision.is_watched for canary in self)
        self._count(await self._workers.running() if is_needed else self._workers.reported())
        await self._decide(seconds, self._workers.set_weights)

    def _count(self, totals: Totals) -> None:
        for canary in self if totals else ():
            canary.counted += canary.tally.new(totals, canary.route, *canary.decision.sides)

    async def _decide(self, seconds: float, spread: Spread) -> None:
        """Agree with other gateways, decide what is this one's to decide, and have the workers follow."""
        for canary in self:
            leads = await self._agree(canary)
            if canary.is_new:
                self._report(canary)
            new = watched(
                canary.decision,
                canary.settings,
                canary.of_all,
                canary.recent.of(canary.of_all, time.monotonic()),
                seconds,
                time.time(),
                may_step=leads,
            )
            if new is not canary.decision:
                await self._replace(canary, new)
        self._spread(spread)

    async def _agree(self, canary: Canary) -> bool:
        """Take over what all gateways have decided and counted; whether this one decides now."""
        canary.of_all = canary.counted
        shared = await self._exchange(canary)
        if shared is None:
            return self._redis is None
        before = canary.decision
        if canary.is_unsent and shared.decision.run == before.run and shared.decision.phase != "aborted":
            await self._send_abort(canary, shared.decision)
            return False
        canary.is_unsent = False
        canary.adopt(shared.decision)
        if shared.decision.part == before.part:
            canary.of_all = shared.counted
        if shared.decision.history[-1] != before.history[-1] and not canary.is_new:
            self._report(canary)
        return shared.leads

    async def _send_abort(self, canary: Canary, shared: Decision) -> None:
        """What was aborted here while Redis was away is aborted everywhere, even if others have gone on."""
        aborted = commanded(shared, "abort", *_last_said(canary.decision), time.time())
        try:
            if self._redis is not None and await self._redis.replace(canary.route, shared, aborted):
                canary.adopt(aborted)
                canary.is_unsent = False
        except problems() as error:
            self._set_up(False, reason(error))

    async def _exchange(self, canary: Canary) -> Shared | None:
        """None where there is no Redis, or it is away."""
        if self._redis is None or (self.up is False and self._asked_already(canary)):
            return None
        try:
            shared = await self._redis.exchange(canary.route, canary.record)
        except problems() as error:
            self._set_up(False, reason(error))
            return None
        self._set_up(True)
        return shared

    def _asked_already(self, canary: Canary) -> bool:
        """Only the first canary waits for a Redis that is away."""
        return canary is not next(iter(self))

    def _set_up(self, up: bool, why: str = "") -> None:
        if up is not self.up and not (up and self.up is None):
            if up:
                logger.info("Redis answers: canaries are decided for all gateways again")
            else:
                said = "Redis does not answer: no canary steps up, and each gateway aborts by itself"
                logger.warning(said, extra={"reason": why})
        self.up = up

    async def _replace(self, canary: Canary, new: Decision) -> None:
        """Make a decision, which counts for all gateways where they can be asked."""
        before = canary.decision
        if self._redis is not None and self.up:
            try:
                if not await self._redis.replace(canary.route, before, new):
                    return  # somebody else has decided; the next look takes it over
            except problems() as error:
                self._set_up(False, reason(error))
        if canary.decision is not before:
            return  # it was aborted here meanwhile; the next look has all others know
        if self._redis is not None and not self.up:
            if new.phase != "aborted":
                return
            canary.is_unsent = True
        canary.adopt(new)
        if new.version != before.version:
            self._report(canary)

    def _spread(self, spread: Spread) -> None:
        """Workers get the weights, processes that start later find them, and the file has it all."""
        weights = {canary.route: canary.decision.weights for canary in self}
        spread(weights)
        if weights != self._stored_weights:
            self._runtime.store_weights(weights)
            self._stored_weights = weights
        records = {canary.route: canary.record for canary in self}
        if self._records is not None and records != self._stored:
            versions = {route: each.decision.version for route, each in self._stored.items()}
            changed = versions != {route: each.decision.version for route, each in records.items()}
            self._records.store(records, safely=changed)
            self._stored = records

    def _report(self, canary: Canary) -> None:
        """Log and count what has happened last."""
        canary.is_new = False
        decision, entry = canary.decision, canary.decision.history[-1]
        self.changes[canary.route, entry.what] += 1
        extra = _whereabouts(canary.route, decision) | {"who": entry.who}
        if entry.why:
            extra["why"] = entry.why
        level = logging.WARNING if entry.what == "aborted" else logging.INFO
        logger.log(level, "the canary has %s", _EVENTS[entry.what], extra=extra)
        if entry.what == "promoted":
            logger.info(advice(decision), extra={"route": canary.route})

    # ---- commands

    async def command(self, route: str, action: Action, who: str, why: str) -> Canary:
        """Do as somebody asks. Raises KeyError, RefusedError or UnavailableError."""
        if action == "abort":
            self._abort(self._canaries[route], who, why)
            if self._redis is not None and not self.up:
                return self._canaries[route]
        async with self._turn:
            self._count(await self._workers.running())  # what came before is not of the step that may begin
            for _ in range(_ATTEMPTS):
                canary = self._canaries[route]
                await self._agree(canary)
                if self._redis is not None and not self.up and action != "abort":
                    raise UnavailableError("Redis does not answer, and all gateways have to agree: only abort works")
                new = commanded(canary.decision, action, who, why, time.time())
                if new is not canary.decision:
                    await self._replace(canary, new)
                if canary.decision is new:
                    self._spread(self._workers.set_weights)
                    return canary
            raise UnavailableError("other decisions came between: try again")

    def _abort(self, canary: Canary, who: str, why: str) -> None:
        """It holds here at once, whatever is being waited for; others are told with the next exchange."""
        new = commanded(canary.decision, "abort", who, why, time.time())
        if new is not canary.decision:
            canary.is_unsent = self._redis is not None
            canary.adopt(new)
            self._report(canary)
            self._spread(self._workers.set_weights)


_EVENTS: Final[Mapping[str, str]] = {
    "began": "begun",
    "stepped up": "stepped up",
    "aborted": "been aborted: all requests go to the old service",
    "retried": "begun again",
    "promoted": "been promoted: all requests go to the new service",
    "paused": "been paused",
    "resumed": "been resumed",
}


def _whereabouts(route: str, decision: Decision) -> dict[str, Any]:
    entry = decision.history[-1]
    return {"route": route, "to": decision.to, "step": entry.step, "share": f"{entry.share:g} %"}


def _say_where(route: str, decision: Decision) -> None:
    """For who restarts a gateway, and would not look for a share of 0 or 100 % in a file that says otherwise."""
    extra = _whereabouts(route, decision) | {"phase": decision.phase}
    logger.info("the canary goes on where it was", extra=extra)
    if said := advice(decision):
        logger.info(said, extra={"route": route})


def advice(decision: Decision) -> str:
    """What to write in the file now; empty where it is right as it is."""
    if decision.phase == "promoted":
        return f"write {_written(decision.to)} in the route, in place of {_written(decision.service)} and canary"
    if decision.phase == "aborted":
        return "take canary out of the route, or try again with portico canary retry"
    return ""


def _written(side: str) -> str:
    """As a route names it."""
    service, _, version = side.partition("@")
    return f"service: {service}, version: {version}" if version else f"service: {service}"


def _in_place_of(record: Record | None) -> str:
    if record is None:
        return ""
    before = record.decision
    return f"in place of {before.service} to {before.to}, which was {before.phase} at {before.share:g} %"


def _last_said(decision: Decision) -> tuple[str, str]:
    entry = decision.history[-1]
    return entry.who, entry.why
