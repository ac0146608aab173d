"""What a process remembers only to be faster or fairer. Every such store is bounded, in bytes too, and forgets what is
not used any more: clients that come once, however many, must not fill the memory for good.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import _lru_cache_wrapper, lru_cache
from typing import Any, Final, Protocol, TypeVar
from weakref import WeakSet, WeakValueDictionary

from portico.core.slices import Steps

T = TypeVar("T")


class Cache(Protocol):
    """A store that forgets."""

    def age(self, now: float) -> Steps[None] | None:
        """Drop what was not used since the last call, in steps where that takes long; `now` is monotonic."""


C = TypeVar("C", bound=Cache)

_caches: Final[WeakValueDictionary[int, Cache]] = WeakValueDictionary()
_functions: Final[WeakSet[_lru_cache_wrapper[Any]]] = WeakSet()


def ages(cache: C) -> C:
    """Have a cache age from now on, until nothing else refers to it."""
    _caches[id(cache)] = cache
    return cache


def remembered(most: int) -> Callable[[Callable[..., T]], _lru_cache_wrapper[T]]:
    """Decorates a function: like `lru_cache`, and all results are forgotten from time to time."""

    def decorated(function: Callable[..., T]) -> _lru_cache_wrapper[T]:
        cached = lru_cache(maxsize=most)(function)
        _functions.add(cached)
        return cached

    return decorated


def aging(now: float) -> Steps[None]:
    """Have all caches of this process age; what they hold then was used since the last time, or must not be lost."""
    for cache in list(_caches.values()):
        steps = cache.age(now)
        if steps is not None:
            yield from steps
        yield
    for function in list(_functions):
        function.cache_clear()
        yield


def forget_results() -> None:
    """Have all `remembered` functions forget, after a reload above all.

    A thousand small results, made while thousands of routes were, are all over the memory of those, none of which can
    go back to the kernel then.
    """
    for function in list(_functions):
        function.cache_clear()
