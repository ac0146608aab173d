"""What health checks find, shared over Redis: of the gateways that check an instance one asks it in each interval.

A hash for each check, `portico:health:{BUCKET}:CHECK`, holds what was found last, when by the clock of Redis, and until
when somebody is asking. All keys of a bucket are in one slot of a Cluster, so that a script serves many checks at once.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import msgspec

from portico.config import HealthCheckSettings
from portico.core.tasks import background
from portico.net.redis.connection import connect, failures, reason
from portico.processes.control.check import Check
from portico.processes.control.prober import Finding

logger: Final = logging.getLogger("portico.health")

_TIMEOUT: Final = 1.0
_GATHERED: Final = 0.05
"""Seconds for which questions are gathered: each is one of many in a script."""
_AT_ONCE: Final = 200
"""Checks in one script: what it takes Redis, others wait for."""
_BUCKETS: Final = 4
_PAUSE: Final = 2.0
"""Seconds after a failure of Redis for which each gateway asks by itself, before it tries again."""
_LOOK_AGAIN: Final = 0.5
"""Seconds until the answer of another gateway is looked for again."""
_LAST: Final = 0.5
"""Seconds that Redis has at the end for what was found: without it others would wait for somebody who is gone."""
_DUE: Final = 0.9
"""Part of the interval after which a check is due: as early as one that nobody shares may be."""
_KEPT: Final = 60_000
"""Milliseconds beside the interval for which a finding is kept that nobody renews."""
_LONGEST: Final = 500
"""Letters of an error that are shared."""

_ASK: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local told = {}
for i, key in ipairs(KEYS) do
  local known = redis.pcall('HMGET', key, 'at', 'found', 'until')
  if known.err then known = {} redis.call('DEL', key) end
  local at, busy = tonumber(known[1] or ''), tonumber(known[3] or '')
  if at and at <= now and now - at < tonumber(ARGV[2 * i - 1]) then
    told[i] = {now - at, known[2]}
  elseif busy and busy > now and busy - now <= tonumber(ARGV[2 * i]) then
    told[i] = {1}
  else
    redis.call('HSET', key, 'until', now + tonumber(ARGV[2 * i]))
    redis.call('PEXPIRE', key, ARGV[2 * i] + ARGV[#ARGV])
    told[i] = {}
  end
end
return told
"""
"""Of each check: how many milliseconds ago something was found, if not too many, and what; or that somebody is asking;
or nothing, and who runs this asks, within so many milliseconds.
"""

_TELL: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
for i, key in ipairs(KEYS) do
  redis.call('HDEL', key, 'until')
  if ARGV[2 * i - 1] ~= '' then
    redis.call('HSET', key, 'at', now, 'found', ARGV[2 * i - 1])
    redis.call('PEXPIRE', key, ARGV[2 * i])
  end
end
return redis.status_reply('OK')
"""
"""What was found of each check, and for how many milliseconds it is kept; "" where it says nothing."""


class _Found(msgspec.Struct, frozen=True, array_like=True):
    seconds: float
    error: str | None
    mark: str
    """Another one for each: none is counted twice."""


_decode: Final = msgspec.json.Decoder(_Found).decode


@dataclass(frozen=True, slots=True)
class Known:
    """What another gateway found `age` seconds ago, None where that was counted already; or one is asking now."""

    finding: Finding | None
    age: float | None = None

    def due_in(self, interval: float) -> float:
        """Seconds until the check is due, or until it should be looked at again."""
        return min(_LOOK_AGAIN, interval / 4) if self.age is None else max(interval - self.age, _GATHERED)


@dataclass(eq=False, slots=True)
class _Question:
    key: str
    fresh: int
    """Milliseconds for which a finding is good."""
    claim: int
    """Milliseconds that whoever asks has for it."""
    answered: asyncio.Future[Sequence[Any]]


@dataclass
class SharedFindings:
    """The findings in the Redis at `url`. Where that is away, each gateway asks by itself, and an event says so."""

    url: str
    _questions: dict[int, list[_Question]] = field(default_factory=dict)
    _results: dict[int, dict[str, tuple[bytes, int]]] = field(default_factory=dict)
    _timer: asyncio.TimerHandle | None = None
    _away_until: float = 0.0
    _is_up: bool = True

    def __post_init__(self) -> None:
        self._redis: Any = connect(self.url, timeout=_TIMEOUT, connections=2 * _BUCKETS)

    async def known(self, check: Check, settings: HealthCheckSettings) -> Known | None:
        """What others know of a check; None: nobody asks but who called this, and has to `tell`."""
        if not self._is_up or time.monotonic() < self._away_until:  # what is told finds out whether it is back
            return None
        bucket, key = _key(check, settings)
        answered: asyncio.Future[Sequence[Any]] = asyncio.get_running_loop().create_future()
        fresh, claim = _DUE * check.interval(settings), settings.timeout + 2 * _TIMEOUT
        question = _Question(key, int(1000 * fresh), int(1000 * claim), answered)
        self._questions.setdefault(bucket, []).append(question)
        self._gather()
        answer = await answered
        if len(answer) == 1:
            return Known(None)
        return _read(check, *answer) if answer else None

    def tell(self, check: Check, settings: HealthCheckSettings, finding: Finding) -> None:
        """Share what was found, or where it is not certain, that nobody is asking any more."""
        if time.monotonic() < self._away_until:
            return
        bucket, key = _key(check, settings)
        error = finding.error and finding.error[:_LONGEST]
        check.mark = secrets.token_urlsafe(12)
        found = msgspec.json.encode(_Found(finding.seconds, error, check.mark)) if finding.is_certain else b""
        self._results.setdefault(bucket, {})[key] = found, int(1000 * settings.interval) + _KEPT
        self._gather()

    async def close(self) -> None:
        """Share what was found, and then no more; whoever still waits asks by itself."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._away_until = float("inf")
        _give_nothing(question for questions in self._questions.values() for question in questions)
        results, self._questions, self._results = self._results, {}, {}
        with suppress(*failures()):
            async with asyncio.timeout(_LAST):
                for bucket in results:
                    await self._exchange((), results[bucket])
            await self._redis.aclose()

    def _gather(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_GATHERED, self._send)

    def _send(self) -> None:
        self._timer = None
        questions, self._questions = self._questions, {}
        results, self._results = self._results, {}
        for bucket in {*questions, *results}:
            background(self._exchange(questions.get(bucket, ()), results.get(bucket, {})), "the sharing of checks")

    async def _exchange(self, questions: Sequence[_Question], results: Mapping[str, tuple[bytes, int]]) -> None:
        """Tell and ask in one bucket."""
        try:
            async with asyncio.timeout(2 * _TIMEOUT):
                for some in _parts(list(results.items())):
                    told = [argument for _, found in some for argument in found]
                    await self._redis.eval(_TELL, len(some), *(key for key, _ in some), *told)
                for asked in _parts(questions):
                    limits = [limit for each in asked for limit in (each.fresh, each.claim)]
                    keys = (each.key for each in asked)
                    answers = await self._redis.eval(_ASK, len(asked), *keys, *limits, _KEPT)
                    for each, answer in zip(asked, answers, strict=True):
                        _give(each, answer)
        except failures() as error:
            self._note_away(error)
        else:
            self._note_up()
        finally:
            _give_nothing(questions)

    def _note_away(self, error: BaseException) -> None:
        self._away_until = max(self._away_until, time.monotonic() + _PAUSE)
        if self._is_up:
            self._is_up = False
            extra = {"error": reason(error)}
            logger.warning("health checks are not shared while Redis is away: each gateway asks by itself", extra=extra)

    def _note_up(self) -> None:
        if not self._is_up:
            self._is_up = True
            logger.info("health checks are shared again")


def _parts(whole: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (whole[start : start + _AT_ONCE] for start in range(0, len(whole), _AT_ONCE))


def _read(check: Check, age: int, written: bytes | None) -> Known | None:
    """What another gateway wrote, unless it cannot be read."""
    try:
        found = _decode(written or b"")
    except msgspec.DecodeError:
        return None
    is_new, check.mark = check.mark != found.mark, found.mark
    return Known(Finding(found.seconds, found.error) if is_new else None, age / 1000)


def _give(question: _Question, answer: Sequence[Any]) -> None:
    if not question.answered.done():
        question.answered.set_result(answer)


def _give_nothing(questions: Iterable[_Question]) -> None:
    for question in questions:
        _give(question, ())


def _key(check: Check, settings: HealthCheckSettings) -> tuple[int, str]:
    """The bucket and the key of a check: the same for the same question to the same instance."""
    parts = [
        check.instance.url,
        _here("mnt" if check.instance.socket else "net") if _is_local(check) else "",
        settings.path,
        settings.timeout,
        settings.expect,
        check.tls.model_dump_json(),
        None if check.named is None else sorted(map(str, check.named)),
    ]
    digest = hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:32]
    bucket = int(digest[:2], 16) % _BUCKETS
    return bucket, f"portico:health:{{{bucket}}}:{digest}"


def _is_local(check: Check) -> bool:
    """Whether an address means something else on each machine."""
    host = check.instance.host
    if check.instance.socket or host == "localhost" or host.endswith(".localhost"):
        return True
    with suppress(ValueError):
        return ip_address(host.strip("[]")).is_loopback
    return False


@cache
def _here(namespace: str) -> str:
    """This machine, or the container with a loopback interface or files of its own; unknown, it is nobody else's."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        return f"{boot} {Path('/proc/self/ns', namespace).stat().st_ino}"
    except OSError:
        return secrets.token_hex(16)
