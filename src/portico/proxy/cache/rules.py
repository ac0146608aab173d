"""What a route's `cache` settings come to: compiled once, read for each request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from portico.policies.cache import CacheSettings
from portico.proxy.cache.query import QuerySelection

TTL_STATUSES: Final = frozenset({200, 203, 300, 301, 308, 404, 410})
"""Statuses to which `ttl` applies where `statuses` does not name others."""


@dataclass(frozen=True, slots=True, eq=False)
class Rules:
    """The rules of one route, or of several that are configured alike and share a `scope`."""

    scope: bytes
    """What tells its stored responses from those of other routes: the first part of each key, without white space."""
    service: str
    ttl: float | None
    methods: frozenset[bytes]
    statuses: frozenset[int] | None
    ttl_statuses: frozenset[int]
    query: QuerySelection
    headers: tuple[bytes, ...]
    """Lower-cased names."""
    cookies: tuple[bytes, ...]
    stores_apart: bool
    """Whether what a consumer gets may be stored for that consumer alone."""
    max_object: int
    stale_while_revalidate: float
    stale_if_error: float
    targets: tuple[bytes, ...]
    """Lower-cased names."""
    changes: frozenset[bytes] = frozenset()
    """Lower-cased names of request fields that the configuration sets or removes: a client's own do not count."""
    number_cookie: bytes | None = None
    """The cookie in which a split keeps a client's number: the gateway's own, so that it is no credential."""
    is_transformed: bool = False
    """Whether rules of `transform` may make different requests of those for one URL."""

    @staticmethod
    def of(
        settings: CacheSettings,
        scope: bytes,
        service: str,
        changes: frozenset[bytes] = frozenset(),
        *,
        number_cookie: bytes | None = None,
        is_transformed: bool = False,
    ) -> Rules:
        """The rules that settings mean, for the service and route that `scope` names."""
        statuses = None if settings.statuses is None else frozenset(settings.statuses)
        return Rules(
            scope=scope,
            service=service,
            ttl=settings.ttl,
            methods=frozenset(method.encode() for method in settings.methods),
            statuses=statuses,
            ttl_statuses=TTL_STATUSES if statuses is None else statuses,
            query=QuerySelection.written(settings.key.query),
            headers=_names(settings.key.headers),
            cookies=tuple(dict.fromkeys(name.encode() for name in settings.key.cookies)),
            stores_apart=settings.key.consumer == "auto",
            max_object=settings.max_object,
            stale_while_revalidate=settings.stale_while_revalidate,
            stale_if_error=settings.stale_if_error,
            targets=_names(settings.targets),
            changes=changes,
            number_cookie=number_cookie,
            is_transformed=is_transformed,
        )


def _names(written: list[str]) -> tuple[bytes, ...]:
    return tuple(dict.fromkeys(name.lower().encode() for name in written))
