"""Requests and responses that are changed on their way, by rules: URL, method, status, fields and JSON bodies."""

from __future__ import annotations

from portico.core.exchange import Exchange
from portico.policies.policy import Context, Hooks, Policy, Verdict
from portico.policies.transform.accepting import accept_readable
from portico.policies.transform.rules import (
    ResponseRules,
    consumer_fields,
    depends_on_more,
    describe,
    request_policy,
    vary_of,
)
from portico.policies.transform.settings import TransformSettings


def build_transform(settings: TransformSettings, context: Context) -> Policy | Hooks | None:
    """The policy, with hooks for responses where there are rules for those."""
    vary = vary_of(settings)
    requests = request_policy(settings, context.untransformed, vary)
    if not settings.response:
        return requests
    responses = ResponseRules(settings, context.untransformed)
    if responses.change_bodies:
        requests = _reading(requests)
    return Hooks(
        request=requests,
        response=responses.response,
        body=responses.body if responses.change_bodies else None,
        sees=lambda exchange: False,  # noqa: ARG005 - errors have `errors`, and answers of routes say what they say
    )


def _reading(policy: Policy | None) -> Policy | None:
    """The same policy, for a route whose rules read responses."""
    if policy is None:
        return accept_readable

    def transform(exchange: Exchange) -> Verdict:
        accept_readable(exchange)
        return policy(exchange)

    return transform


__all__ = ["TransformSettings", "build_transform", "consumer_fields", "depends_on_more", "describe"]
