"""Requests and responses that are changed on their way, by rules: URL, method, status, fields and JSON bodies."""

from __future__ import annotations

from portico.policies.policy import Context, Hooks, Policy
from portico.policies.transform.rules import ResponseRules, depends_on_more, describe, request_policy, vary_of
from portico.policies.transform.settings import TransformSettings


def build_transform(settings: TransformSettings, context: Context) -> Policy | Hooks | None:
    """The policy, with hooks for responses where there are rules for those."""
    vary = vary_of(settings)
    requests = request_policy(settings, context.untransformed, vary)
    if not settings.response:
        return requests
    responses = ResponseRules(settings, context.untransformed)
    return Hooks(
        request=requests,
        response=responses.response,
        body=responses.body if responses.change_bodies else None,
        sees=lambda exchange: False,  # noqa: ARG005 - errors have `errors`, and answers of routes say what they say
    )


__all__ = ["TransformSettings", "build_transform", "depends_on_more", "describe"]
