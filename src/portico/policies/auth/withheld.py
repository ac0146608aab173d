"""Credentials that are for the gateway alone: they do not go on to the service, nor to other policies."""

from __future__ import annotations

from collections.abc import Sequence

from portico.core.exchange import Exchange
from portico.core.fields import plain_name
from portico.core.messages import Fields
from portico.core.query_names import removing
from portico.policies.policy import Policy, Verdict


def withholding(policy: Policy, names: Sequence[str], parameters: Sequence[str]) -> Policy:
    """A policy of authentication, behind which the request has none of these fields and parameters of its query.

    They go whatever it was that proved who asks, and fields in every spelling that a service may take for theirs.
    """
    gone = frozenset(plain_name(name.lower().encode()) for name in names)
    without = removing(parameters) if parameters else None
    mark = object()

    def rest(fields: Fields) -> Fields:
        if not any(plain_name(name) in gone for name in fields.names):
            return fields
        return fields.changed(lambda name: plain_name(name) in gone, ())

    def auth(exchange: Exchange) -> Verdict:
        verdict = policy(exchange)
        if without is not None and exchange.query:
            exchange.query = without(exchange.query)
        if gone:
            request = exchange.request
            assert request is not None
            fields = request.fields
            if fields.edited_by is not mark:
                fields.edited, fields.edited_by = rest(fields), mark
            if fields.edited is not fields:
                exchange.request = request.changed(fields=fields.edited)
        return verdict

    return auth
