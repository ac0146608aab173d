"""How requests are sent on: where to, under which host, how long, how often; copies, and clients that stay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from portico.config import ConsistentHashSettings, CookieKey, HeaderKey, ResolvedRoute, Upstream
from portico.config.problems import KeyPath
from portico.config.services import preserved
from portico.render.envoy.answers import rewriting
from portico.render.envoy.clusters import cluster_of
from portico.render.envoy.matches import words
from portico.render.envoy.names import HTTP, Filter, Names, Section, duration, typed
from portico.render.envoy.text import Shared

_MILLION: Final = 1_000_000
_CAUSES: Final = {"connect": ("connect-failure", "refused-stream"), "reset": ("reset",), "timeout": ()}


def forwarding(
    names: Names, route: ResolvedRoute, upstream: Upstream, cluster: Section | None
) -> tuple[Section, dict[str, Section]]:
    """The action of a route, and what it says of the filter that keeps clients with an instance."""
    service = str(route.service)
    at: KeyPath = ("services", service)
    action: Section = cluster or {"cluster": cluster_of(names, service, route.version, upstream)}
    if route.choice is not None:
        names.losses.add((*at, "version_by"), "Envoy does not choose versions here: all requests get the first one")
    if route.rewrite != "keep":
        action |= rewriting(route, route.rewrite)
    action |= _host(names, route, upstream, at)
    action |= _times(names, route, upstream)
    if isinstance(chosen := upstream.load_balancing, ConsistentHashSettings):
        action["hash_policy"] = [_hash_of(chosen.consistent_hash)]
    if not route.upgrades:
        action["upgrade_configs"] = [{"upgrade_type": "websocket", "enabled": False}]
    elif route.upgrades != ("websocket",):
        names.losses.add((*route.source, "upgrades"), "Envoy lets clients switch to websocket alone here")
    if route.mirrors:
        action["request_mirror_policies"] = [*_mirrors(names, route)]
    return action, _sticking(names, route, at)


def _hash_of(key: Any) -> Section:
    if isinstance(key, HeaderKey):
        return {"header": {"header_name": key.header.lower()}}
    if isinstance(key, CookieKey):
        return {"cookie": {"name": key.cookie}}
    return {"connection_properties": {"source_ip": True}}


def _host(names: Names, route: ResolvedRoute, upstream: Upstream, at: KeyPath) -> Section:
    """What becomes of Host: the client's, or that of the instance."""
    own = dict.fromkeys("" if preserved(route.preserve_host, each) else each.authority for each in upstream.instances)
    if not own or [*own] == [""]:
        return {}
    if len(own) == 1:
        return {"host_rewrite_literal": next(iter(own))}
    if "" in own:
        names.losses.add((*at, "instances"), "Envoy sends the client's Host to all of them or to none: to all")
        return {}
    return {"auto_host_rewrite": True}


def _times(names: Names, route: ResolvedRoute, upstream: Upstream) -> Section:
    times, retry, hedge = route.timeouts, route.retry, upstream.hedge
    if times.connect != upstream.timeouts.connect:
        names.losses.add((*route.source, "timeout"), "Envoy has one time to connect for all routes to a service")
    found: Section = {
        "timeout": duration(times.total) if times.total is not None else "0s",
        "idle_timeout": duration(times.response),
    }
    policy = _known_retrying(names, route)
    if hedge is not None:
        policy = {**policy, "per_try_timeout": duration(hedge.after), "num_retries": max(1, retry.attempts)}
        found["hedge_policy"] = {"hedge_on_per_try_timeout": True}
        if "reset" not in policy.get("retry_on", ""):
            policy["retry_on"] = ",".join(filter(None, (policy.get("retry_on"), "reset")))
    found["retry_policy"] = policy or NEVER
    return found


NEVER: Final[Section] = Shared({"num_retries": 0})
"""The policy of routes whose requests are not sent again."""


def _known_retrying(names: Names, route: ResolvedRoute) -> Section:
    key = ("retries", id(route.retry), route.timeouts.response)
    if key not in names.known:
        names.known[key] = Shared(_retrying(route))
    known: Section = names.known[key]
    return known


def _retrying(route: ResolvedRoute) -> Section:
    retry = route.retry
    if not retry.attempts or not retry.on:
        return {}
    causes = [word for cause in retry.on for word in _CAUSES.get(str(cause), ())]
    statuses = [cause for cause in retry.on if isinstance(cause, int)]
    takes_time = "timeout" in retry.on or retry.per_try_timeout is not None
    if takes_time and "reset" not in causes:
        causes.append("reset")
    if statuses:
        causes.append("retriable-status-codes")
    found: Section = {"retry_on": ",".join(causes), "num_retries": retry.attempts}
    if statuses:
        found["retriable_status_codes"] = statuses
    if takes_time:
        found["per_try_timeout"] = duration(retry.per_try_timeout or route.timeouts.response)
    found["retriable_request_headers"] = [words(":method", sorted(retry.methods))]
    found["retry_host_predicate"] = [
        {
            "name": "previous_hosts",
            "typed_config": typed("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"),
        }
    ]
    found["host_selection_retry_max_attempts"] = 3
    return found


def _mirrors(names: Names, route: ResolvedRoute) -> Iterator[Section]:
    for index, mirror in enumerate(route.mirrors):
        at = (*route.source, "mirror")
        for key in ("methods", "max_body", "max_in_flight", "timeout"):
            if key in mirror.model_fields_set:
                names.losses.add((*at, key) if len(route.mirrors) == 1 else (*at, index, key), "Envoy copies all alike")
        upstream = names.service(mirror.service, mirror.version)
        found: Section = {
            "cluster": cluster_of(names, mirror.service, mirror.version, upstream),
            "disable_shadow_host_suffix_append": True,
        }
        if mirror.share < 1:
            found["runtime_fraction"] = fraction(mirror.share)
        removed = [{"remove": name.lower()} for name in mirror.remove_headers]
        if removed:
            found["request_headers_mutations"] = removed
        yield found


def fraction(share: float) -> Section:
    """A share of requests."""
    return {"default_value": {"numerator": round(share * _MILLION), "denominator": "MILLION"}}


def _sticking(names: Names, route: ResolvedRoute, at: KeyPath) -> dict[str, Section]:
    sticky = route.sticky
    if sticky is None:
        return {}
    if sticky.cookie is None:
        names.losses.add((*at, "sticky"), "Envoy keeps no client with an instance by what the service issues")
        return {}
    if sticky.key is not None:
        names.losses.add((*at, "sticky", "key"), "Envoy signs no cookie: it has the address of the instance in it")
    name = f"portico_{route.service}" if sticky.cookie == "auto" else sticky.cookie
    if (
        sticky.cookie == "auto"
        and route.version is not None
        and not names.service(str(route.service), route.version).shared
    ):
        name += f"_{route.version}"
    cookie: Section = {
        "name": name,
        "path": "/",
        "attributes": [{"name": "SameSite", "value": "Lax"}],
    }
    if sticky.max_age is not None:
        cookie["ttl"] = duration(sticky.max_age)
    state = {
        "name": "envoy.http.stateful_session.cookie",
        "typed_config": typed(
            "envoy.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState", {"cookie": cookie}
        ),
    }
    kind = f"{HTTP}stateful_session.v3.StatefulSession"
    names.filter(Filter(128, "stateful_session", typed(kind), "clients that stay with an instance"))
    return {"stateful_session": typed(f"{kind}PerRoute", {"stateful_session": {"session_state": state}})}
