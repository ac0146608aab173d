"""Ten million distinct keys with small bodies through the cache's memory store: how much the process grows.

    PYTHONPATH=src:tests python -m benchmarks.distinct_keys [KEYS] [MIB]

Every fourth key is found again once or twice, so that entries are unpacked, and packed again, too. It fails if resident
memory grows beyond the bound.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from portico.core.memory import settle
from portico.proxy.cache.memory import MemoryStore
from portico.proxy.cache.stored import Resource
from support.stored import asked, key_of, response

_MIB = 1 << 20
_PAGE = 4096


def main(keys: int = 10_000_000, mebibytes: int = 256) -> int:
    """The exit status."""
    settle()
    before = _resident()
    store = MemoryStore(mebibytes * _MIB)
    request = asked()
    began = time.perf_counter()
    print("| keys | entries | counted | resident | seconds |\n|---:|---:|---:|---:|---:|")
    most = 0
    for number in range(1, keys + 1):
        tag = b'"%d"' % number
        key = key_of(f"an/ordinary/path/{number}")
        stored = response(
            tag * 10, b"ETag: " + tag, b"Content-Type: application/json", b"Cache-Control: max-age=60", etag=tag
        )
        store.put(Resource(key, key[6:], "items"), stored)
        for earlier in (number - 100, number - 10_000) if number % 4 == 0 else ():
            found = store.get(key_of(f"an/ordinary/path/{earlier}"))
            if found is not None:
                found.find(request, None)
        if number % 10_000 == 0:
            most = max(most, _resident() - before)
        if number % (keys // 10) == 0:
            counted, grown = store.bytes / _MIB, (_resident() - before) / _MIB
            sizes = f"{counted:.1f} MiB | {grown:.1f} MiB"
            print(f"| {number:,} | {store.entries:,} | {sizes} | {time.perf_counter() - began:.0f} |", flush=True)
    print(f"at most {most / _MIB:.1f} MiB more than before, of {mebibytes} MiB")
    return int(most > mebibytes * _MIB)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
