"""Which core runs what: the gateway has one to itself, the load and the backend share the others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_ALL = sorted(os.sched_getaffinity(0))
GATEWAY = frozenset(_ALL[:1])
LOAD = frozenset(_ALL[1:] or _ALL)


@contextmanager
def pinned(cores: frozenset[int]) -> Iterator[None]:
    """Children started inside stay on `cores`: they inherit it, so it holds from their first instruction on."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
