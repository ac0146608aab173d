"""The policies, in the fixed order in which every request passes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from portico.policies.auth import AuthSettings, build_auth
from portico.policies.authorize import AuthorizeSettings, build_authorize
from portico.policies.cors import CorsSettings, build_cors
from portico.policies.counters.shared_buckets import BucketTable
from portico.policies.counters.shared_limits import SharedLimits
from portico.policies.headers import HeadersSettings, build_before_all, build_behind_auth
from portico.policies.identity import IdentitySettings, build_identity
from portico.policies.policy import Chain, Context, Hooks, Pending, Policy, State
from portico.policies.rate_limit import RateLimitSettings, build_after_auth, build_before_auth
from portico.policies.rewriting import RewriteCookiesSettings, RewriteLocationSettings, build_nothing


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the order: its configuration key, its settings, and what builds the policy from them.

    One that `marks` belongs to every response: a refusal that comes before all policies passes it too.
    """

    key: str
    settings: Any
    build: Callable[[Any, Context], Policy | Hooks | None]
    marks: bool = False


STEPS: Final = (
    Step("headers", HeadersSettings, build_before_all, marks=True),
    Step("cors", CorsSettings, build_cors, marks=True),
    Step("rate_limit", RateLimitSettings, build_before_auth),
    Step("auth", AuthSettings, build_auth),
    Step("headers", HeadersSettings, build_behind_auth),
    Step("authorize", AuthorizeSettings, build_authorize),
    Step("rate_limit", RateLimitSettings, build_after_auth),
    Step("identity", IdentitySettings, build_identity),
    Step("rewrite_location", RewriteLocationSettings, build_nothing),
    Step("rewrite_cookies", RewriteCookiesSettings, build_nothing),
)

POLICY_SETTINGS: Final[dict[str, Any]] = {step.key: step.settings for step in STEPS}
"""What each key under `policies` holds."""

ON_BY_DEFAULT: Final = frozenset({"rewrite_location", "rewrite_cookies"})
"""The policies that are on where nothing is said about them."""

GATEWAY_KEYS: Final = frozenset({"cors", "headers", "rate_limit"})
"""The policies that also hold for the gateway's own endpoints, which must stay reachable without a token."""


def build_chain(
    settings: Mapping[str, tuple[Any, str]],
    state: State,
    consumers: Mapping[str, Any],
    shared: SharedLimits | None = None,
    table: BucketTable | None = None,
    *,
    marks: bool = False,
) -> Chain:
    """The policies of one route, compiled; `settings` maps keys to validated settings and the scope of those.

    With `marks`, only those that every response passes.
    """
    chain: list[Policy | Hooks] = []
    for step in STEPS:
        written, scope = settings.get(step.key, (None, ""))
        if written is not None and step.marks >= marks:
            policy = step.build(written, Context(scope, state, consumers, shared, table))
            if policy is not None:
                chain.append(policy)
    return Chain.of(chain)


# fmt: off
__all__ = [
    "GATEWAY_KEYS", "ON_BY_DEFAULT", "POLICY_SETTINGS", "STEPS", "Chain", "Context", "Hooks", "Pending", "Policy",
    "State", "Step", "build_chain",
]
# fmt: on
