"""What `portico routes` says of each route."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from portico.config import Config, RedirectSettings, ResolvedRoute, hosts_in_words
from portico.config.versions import kind_of
from portico.policies import POLICY_SETTINGS

_NONE: Final = "-"


def columns(config: Config) -> tuple[str, ...]:
    """What the cells of a line are."""
    listeners = ("listeners",) if config.gateway.listen else ()
    return "route", "match", *listeners, "service", "becomes", "host", "policies"


def rows(config: Config) -> Iterator[tuple[str, ...]]:
    """The cells of a line for each route."""
    for route in config.all_routes:
        yield (
            route.name,
            " ".join(_conditions(route)),
            *_listeners(config, route),
            *_target(route),
            hosts_in_words(config, route) or _NONE,
            " ".join((*_policies(route), *_mirrors(route), *_failovers(route))) or "none",
        )


def _conditions(route: ResolvedRoute) -> Iterator[str]:
    yield from route.methods
    yield route.place
    yield from route.hosts
    for name, value in route.headers.items():
        yield f"{name}={value}"
    for name, condition in route.query.items():
        yield f"?{name}" if condition is True else f"?{name}={condition}"
    if route.choice is not None:
        yield f"by={','.join(map(kind_of, route.choice.sources))}"


def _listeners(config: Config, route: ResolvedRoute) -> Iterator[str]:
    """Where several listeners are written, those that serve it."""
    if config.gateway.listen:
        yield " ".join(listener.key for listener in config.gateway.listen if listener.serves(route.name)) or _NONE


def _target(route: ResolvedRoute) -> tuple[str, str]:
    """Its service and what the path becomes there, or what it answers."""
    answer = route.answer
    if isinstance(answer, RedirectSettings):
        return _NONE, f"{answer.status} {answer.to}"
    if answer is not None:
        return _NONE, f"{answer.status} {answer.file}" if answer.file is not None else str(answer.status)
    service = f"{route.service} {route.version}" if route.version is not None else str(route.service)
    if route.split is not None and route.split.canary is not None:
        service += " canary" * route.is_variant
    elif route.split is not None and route.side is not None:
        service += f" {100 * route.side.weight / sum(route.split.weights.values()):g}%"
    return service, route.rewrite


def _mirrors(route: ResolvedRoute) -> Iterator[str]:
    """Who gets copies of its requests, and of which part of them."""
    for mirror in route.mirrors:
        version = f"@{mirror.version}" if mirror.version is not None else ""
        share = f":{100 * mirror.share:g}%" if mirror.share < 1 else ""
        yield f"mirror={mirror.service}{version}{share}"


def _failovers(route: ResolvedRoute) -> Iterator[str]:
    """Who is asked in place of its service, and why."""
    for failover, _ in route.failovers:
        version = f"@{failover.version}" if failover.version is not None else ""
        yield f"failover={failover.service}{version}:{','.join(map(str, failover.on))}"


def _policies(route: ResolvedRoute) -> Iterator[str]:
    """The keys of its policies; of those that are on anyway, only what is written."""
    for key in POLICY_SETTINGS:
        if key in route.policies:
            settings, _ = route.policies[key]
            if settings is None:
                yield f"{key}=off"
            elif key == "plugins":
                yield f"{key}={','.join(entry.name for entry in settings)}"
            else:
                yield key
