"""What the admin API shows of the cache: what is stored, and how often it answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

_STORED: Final = ("entries", "bytes", "evictions")
_HITS: Final = ("hit", "stale", "collapsed")
"""Outcomes of requests that had no request to the service of their own."""
_MISSES: Final = ("miss", "revalidated")


def cache_overview(live: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The memory of every worker, the outcomes of every service, and all of them together, since the workers started.

    `hits` are answered without a request to the service of their own, `misses` with one; `outcomes` has them one by
    one, and those that passed the cache by.
    """
    counts = {worker: totals["cached"] for worker, totals in live.items()}
    services = sorted({service for each in counts.values() for service in each})
    stored = {worker: {key: totals[f"cache_{key}"] for key in _STORED} for worker, totals in live.items()}
    by_service = {name: _summed(each.get(name, {}) for each in counts.values()) for name in services}
    by_worker = {worker: _summed(each.values()) for worker, each in counts.items()}
    return {
        **{key: sum(each[key] for each in stored.values()) for key in _STORED},
        **_outcomes(_summed(by_service.values())),
        "services": [{"name": name, **_outcomes(each)} for name, each in by_service.items()],
        "workers": [{"name": worker, **stored[worker], **_outcomes(by_worker[worker])} for worker in sorted(stored)],
    }


def _summed(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return total


def _outcomes(counts: Counter[str]) -> dict[str, Any]:
    return {
        "hits": sum(counts[outcome] for outcome in _HITS),
        "misses": sum(counts[outcome] for outcome in _MISSES),
        "outcomes": dict(counts),
    }
