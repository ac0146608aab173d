"""Who may come in, how often, and with how much: networks, limits, sizes of bodies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil
from typing import Any, Final, TypeAlias

from portico.config import ResolvedRoute
from portico.config.levels import Merged
from portico.config.problems import KeyPath
from portico.policies.ip_filter import IpFilterSettings
from portico.policies.rate_limit import ByHeader, RateLimit
from portico.render.envoy.names import HTTP, ON, Filter, Names, Section, duration, typed
from portico.render.policies import policy_path

_LEAST_INTERVAL: Final = 0.05
"""Seconds in which Envoy's bucket may be filled at the soonest."""
_CLIENTS: Final = 10_000
"""Buckets that Envoy keeps at once for a limit."""
_ALWAYS: Final = {"default_value": {"numerator": 100}}


Rule: TypeAlias = tuple[str, Section, Section | None]
"""The reason for which whoever is the second part is refused, and for which requests, where it is not for all."""


def deny(rules: Iterable[Rule]) -> Section:
    """What a route says of a filter `rbac`: each policy is a rule, by its reason."""
    policies = {reason: {"permissions": [which or {"any": True}], "principals": [who]} for reason, who, which in rules}
    return typed(f"{HTTP}rbac.v3.RBACPerRoute", {"rbac": {"rules": {"action": "DENY", "policies": policies}}})


def networks(names: Names, policies: Merged) -> dict[str, Section]:
    """What a route says of the networks that clients may come from."""
    settings: IpFilterSettings | None = policies.get("ip_filter", (None, ""))[0]
    if settings is None:
        return {}
    names.filter(Filter(20, "ip_filter", typed(f"{HTTP}rbac.v3.RBAC"), "which networks clients may come from"))
    key = ("ip_filter", id(settings))
    if key not in names.known:
        strangers = [{"not_id": _any_of(settings.allow)}] if settings.allow else []
        refused = [*([_any_of(settings.deny)] if settings.deny else []), *strangers]
        who = refused[0] if len(refused) == 1 else {"or_ids": {"ids": refused}}
        names.known[key] = deny([("address_refused", who, None)])
    return {"ip_filter": names.known[key]}


def _any_of(found: Iterable[Any]) -> Section:
    ids = [{"remote_ip": {"address_prefix": str(own.network_address), "prefix_len": own.prefixlen}} for own in found]
    return ids[0] if len(ids) == 1 else {"or_ids": {"ids": ids}}


def size(names: Names, route: ResolvedRoute) -> dict[str, Section]:
    """What a route says of how large a body may be."""
    limit = names.config.gateway.limits.body_size if route.body_size is None else route.body_size
    if not limit:
        at = ("gateway", "limits", "body_size") if route.body_size is None else (*route.source, "body_size")
        names.losses.add(at, "0 is no limit that Envoy takes: 1 byte is allowed")
        limit = 1
    name = f"body_size_{limit}"
    config = typed(f"{HTTP}body_size_limit.v3.BodySizeLimit", {"max_request_bytes": limit})
    return {names.filter(Filter(70, name, config, "larger bodies are refused")): ON}


# ---- limits


def limits(names: Names, policies: Merged, route: ResolvedRoute | None) -> dict[str, Section]:
    """What a route says of how often clients may come."""
    if "rate_limit" not in policies:
        return {}
    settings, scope = policies["rate_limit"]
    if settings is None:
        return {}
    at, found = policy_path(route, scope, "rate_limit"), {}
    for index, limit in enumerate(settings if isinstance(settings, list) else [settings]):
        own_path = (*at, index) if isinstance(settings, list) else at
        bucket = _limit(names, limit, own_path, scope if index == 0 else f"{scope}_{index}")
        if bucket is None:
            continue
        after = limit.by == "consumer"
        order, kind = (135, "consumer_limit") if after else (80, "rate_limit")
        if scope.startswith("route"):
            name = kind + (f"_{index}" if index else "")
            config = typed(f"{HTTP}local_ratelimit.v3.LocalRateLimit", {"stat_prefix": name})
            names.filter(Filter(order, name, config, "how often clients may come: each route says so"))
            found[name] = bucket
        else:
            name, _ = names.once(
                (kind, scope, index), f"{kind}_{scope.replace(':', '_')}" + (f"_{index}" * bool(index))
            )
            names.filter(Filter(order, name, bucket, f"how often clients may come, by {scope.replace(':', ' ')}"))
            found[name] = ON
    return found


def _limit(names: Names, limit: RateLimit, at: KeyPath, scope: str) -> Section | None:
    if "requests_per_minute" not in limit.numbers:
        names.losses.add(at, "Envoy counts no quotas for an hour, a day or a month here")
        return None
    if getattr(limit, "cost", None) is not None:
        names.losses.add(at, "Envoy counts requests, not what responses cost")
        return None
    if not limit.enforce:
        names.losses.add(at, "a limit that refuses nothing is left out")
        return None
    by: Mapping[str, Any]
    if isinstance(limit.by, ByHeader):
        key, by = "value", {"request_headers": _value_of(limit.by.header)}
    elif limit.by == "consumer":
        key, by = "value", {"request_headers": _value_of("x-consumer-username")}
    else:
        key, by = (
            "masked_remote_address",
            {"masked_remote_address": {"v4_prefix_mask_len": 32, "v6_prefix_mask_len": 64}},
        )
    bucket = _bucket(limit)
    return typed(
        f"{HTTP}local_ratelimit.v3.LocalRateLimit",
        {
            "stat_prefix": "limit_" + "".join(each if each.isalnum() else "_" for each in scope),
            "token_bucket": bucket,
            "filter_enabled": _ALWAYS,
            "filter_enforced": _ALWAYS,
            "always_consume_default_token_bucket": False,
            "enable_retry_after_header": True,
            "max_dynamic_descriptors": _CLIENTS,
            "rate_limits": [{"actions": [by]}],
            "descriptors": [{"entries": [{"key": key}], "token_bucket": bucket}],
        },
    )


def _value_of(name: str) -> Section:
    return {"header_name": name.lower(), "descriptor_key": "value", "skip_if_absent": False}


def _bucket(limit: RateLimit) -> Section:
    """A bucket that is refilled as steadily as Envoy can: not before 50 ms have passed."""
    each = 60 / limit.requests_per_minute
    tokens = max(1, ceil(_LEAST_INTERVAL / each))
    return {"max_tokens": limit.burst, "tokens_per_fill": tokens, "fill_interval": duration(tokens * each)}
