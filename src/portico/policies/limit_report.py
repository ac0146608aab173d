"""Every rate limit and quota of a worker: its numbers, how often it refused, and the keys of which least is left.

What is counted in Redis is read there by who asks for the report: it says by which names.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

from portico.core.slices import Steps
from portico.observe.log_fields import is_secret_field
from portico.policies.counters.standing import Asked, fullest
from portico.policies.measures import Measure, Quota, Rate
from portico.policies.own_measures import OwnMeasures

_HEADER: Final = "header."
_MASK: Final = "***"
RATE: Final = "rate"
"""What the bucket of a limit is called, beside the periods of its quotas."""


class Listed:
    """A limit as it was compiled last.

    `store` is where it counts: `memory` of each worker, the table of all `workers`, or `redis`.
    """

    def __init__(self) -> None:
        self.about: dict[str, Any] = {}
        self.store = ""
        self.asked = Asked()
        self.measures: Sequence[Measure] = ()
        self.owns = OwnMeasures()
        self.redis_names: Mapping[str, tuple[str, str]] = {}
        """What stands before and behind names in Redis, by kinds, where consumers have numbers of their own."""
        self.forget: Callable[[bytes], None] = lambda _: None
        """Drops what is remembered of a refusal in Redis."""

    def peek(self) -> Listed:
        """One for whoever asks what would be said, which lists nothing here."""
        return Listed()

    def measures_of(self, key: str) -> Sequence[Measure]:
        """What a key counts against: a consumer may have numbers of its own."""
        return self.owns.get(key, self.measures)


def reported(
    limits: Sequence[Listed], most: int, key: str | None, consumers: Sequence[str] = ()
) -> Steps[list[dict[str, Any]]]:
    """All limits; of each the keys of which least is left, `most` at most, or one `key` of all of them.

    Where limits are in Redis, it has the numbers of those `consumers`, and of the key, that have their own.
    """
    reports = []
    for limit in limits:
        report = {**limit.about, "store": limit.store, "asked": limit.asked.asked, "refused": limit.asked.refused}
        report["measures"] = [_numbers(each) for each in limit.measures]
        asked = (*consumers, *(() if key is None else (key,))) if limit.store == "redis" and limit.owns else ()
        own = {name: found for name in asked if (found := limit.measures_of(name)) is not limit.measures}
        report["owns"] = {name: [_numbers(each) for each in found] for name, found in own.items()}
        report["names"] = limit.redis_names
        if limit.store == "redis":
            report["keys"] = []
        elif key is not None:
            report["keys"] = [entry for each in limit.measures_of(key) if (entry := _entry(limit, each, key))]
        else:
            report["keys"] = yield from _fullest(limit, most)
        reports.append(report)
        yield
    return reports


def reset(limits: Sequence[Listed], limit: str, key: str) -> bool:
    """Make a key of a limit whole again, which may be named as it is shown. Whether there is such a limit."""
    meant = [each for each in limits if each.about["id"] == limit]
    for each in meant:
        for measure in {*each.measures, *each.measures_of(key)}:
            for known in _named(each, measure, key):
                _counter(measure).reset(known)
                each.forget(measure.redis_key(known))
    return bool(meant)


def shown_key(by: str, key: str) -> str:
    """A key as it is shown: where it is the value of a field that lets others in, no more than tells it from others."""
    if not by.startswith(_HEADER) or not key or not is_secret_field(by.removeprefix(_HEADER)):
        return key
    return _MASK + blake2b(key.encode(), digest_size=4).hexdigest()


def is_masked(key: str) -> bool:
    """Whether a key is named as it is shown in place of one that lets others in."""
    return key.startswith(_MASK)


def _named(limit: Listed, measure: Measure, key: str) -> list[str]:
    """The keys that are meant by one that may be masked."""
    by = limit.about["by"]
    if not is_masked(key):
        return [key]
    return [known for known in _counter(measure).known_keys() if shown_key(by, known) == key]


def _fullest(limit: Listed, most: int) -> Steps[list[dict[str, Any]]]:
    found: list[tuple[Measure, str]] = []
    for measure in limit.measures:
        entries = yield from _counter(measure).fullest(most, _now(measure))
        found += [(measure, key) for key, _ in entries if limit.measures_of(key) is limit.measures]
    for store in limit.owns.stores:
        entries = yield from fullest(store.items(), most)
        for consumer in dict.fromkeys(key.partition(" ")[2] for key, _ in entries):
            own = limit.owns.get(consumer, ())
            found += [(measure, consumer) for measure in own if _counter(measure).store is store]
    keys = [entry for measure, key in found if (entry := _entry(limit, measure, key)) is not None]
    return sorted(keys, key=lambda entry: (entry["left"] / entry["allowed"], -entry["whole_in"]))[:most]


def _entry(limit: Listed, measure: Measure, key: str) -> dict[str, Any] | None:
    """What is left of one key; None where nothing is taken."""
    counter = _counter(measure)
    left, whole_in = counter.standing(key, _now(measure))
    if whole_in <= 0:
        return None
    shown = shown_key(limit.about["by"], key)
    return {"key": shown, "of": kind_of(measure), "left": left, "allowed": _allowed(measure), "whole_in": whole_in}


def kind_of(measure: Measure) -> str:
    """`rate`, or the period of a quota."""
    return measure.quotas.period if isinstance(measure, Quota) else RATE


def _counter(measure: Measure) -> Any:
    assert isinstance(measure, (Rate, Quota))
    return measure.quotas if isinstance(measure, Quota) else measure.buckets


def _now(measure: Measure) -> float:
    return time.time() if isinstance(measure, Quota) else time.monotonic()


def _allowed(measure: Measure) -> int:
    counter = _counter(measure)
    return int(counter.allowed if isinstance(measure, Quota) else counter.burst)


def _numbers(measure: Measure) -> dict[str, Any]:
    """What a measure allows, and by which names Redis has it: what stands before and behind a key."""
    numbers: dict[str, Any] = {"of": kind_of(measure), "name": measure.name, "allowed": _allowed(measure)}
    if isinstance(measure, Rate):
        numbers["per_minute"] = round(60 / measure.buckets.interval, 6)
    return {**numbers, "how": measure.how, "redis": measure.redis_name}
