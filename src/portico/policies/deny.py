"""Requests that are refused for what they are: bots and scanners, clients that are too old."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeAlias

from pydantic import BeforeValidator, StringConstraints

from portico.core.errors import Answer, Refusal
from portico.core.exchange import Exchange
from portico.core.settings import Settings
from portico.policies.policy import Context, Policy
from portico.policies.when import Check, When, check_of

_REFUSAL = Refusal("request_denied", "requests of this kind are not accepted here")
"""It does not say which rule it was: who is to stay out would know what to change."""


class DenyRule(Settings):
    """Requests that are refused: those that `when` is for. `name` is what metrics call them, else the rule's index."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)] | None = None
    """What `gateway_denied_total` calls it; clients are not told."""
    when: When
    """Which requests are refused."""

    @property
    def needs_identity(self) -> bool:
        """Whether it asks who it is, which is known behind `auth`."""
        return self.when.consumer is not None or bool(self.when.claims)


def _no_list(value: object) -> object:
    """`true` where no level above has a list."""
    return [] if value == {} else value


DenyRules: TypeAlias = Annotated[list[DenyRule], BeforeValidator(_no_list, json_schema_input_type=list[DenyRule])]


def build_deny(rules: Sequence[DenyRule], context: Context) -> Policy | None:
    """The policy of the rules that ask nothing of the consumer: refuses with 403."""
    return _build(rules, context, needs_identity=False)


def build_deny_behind_auth(rules: Sequence[DenyRule], context: Context) -> Policy | None:
    """The same of the others."""
    return _build(rules, context, needs_identity=True)


def _build(rules: Sequence[DenyRule], context: Context, *, needs_identity: bool) -> Policy | None:
    checks: list[tuple[Check, str]] = []
    for index, rule in enumerate(rules):
        check = check_of(rule.when)
        if rule.needs_identity == needs_identity and check is not None:
            checks.append((check, rule.name or str(index)))
    if not checks:
        return None
    denied = context.denied

    def deny(exchange: Exchange) -> Answer | None:
        for check, name in checks:
            if check(exchange):
                if denied is not None:
                    denied.inc(service=exchange.match.handling.service_name, rule=name)
                return _REFUSAL
        return None

    return deny
