"""How many requests the cache's memory store answers, beside one that evicts what was used least recently: LRU.

    PYTHONPATH=src:tests python -m benchmarks.hit_ratio

Each trace is a million requests for 100,000 keys whose popularity follows Zipf's law; every miss is stored. LRU is
given as many entries as the store held, so that only the order of eviction differs, and as many as it could hold in the
same bytes if it kept responses as the objects that are sent.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from itertools import accumulate, count

from portico.proxy.cache.memory import MemoryStore
from portico.proxy.cache.stored import Resource
from support.stored import key_of, resource, response

_KEYS = 100_000
_REQUESTS = 1_000_000
_BODY = b"x" * 1024
_STORED = response(
    _BODY,
    *(b"Date: Sun, 30 Nov 2025 10:00:00 GMT", b"Content-Type: application/json", b"Cache-Control: max-age=60"),
    *(b'ETag: "0123456789abcdef"', b"Vary: Accept-Encoding"),
    etag=b'"0123456789abcdef"',
)
_MIB = 1 << 20


def main() -> None:
    """Print a table in Markdown."""
    print("| requests | store | entries | LRU, as many entries | LRU, same bytes | S3-FIFO, packed |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, trace in _traces():
        for mebibytes in (2, 16):
            hits, held = _store(trace, mebibytes * _MIB)
            by_entries = _lru(trace, held)
            by_bytes = _lru(trace, mebibytes * _MIB // resource("a", _STORED).size)
            ratios = " | ".join(f"{100 * each / len(trace):.1f} %" for each in (by_entries, by_bytes, hits))
            print(f"| {name} | {mebibytes} MiB | {held} | {ratios} |", flush=True)


def _traces() -> Iterator[tuple[str, list[int]]]:
    dice = random.Random(1)
    for exponent in (0.7, 0.9, 1.1):
        yield f"Zipf {exponent}", list(_zipf(exponent, _REQUESTS, dice))
    fresh = count(_KEYS)
    half = _zipf(0.9, _REQUESTS // 2, dice)
    yield "Zipf 0.9, every other for a key that comes once", [key for each in half for key in (each, next(fresh))]
    parts = (_zipf(1.0, _REQUESTS // 5, dice) for _ in range(5))
    yield "Zipf 1.0, other keys are popular after each fifth", [key for part in parts for key in part]


def _zipf(exponent: float, number: int, dice: random.Random) -> Iterator[int]:
    weights = list(accumulate(1 / rank**exponent for rank in range(1, _KEYS + 1)))
    keys = list(range(_KEYS))
    dice.shuffle(keys)
    return (keys[bisect_left(weights, dice.random() * weights[-1])] for _ in range(number))


def _store(trace: Iterable[int], most_bytes: int) -> tuple[int, int]:
    """Hits, and how many entries there were on average."""
    store, hits, held, requests = MemoryStore(most_bytes), 0, 0, 0
    for number in trace:
        key = key_of(f"{number}")
        found = store.get(key)
        if found is not None:
            hits += 1
            found.variants[0].hits += 1
        else:
            store.put(Resource(key, key, "items"), _STORED)
        requests += 1
        held += store.entries
    return hits, held // requests


def _lru(trace: Iterable[int], most: int) -> int:
    held: OrderedDict[int, None] = OrderedDict()
    hits = 0
    for key in trace:
        if key in held:
            hits += 1
            held.move_to_end(key)
        else:
            held[key] = None
            if len(held) > most:
                held.popitem(last=False)
    return hits


if __name__ == "__main__":
    main()
