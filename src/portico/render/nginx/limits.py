"""Who may come in, and how often: rate limits and networks. What nginx cannot check closes the route."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import Final

from portico.config import ResolvedRoute
from portico.policies.rate_limit import ByHeader, RateLimit
from portico.render.nginx.fields import policy_path
from portico.render.nginx.names import Names

GUARDS: Final = ("auth", "authorize", "deny", "mcp", "plugins", "validate")
"""Policies that refuse requests, and that nginx cannot check: a route that has one is closed, not open."""


def closing(names: Names, route: ResolvedRoute) -> list[str]:
    """The keys of the policies for whose sake a route is closed."""
    found = [key for key in GUARDS if route.policies.get(key, (None, ""))[0]]
    for key in found:
        _, scope = route.policies[key]
        why = "nginx cannot check this: the routes that it guards are closed and answer 503"
        names.losses.add(policy_path(route, scope, key), why)
    return found


def limiting(names: Names, route: ResolvedRoute) -> Iterator[str]:
    """The lines of a route's limits. A refusal says when to come again."""
    if "rate_limit" not in route.policies:
        return
    settings, scope = route.policies["rate_limit"]
    at = policy_path(route, scope, "rate_limit")
    longest = 0
    for index, limit in enumerate(settings if isinstance(settings, list) else [settings]):
        line = _limit(names, limit, (*at, index) if isinstance(settings, list) else at, f"{scope}:{index}")
        if line is not None:
            longest = max(longest, ceil(60 / limit.requests_per_minute))
            yield line
    if longest:
        yield f'set $wait "429 {longest}";'


def _limit(names: Names, limit: RateLimit, at: tuple[str | int, ...], scope: str) -> str | None:
    if limit.cost is not None:
        names.losses.add(at, "nginx does not read what responses cost: the limit is left out")
        return None
    if "requests_per_minute" not in limit.numbers:
        names.losses.add(at, "nginx counts no quotas for an hour, a day or a month")
        return None
    if limit.by == "consumer":
        names.losses.add(at, "nginx knows no consumers")
        return None
    if not limit.enforce:
        names.losses.add(at, "a limit that refuses nothing is left out")
        return None
    rate = round(limit.requests_per_minute)
    if rate != limit.requests_per_minute:
        names.losses.add(at, f"nginx counts whole requests a minute: {max(rate, 1)}")
    key = "$binary_remote_addr"
    if isinstance(limit.by, ByHeader):
        key = f'"$http_{limit.by.header.lower().replace("-", "_")}:"'  # where there is none it is a bucket, too
    zone, is_new = names.once(("zone", scope, key, rate), "limit_" + scope.removesuffix(":0"))
    if is_new:
        names.zones[zone] = f"limit_req_zone {key} zone={zone}:10m rate={max(rate, 1)}r/m;"
    # Portico's burst is how many may come at once, nginx's how many more than one.
    burst = f" burst={limit.burst - 1} nodelay" if limit.burst > 1 else ""
    return f"limit_req zone={zone}{burst};"


def networks(route: ResolvedRoute) -> list[str]:
    """The networks that clients may come from."""
    if "ip_filter" not in route.policies:
        return []
    settings, _ = route.policies["ip_filter"]
    lines = [f"deny {network};" for network in settings.deny]
    if settings.allow:
        lines += [*(f"allow {network};" for network in settings.allow), "deny all;"]
    return lines
