"""The order in which the router asks rules, in words: why one is before another that would take a request, too."""

from __future__ import annotations

from typing import Any

from portico.proxy.routing.router import Rule


def why_first(first: Rule[Any], other: Rule[Any], host: str) -> str:
    """The rule of precedence by which the `first` takes it."""
    if other.fallback and not first.fallback:
        return "the gateway's own endpoints come after routes" if other.exact else "a fallback comes last"
    kinds = _kind(first), _kind(other)
    if kinds[0] != kinds[1]:
        return {"exact": "an exact path comes first", "pattern": "a pattern comes before a prefix"}[kinds[0]]
    if first.path != other.path:
        return "the longer prefix comes first" if kinds[0] == "prefix" else "of patterns, the first in the file"
    if _reach(first, host) != _reach(other, host):
        return "the more specific host comes first" if other.hosts else "a route for this host comes first"
    if len(first.headers) + len(first.query) != len(other.headers) + len(other.query):
        return "more conditions on fields and query come first"
    if (first.methods is None) != (other.methods is None):
        return "a route with methods comes before one for every method"
    return "of routes that ask for the same, the first in the file"


def _kind(rule: Rule[Any]) -> str:
    return "exact" if rule.exact else "pattern" if rule.pattern is not None else "prefix"


def _reach(rule: Rule[Any], host: str) -> int:
    """How specific the host is by which a rule takes it; 0 for none."""
    if host in rule.hosts:
        return len(host) + 1
    return max((len(each) for each in rule.hosts if each.startswith("*.") and host.endswith(each[1:])), default=0)
