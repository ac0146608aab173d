"""Who may come in, and how often: rate limits and networks. What nginx cannot check closes the route."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import Final

from portico.config import ResolvedRoute
from portico.policies.rate_limit import ByHeader, RateLimit, RateLimitSettings
from portico.render.nginx.denying import can_be_denied, rules_by_identity
from portico.render.nginx.forward_auth import is_forward_alone
from portico.render.nginx.lua import Guard, checks_auth, checks_authorize, guard_of, unsaid_parts
from portico.render.nginx.names import Names
from portico.render.policies import guards_of, policy_path

_COSTS: Final = "nginx does not read what responses cost: the limit is left out"
_RATE: Final = frozenset({"requests_per_minute", "burst"})


def closing(names: Names, route: ResolvedRoute) -> list[str]:
    """The keys of the policies for whose sake a route is closed."""
    found = [key for key in guards_of(route) if not _is_checked(names, route, key)]
    for key in found:
        _, scope = route.policies[key]
        why = "nginx cannot check this: the routes that it guards are closed and answer 503"
        names.losses.add(policy_path(route, scope, key), why)
    return found


def _is_checked(names: Names, route: ResolvedRoute, key: str) -> bool:
    """Whether nginx can check it."""
    settings, _ = route.policies[key]
    if key == "deny":
        return can_be_denied(names, route)
    if key == "auth":
        return is_forward_alone(settings) or (names.lua is not None and checks_auth(settings))
    return key == "authorize" and names.lua is not None and checks_authorize(settings)


def guarding(names: Names, route: ResolvedRoute, asked: tuple[str, str] | None) -> list[str]:
    """The line by which the program in Lua checks a route's requests, where there is something for it.

    `asked` are the variables that have the consumer and the scopes that a service named.
    """
    if names.lua is None:
        return []
    _, of_limits = route.policies.get("rate_limit", (None, ""))
    key = (
        "guards",
        asked,
        of_limits,
        *(id(guard_of(route, each)) for each in ("auth", "authorize", "deny", "rate_limit")),
    )
    if key not in names.forwarding:  # most routes have those of one level
        names.forwarding[key] = _guarding(names, route, asked)
    return names.forwarding[key]


def _guarding(names: Names, route: ResolvedRoute, asked: tuple[str, str] | None) -> list[str]:
    assert names.lua is not None
    auth, scope = route.policies.get("auth", (None, ""))
    limits, of_limits = route.policies.get("rate_limit", (None, ""))
    guard = Guard(
        auth if asked is None else None,
        asked,
        guard_of(route, "authorize"),
        rules_by_identity(names, route),
        None if limits is None else (of_limits, limits),
        counts_before=limits is not None and _has_quotas(limits),
    )
    text = guard.text(names.lua)
    if not text:
        return []
    for path, why in unsaid_parts(auth, policy_path(route, scope, "auth")) if auth is not None else ():
        names.losses.add(path, why)
    name, is_new = names.once(("guard", text), route.name)
    if is_new:
        names.lua.guards[name] = text
    return [f'access_by_lua_block {{ require("portico").check("{name}") }}']


def _has_quotas(settings: RateLimitSettings) -> bool:
    """Whether a limit that does not ask who it is counts more than a rate: then the program counts all of those."""
    limits = settings if isinstance(settings, list) else [settings]
    counted = [limit for limit in limits if limit.enforce and limit.cost is None]
    return any(limit.by != "consumer" and not {*limit.numbers} <= _RATE for limit in counted)


def limiting(names: Names, route: ResolvedRoute) -> Iterator[str]:
    """The lines of a route's limits. A refusal says when to come again."""
    if "rate_limit" not in route.policies:
        return
    settings, scope = route.policies["rate_limit"]
    at = policy_path(route, scope, "rate_limit")
    longest = 0
    if names.lua is not None and _has_quotas(settings):
        for limit in settings if isinstance(settings, list) else [settings]:
            if limit.cost is not None:
                names.losses.add(at, _COSTS)
            elif not limit.enforce:
                names.losses.add(at, "a limit that refuses nothing is left out")
        return
    for index, limit in enumerate(settings if isinstance(settings, list) else [settings]):
        line = _limit(names, limit, (*at, index) if isinstance(settings, list) else at, f"{scope}:{index}")
        if line is not None:
            longest = max(longest, ceil(60 / limit.requests_per_minute))
            yield line
    if longest:
        yield f'set $wait "429 {longest}";'


def _limit(names: Names, limit: RateLimit, at: tuple[str | int, ...], scope: str) -> str | None:
    if limit.cost is not None:
        names.losses.add(at, _COSTS)
        return None
    if names.lua is not None and limit.by == "consumer" and limit.enforce:
        return None  # the program counts it
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
