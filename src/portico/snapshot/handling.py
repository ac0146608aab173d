"""What a route's policies are in its handling: how its messages are composed, forwarded and rewritten."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from portico.policies import Chain, Hooks
from portico.policies.error_pages import ErrorPages, PageSettings
from portico.policies.headers import RequestChanges, request_changes, response_changes
from portico.policies.maintenance import MaintenanceSettings, refuse_in_maintenance
from portico.policies.policy import ResponseHooks
from portico.policies.rewriting import RewriteCookiesSettings, RewriteLocationSettings
from portico.proxy.compose import (
    editing,
    request_head,
    response_lines,
    with_attempt_lines,
    with_changes,
    with_edits,
)
from portico.proxy.filtered import FilteredForwarding
from portico.proxy.forward import Forwarding
from portico.proxy.hooked import HookedForwarding
from portico.proxy.routing.route import Compose, Rewriting
from portico.proxy.traced import with_trace


def parts_of(
    chain: Chain,
    written: Mapping[str, tuple[Any, str]],
    pages: ErrorPages | None = None,
    *,
    is_own: bool = False,
    traces: bool = False,
) -> dict[str, Any]:
    """The fields of a `Handling` that policies decide. Routes without hooks for responses pay nothing for them.

    `is_own` says that the route is an endpoint of the gateway's own, which gets no fields changed; `traces`, that
    some of its exchanges have spans.
    """
    headers, _ = written.get("headers", (None, ""))
    requests = request_changes(headers) if headers is not None and not is_own else None
    responses = response_changes(headers) if headers is not None else None
    hooks = chain.response_hooks
    return {
        "policies": chain.requests,
        "guards": chain.guards,
        "marks": chain.marks,
        "holds": chain.holds,
        "response_hooks": hooks,
        "pages": pages,
        "compose": _compose(chain, requests, traces=traces),
        "response_lines": response_lines if responses is None else editing(responses),
        "forward": Forwarding if hooks is None else FilteredForwarding if hooks.bodies else HookedForwarding,
    }


def sticking(parts: Mapping[str, Any], hooks: Hooks) -> dict[str, Any]:
    """The same fields for a sticky service: its hooks stand nearest to it, behind all policies."""
    assert hooks.response is not None
    others = parts["response_hooks"] or ResponseHooks(())
    return {
        **parts,
        "policies": parts["policies"] if hooks.request is None else (*parts["policies"], hooks.request),
        "response_hooks": others.behind(hooks.response, hooks.sees),
        "forward": HookedForwarding if parts["forward"] is Forwarding else parts["forward"],
    }


def in_maintenance(
    parts: Mapping[str, Any],
    settings: MaintenanceSettings,
    errors: Mapping[str, PageSettings | None],
    texts: Mapping[str, str],
) -> dict[str, Any]:
    """The same fields for a service in maintenance: only what marks every response comes before the refusal."""
    refused = {**parts, "policies": (*parts["marks"], refuse_in_maintenance(settings))}
    if settings.forms:
        own = (errors.get("503") or PageSettings()).model_copy(update=settings.forms)
        refused["pages"] = ErrorPages({**errors, "503": own}, texts)
    return refused


def _compose(chain: Chain, changes: RequestChanges | None, *, traces: bool) -> Compose:
    """How heads are composed for the service: what policies do about them, the last of it around all other."""
    compose: Compose = with_trace(request_head) if traces else request_head
    if chain.attempts:
        compose = with_attempt_lines(compose, chain.attempts)
    if changes is not None:
        compose = with_changes(compose, changes)
    if chain.edits_requests:
        compose = with_edits(compose)
    return compose


def rewriting_of(
    location: RewriteLocationSettings | None,
    cookies: RewriteCookiesSettings | None,
    is_public: Callable[[bytes, bytes], bool],
) -> Rewriting:
    """What is rewritten in responses; None for settings is off."""
    path, domain = (cookies.path, cookies.domain) if cookies is not None else ("off", "off")
    own_domain = None if domain == "off" else b"" if domain == "auto" else domain.encode()
    return Rewriting(is_public, location is not None, path == "auto", own_domain)
