"""The policies, in the fixed order in which every request passes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from portico.core.consumers import Consumers
from portico.observe.families import Counter
from portico.policies.auth import AuthSettings, build_auth, missing_credentials
from portico.policies.authorize import AuthorizeSettings, build_authorize, build_operations
from portico.policies.cache import CacheSettings
from portico.policies.compress import CompressSettings, build_compress
from portico.policies.cors import CorsSettings, build_cors
from portico.policies.counters.shared_buckets import BucketTable
from portico.policies.counters.shared_limits import SharedLimits
from portico.policies.decompress import DecompressSettings, build_decompress
from portico.policies.deny import DenyRules, build_deny, build_deny_behind_auth
from portico.policies.error_pages import ErrorPages, ErrorsSettings
from portico.policies.headers import HeadersSettings, build_before_all, build_behind_auth
from portico.policies.identity import IdentitySettings, build_identity
from portico.policies.ip_filter import IpFilterSettings, build_ip_filter
from portico.policies.mcp import McpSettings, build_first_contact, build_mcp
from portico.policies.plugins.lifecycle import Placed, PluginSet
from portico.policies.plugins.settings import PluginList
from portico.policies.policy import Chain, Context, Guards, Hooks, Pending, Policy, State
from portico.policies.rate_limit import (
    RateLimitSettings,
    build_after_auth,
    build_before_auth,
    build_cost_fields,
    build_shadow_after_auth,
    build_shadow_before_auth,
    without_costs,
)
from portico.policies.rewriting import RewriteCookiesSettings, RewriteLocationSettings
from portico.policies.transform import TransformSettings, build_transform
from portico.policies.validate import ValidateSettings, build_validate


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the order: its configuration key, its settings, and what builds the policy from them.

    One that `marks` belongs to every response: a refusal that comes before all policies passes it too. One that is a
    `rest` is no place before or behind which plugins stand: that is where the key is first. One that `guards` looks at
    nothing but who asks for what, and counts nothing: it may be asked again.
    """

    key: str
    settings: Any
    build: Callable[[Any, Context], Policy | Hooks | None]
    marks: bool = False
    rest: bool = False
    guards: bool = False


STEPS: Final = (
    Step("compress", CompressSettings, build_compress, marks=True),
    Step("headers", HeadersSettings, build_before_all, marks=True),
    Step("ip_filter", IpFilterSettings, build_ip_filter, guards=True),
    Step("deny", DenyRules, build_deny, guards=True),
    Step("cors", CorsSettings, build_cors, marks=True, guards=True),
    Step("mcp", McpSettings, build_first_contact),
    Step("rate_limit", RateLimitSettings, build_before_auth),
    Step("rate_limit", RateLimitSettings, build_shadow_before_auth),
    Step("auth", AuthSettings, build_auth, guards=True),
    Step("deny", DenyRules, build_deny_behind_auth, guards=True),
    Step("headers", HeadersSettings, build_behind_auth),
    Step("authorize", AuthorizeSettings, build_authorize, guards=True),
    Step("rate_limit", RateLimitSettings, build_after_auth),
    Step("rate_limit", RateLimitSettings, build_shadow_after_auth),
    Step("rate_limit", RateLimitSettings, build_cost_fields, rest=True),
    Step("identity", IdentitySettings, build_identity),
    Step("decompress", DecompressSettings, build_decompress),
    Step("transform", TransformSettings, build_transform),
    Step("authorize", AuthorizeSettings, build_operations, rest=True),
    Step("mcp", McpSettings, build_mcp, rest=True),
    Step("validate", ValidateSettings, build_validate),
)

POLICY_SETTINGS: Final[dict[str, Any]] = {
    **{step.key: step.settings for step in STEPS},
    "rewrite_location": RewriteLocationSettings,
    "rewrite_cookies": RewriteCookiesSettings,
    "cache": CacheSettings,
    "errors": ErrorsSettings,
    "plugins": PluginList,
}
"""What each key under `policies` holds."""

ON_BY_DEFAULT: Final = frozenset({"rewrite_location", "rewrite_cookies"})
"""The policies that are on where nothing is said about them."""

_BEGUN_ANEW: Final = ("mcp", "plugins", "validate")
"""Policies that may refuse, and that nobody can ask again about a request that they have seen."""

GATEWAY_KEYS: Final = frozenset({"compress", "cors", "deny", "errors", "headers", "ip_filter", "plugins", "rate_limit"})
"""The policies that also hold for the gateway's own endpoints, which must stay reachable without a token.

Of plugins these are the ones that say so themselves.
"""


Made: TypeAlias = Callable[[str, str, "Policy | Hooks"], "Policy | Hooks"]
"""What becomes of a policy that is built, with its key and the scope of its settings."""


def build_chain(
    settings: Mapping[str, tuple[Any, str]],
    state: State,
    consumers: Mapping[str, Any],
    shared: SharedLimits | None = None,
    table: BucketTable | None = None,
    plugins: PluginSet | None = None,
    shadowed: Counter | None = None,
    pages: ErrorPages | None = None,
    untransformed: Counter | None = None,
    compressed: tuple[Counter, Counter] | None = None,
    *,
    denied: Counter | None = None,
    costs: Counter | None = None,
    directory: Consumers = Consumers(),  # noqa: B008 - it is immutable
    is_own: bool = False,
    made: Made = lambda key, scope, policy: policy,  # noqa: ARG005
) -> Chain:
    """The policies of one route, compiled; `settings` maps keys to validated settings and the scope of those.

    `plugins` are users' policies that are open, `pages` are compiled already. `is_own` says that the route is an
    endpoint of the gateway's own. `made` gives what takes the place of a policy.
    """
    placed = plugins.by_scope.get(settings["plugins"][1], []) if plugins and "plugins" in settings else []
    if is_own:
        placed = [each for each in placed if each.hooks.policy.own_endpoints]
    slots = _slots(placed)
    intercepting = pages.hooks if pages is not None and not is_own else None
    chain: list[Policy | Hooks] = [] if intercepting is None else [intercepting]
    marks: list[Policy | Hooks] = []
    guards: list[tuple[str, Policy]] = []
    missing = missing_credentials(settings["auth"][0]) if "auth" in settings else None
    for step, before in zip(STEPS, slots, strict=False):
        chain += before
        if step.key in settings:
            written, scope = settings[step.key]
            if is_own and step.key == "rate_limit":
                written = without_costs(written)
            counted = shadowed, untransformed, compressed
            own = *counted, denied, costs, directory, missing, _added(settings), "mcp" in settings
            policy = step.build(written, Context(scope, state, consumers, shared, table, *own))
            if policy is not None:
                policy = made(step.key, scope, policy)
                chain.append(policy)
                if step.marks:
                    marks.append(policy)
                request = policy.request if isinstance(policy, Hooks) else policy
                if step.guards and request is not None:
                    guards.append((step.key, request))
    chain += slots[-1]
    return Chain.of(chain, marks, _guards(guards, settings, directory))


def _guards(
    policies: Sequence[tuple[str, Policy]], settings: Mapping[str, tuple[Any, str]], directory: Consumers
) -> Guards:
    """What can be asked again of the policies of a route, and by what it differs from another."""
    written: dict[str, object] = {key: settings[key][0] for key, _ in policies}
    others: list[object] = [(key, settings[key][0]) for key in _BEGUN_ANEW if key in settings]
    if "authorize" in settings and (authorize := settings["authorize"][0]).reads_document:
        others.append((authorize.operations, authorize.openapi, authorize.unknown))
    if "auth" in settings and settings["auth"][0].knows_consumers:
        written["auth"] = settings["auth"][0], directory
    return Guards(tuple(policies), written, tuple(others))


def _added(settings: Mapping[str, tuple[Any, str]]) -> frozenset[bytes] | None:
    """The names of the fields that policies add to requests, in lower case; None where nobody knows."""
    if "plugins" in settings:
        return None
    headers, _ = settings.get("headers", (None, ""))
    auth, _ = settings.get("auth", (None, ""))
    names = [] if headers is None else [*headers.request.set, *headers.request.add, *headers.request.remove]
    names += [] if auth is None else auth.withheld_fields
    return frozenset(name.lower().encode() for name in names)


def _slots(placed: Sequence[Placed]) -> list[list[Hooks]]:
    """What comes before each step, and, last, what follows them all; a step in two places has two plugins around it."""
    slots: list[list[Hooks]] = [[] for _ in range(len(STEPS) + 1)]
    keys = ["" if step.rest else step.key for step in STEPS]
    for settings, hooks in placed:
        index = len(STEPS)
        if settings.before is not None:
            index = keys.index(settings.before)
        elif settings.after is not None:
            index -= keys[::-1].index(settings.after)
        slots[index].append(hooks.as_hooks())
    return slots


# fmt: off
__all__ = [
    "GATEWAY_KEYS", "ON_BY_DEFAULT", "POLICY_SETTINGS", "STEPS", "Chain", "Context", "Hooks", "Made", "Pending",
    "Policy", "State", "Step", "build_chain",
]
# fmt: on
