"""What becomes of a canary: how much of a route's traffic its new side gets, decided by counts, commands and time.

Nothing here waits, counts or stores: a `Decision` goes in with what happened since, and another one comes out.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Mapping
from typing import Final, Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from portico.config import Config
from portico.config.canary import AbortConditions, CanarySettings
from portico.config.split import SplitChoice
from portico.processes.control.canary_counts import Sides

GATEWAY: Final = "gateway"
"""Who decides where nobody asked for it."""
_LONGEST: Final = 5.0
"""Seconds that may pass between two looks: time for which nobody looked makes no step."""
_REMEMBERED: Final = 100
"""Entries of a history that are kept: the first one and the last ones."""

Identity: TypeAlias = tuple[str, str, tuple[float, ...]]
"""What makes a canary of a route this one: either service, and the steps."""
Phase: TypeAlias = Literal["running", "paused", "aborted", "promoted"]
Action: TypeAlias = Literal["abort", "retry", "promote", "pause", "resume"]


class Entry(msgspec.Struct, frozen=True):
    """What happened at `at`, in seconds since 1970: `who` did `what`, and `share` per cent was what came of it."""

    at: float
    who: str
    what: str
    step: int
    share: float
    why: str = ""


class Decision(msgspec.Struct, frozen=True):
    """Where a canary is.

    `step` is the index in `steps`, `elapsed` the seconds for which this step was watched, paused ones not counted.
    Requests are counted per `epoch`, which changes with the share; every change but that of `elapsed` has a `version`
    of its own. Both count within one `run`: a canary that begins anew is another one, and says nothing of the last.
    `old_p99` is that of the old side in the step before, in seconds, for when hardly anybody asks it any more.
    """

    service: str
    to: str
    steps: tuple[float, ...]
    phase: Phase = "running"
    step: int = 0
    elapsed: float = 0.0
    run: str = ""
    epoch: int = 1
    version: int = 1
    old_p99: float | None = None
    history: tuple[Entry, ...] = ()

    @property
    def share(self) -> float:
        """The per cent of the traffic that the new side gets."""
        match self.phase:
            case "aborted":
                return 0.0
            case "promoted":
                return 100.0
            case _:
                return self.steps[self.step]

    @property
    def weights(self) -> dict[str, float]:
        """The per cent of either side, by service."""
        return {self.service: 100.0 - self.share, self.to: self.share}

    @property
    def part(self) -> tuple[str, int]:
        """What requests are counted for: this share, in this run."""
        return self.run, self.epoch

    @property
    def is_watched(self) -> bool:
        """Whether what its requests come to may change it."""
        return self.phase in ("running", "paused")

    @property
    def sides(self) -> tuple[str, str]:
        """The old side and the new one."""
        return self.service, self.to

    @property
    def of(self) -> Identity:
        """Which canary it is about: another service, another target or other steps make another one."""
        return self.service, self.to, self.steps


def canary_splits(config: Config) -> dict[str, SplitChoice]:
    """The splits that are canaries, by the names of their routes."""
    splits = {route.name: route.split for route in config.all_routes if route.split is not None}
    return {name: split for name, split in splits.items() if split.canary is not None}


def canary_of(split: SplitChoice) -> Identity:
    """Which canary a split is."""
    service, to = (side.label for side in split.sides)
    return service, to, split.canary.steps if split.canary is not None else ()


def begun(of: Identity, now: float, why: str = "") -> Decision:
    """A new canary, at its first step; `now` is in seconds since 1970."""
    decision = Decision(*of, run=secrets.token_hex(8))
    return replace(decision, history=(Entry(now, GATEWAY, "began", 1, decision.share, why),))


def watched(
    decision: Decision,
    settings: CanarySettings,
    counted: Sides,
    recent: Sides,
    seconds: float,
    now: float,
    *,
    may_step: bool = True,
) -> Decision:
    """What becomes of it after `seconds` more.

    `counted` are the requests of this step, `recent` those of them that came in the last while. Where it is not
    `may_step`, it may only be aborted.
    """
    if not decision.is_watched:
        return decision
    if why := complaint(decision, settings, counted, recent):
        return _changed(decision, now, GATEWAY, "aborted", why, phase="aborted")
    if decision.phase == "paused" or not may_step:
        return decision
    decision = replace(decision, elapsed=decision.elapsed + min(max(seconds, 0.0), _LONGEST))
    if waits_for(decision, settings, counted):
        return decision
    if decision.share >= 100:
        return _changed(decision, now, GATEWAY, "promoted", "all steps are done", phase="promoted")
    why, old_p99 = _impression(counted, decision), _old_p99(decision, counted, settings.min_requests)
    return _changed(decision, now, GATEWAY, "stepped up", why, step=decision.step + 1, old_p99=old_p99)


def waits_for(decision: Decision, settings: CanarySettings, counted: Sides) -> str:
    """Why it does not go on now, in words; empty where it does."""
    if decision.phase != "running":
        return {"paused": "resume", "aborted": "retry", "promoted": "the file"}[decision.phase]
    left = settings.every - decision.elapsed
    if left > 0:
        return f"{left:.0f} s of this step" if left >= 1 else "the rest of a second of this step"
    if counted.new.requests and counted.new.errors == counted.new.requests:
        return "a request that does not fail"
    missing = settings.min_requests - counted.new.requests
    if missing > 0 and settings.if_fewer == "wait":
        return f"{missing} more requests"
    return "promote" if decision.share < 100 and decision.step == len(decision.steps) - 1 else ""


# ---- what counts say


def complaint(decision: Decision, settings: CanarySettings, counted: Sides, recent: Sides) -> str:
    """What is wrong with the new side, in words; empty where nothing is.

    The last while is judged by itself where it has requests enough: what was good before does not outweigh it.
    """
    limits, enough = settings.abort_if, settings.min_requests
    judged = recent if recent.new.requests >= enough else counted
    return _too_many_errors(decision, limits, judged, enough) or _too_slow(decision, limits, judged, enough)


def _too_many_errors(decision: Decision, limits: AbortConditions, judged: Sides, enough: int) -> str:
    """Errors are too many as soon as requests that are still missing could not make up for them."""
    if limits.errors is None or not judged.new.errors:
        return ""
    old, new = judged.old, judged.new
    limit = _limit_beside(limits.errors, old.errors / old.requests if old.requests >= max(enough, 1) else 0.0)
    if new.errors <= limit * max(new.requests, enough):
        return ""
    said = f"{_percent(new.errors / new.requests)} of {new.requests} requests failed at {decision.to}"
    return f"errors: {said}, {_percent(old.errors / max(old.requests, 1))} of {old.requests} at {decision.service}"


def _too_slow(decision: Decision, limits: AbortConditions, judged: Sides, enough: int) -> str:
    """More than one of a hundred takes longer than the limit, and more than chance may make of one of a hundred."""
    new, old = judged.new, judged.old
    if limits.p99 is None or new.measured < max(enough, 1):
        return ""
    beside = _old_p99(decision, judged, enough)
    if not limits.p99.is_factor:
        limit = _limit_beside(limits.p99.value, beside or 0.0)
    elif beside is not None:
        limit = limits.p99.value * beside
    else:  # nothing to compare with
        return ""
    if new.slower_than(limit) <= _by_chance(new.measured / 100):
        return ""
    said = f"p99: {_time(new.quantile(0.99))} of {new.measured} requests at {decision.to}"
    if beside is None:
        return said
    of = f"of {old.measured}" if old.measured >= max(enough, 1) else "in the step before"
    return f"{said}, {_time(beside)} {of} at {decision.service}"


def _old_p99(decision: Decision, judged: Sides, enough: int) -> float | None:
    """What the old side takes now or, where too few ask it, what it took in the step before."""
    return judged.old.quantile(0.99) if judged.old.measured >= max(enough, 1) else decision.old_p99


def _by_chance(expected: float) -> float:
    """How many there may well be of what is expected so often: a single one, or twice the standard deviation, more."""
    return expected + 1 + 2 * math.sqrt(expected)


def _limit_beside(limit: float, old: float) -> float:
    """While the old side is over a limit itself, the new one has to be worse than that by as much again."""
    return limit + old if old > limit else limit


def _impression(counted: Sides, decision: Decision) -> str:
    if not counted.new.requests:
        return f"no requests at {decision.to}"
    failed = _percent(counted.new.errors / counted.new.requests)
    return f"{counted.new.requests} requests at {decision.to}, {failed} failed"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _time(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


# ---- commands


class RefusedError(Exception):
    """A command that means nothing in this phase; the message says what does."""


def commanded(decision: Decision, action: Action, who: str, why: str, now: float) -> Decision:
    """What becomes of it when somebody asks for this; the same where it is so already. Raises RefusedError."""
    return _COMMANDS[action](decision, who, why, now)


def _abort(decision: Decision, who: str, why: str, now: float) -> Decision:
    if decision.phase == "aborted":
        return decision
    return _changed(decision, now, who, "aborted", why, phase="aborted")


def _retry(decision: Decision, who: str, why: str, now: float) -> Decision:
    if decision.phase != "aborted":
        raise RefusedError(f"it is {decision.phase}, not aborted: abort it first to begin again")
    return _changed(decision, now, who, "retried", why, phase="running", step=0)


def _promote(decision: Decision, who: str, why: str, now: float) -> Decision:
    if decision.phase == "promoted":
        return decision
    if decision.phase == "aborted":
        raise RefusedError("it is aborted: retry begins at the first step, and promote is possible from there")
    return _changed(decision, now, who, "promoted", why, phase="promoted")


def _pause(decision: Decision, who: str, why: str, now: float) -> Decision:
    if decision.phase == "paused":
        return decision
    if decision.phase != "running":
        raise RefusedError(f"it is {decision.phase}: there is nothing to pause")
    return _noted(replace(decision, phase="paused"), now, who, "paused", why)


def _resume(decision: Decision, who: str, why: str, now: float) -> Decision:
    if decision.phase == "running":
        return decision
    if decision.phase != "paused":
        raise RefusedError(f"it is {decision.phase}, not paused" + ("; see retry" * (decision.phase == "aborted")))
    return _noted(replace(decision, phase="running"), now, who, "resumed", why)


_COMMANDS: Final[Mapping[Action, Callable[[Decision, str, str, float], Decision]]] = {
    "abort": _abort,
    "retry": _retry,
    "promote": _promote,
    "pause": _pause,
    "resume": _resume,
}
ACTIONS: Final = tuple(_COMMANDS)


def _changed(
    decision: Decision,
    now: float,
    who: str,
    what: str,
    why: str,
    *,
    phase: Phase | None = None,
    step: int | None = None,
    old_p99: float | None = None,
) -> Decision:
    """With another share: time and counts begin anew."""
    moved = replace(
        decision,
        phase=phase or decision.phase,
        step=decision.step if step is None else step,
        elapsed=0.0,
        epoch=decision.epoch + 1,
        old_p99=old_p99,
    )
    return _noted(moved, now, who, what, why)


def _noted(decision: Decision, now: float, who: str, what: str, why: str) -> Decision:
    entry = Entry(now, who, what, decision.step + 1, decision.share, why)
    history = (*decision.history, entry)
    if len(history) > _REMEMBERED:
        history = (history[0], *history[2:])
    return replace(decision, version=decision.version + 1, history=history)
