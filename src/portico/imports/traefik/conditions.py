"""What a route of Traefik's asks for, and what two of them ask for together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias


class RuleError(Exception):
    """A rule that Traefik would not read."""


class Unsaid(Exception):  # noqa: N818 - it is no error of the rule
    """A rule that there are no words for here."""


PathKind: TypeAlias = Literal["prefix", "exact", "pattern"]


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a route asks for, all of it. `path` is None where every path will do; a host pattern is a field of its own.

    `notes` says what is not quite the same.
    """

    path: tuple[PathKind, str, bool] | None = None
    hosts: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    query: tuple[tuple[str, Any], ...] = ()
    networks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    excluded: tuple[tuple[PathKind, str], ...] = ()
    """Prefixes and paths that it leaves to others."""
    unsaid: str = ""
    """What else it asks for, that there are no words for: a route without that takes more than it should."""


def both(first: Conditions, second: Conditions) -> Conditions | None:
    """Both; None where nothing meets both."""
    hosts = first.hosts or second.hosts
    if first.hosts and second.hosts:
        hosts = _both_hosts(first.hosts, second.hosts)
        if not hosts:
            return None
    methods = first.methods or second.methods
    if first.methods and second.methods:
        methods = tuple(method for method in first.methods if method in second.methods)
        if not methods:
            return None
    try:
        path = _both_paths(first.path, second.path)
    except Unsaid as unsaid:
        return replace(first, unsaid=str(unsaid))
    if path == "none":
        return None
    headers, query = dict(first.headers), dict(first.query)
    for found, more in ((headers, second.headers), (query, second.query)):
        for name, value in more:
            if found.get(name, value) != value:
                return replace(first, unsaid=f"two conditions for {name}")
            found[name] = value
    if first.networks and second.networks:
        return replace(first, unsaid="two conditions for the address of clients")
    return Conditions(
        path,
        hosts,
        methods,
        tuple(headers.items()),
        tuple(query.items()),
        first.networks or second.networks,
        (*first.notes, *second.notes),
        (*first.excluded, *second.excluded),
        first.unsaid or second.unsaid,
    )


def _both_hosts(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    """The hosts that both take: a name, or the narrower of two wildcards."""
    pairs = ((first, frozenset(second)), (second, frozenset(first)))
    found = [host for hosts, others in pairs for host in hosts if host in others or not others.isdisjoint(_over(host))]
    return tuple(dict.fromkeys(found))


def _over(host: str) -> Iterator[str]:
    """The wildcards that take a host."""
    rest = host.removeprefix("*.")
    while "." in rest:
        rest = rest.partition(".")[2]
        yield f"*.{rest}"


_Path: TypeAlias = "tuple[PathKind, str, bool] | None"


def _both_paths(first: _Path, second: _Path) -> _Path | Literal["none"]:
    if first is None or second is None or first == second:
        return first or second
    if "pattern" in (first[0], second[0]):
        for pattern, other in ((first, second), (second, first)):
            if other[0] == "prefix" and pattern[1].replace("\\", "").startswith(f"^{other[1]}"):
                return pattern
        raise Unsaid("a pattern beside another condition for the path")
    longer, shorter = sorted((first, second), key=lambda path: len(path[1]), reverse=True)
    if shorter[0] == "exact" or not longer[1].startswith(shorter[1]):
        return "none"
    return longer


def joined(found: list[Conditions]) -> list[Conditions]:
    """Those that differ in hosts alone, or in methods alone, are one."""
    by_rest: dict[Conditions, list[Conditions]] = {}
    for each in dict.fromkeys(found):
        by_rest.setdefault(replace(each, hosts=(), notes=()), []).append(each)
    one: dict[Conditions, list[Conditions]] = {}
    for rest, group in by_rest.items():
        any_host = any(not each.hosts for each in group)
        hosts = () if any_host else tuple(dict.fromkeys(host for each in group for host in each.hosts))
        notes = tuple(dict.fromkeys(note for each in group for note in each.notes))
        whole = replace(rest, hosts=hosts, notes=notes)
        one.setdefault(replace(whole, methods=(), notes=()), []).append(whole)
    joined = []
    for rest, group in one.items():
        any_method = any(not each.methods for each in group)
        methods = () if any_method else tuple(dict.fromkeys(method for each in group for method in each.methods))
        notes = tuple(dict.fromkeys(note for each in group for note in each.notes))
        joined.append(replace(rest, methods=methods, notes=notes))
    return joined
