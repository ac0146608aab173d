"""Credentials that are for the gateway alone: they do not go on to the service, nor to other policies."""

from __future__ import annotations

from collections.abc import Sequence

from portico.core.exchange import Exchange
from portico.core.fields import naming
from portico.core.query_names import removing
from portico.policies.policy import Policy, Verdict


def withholding(policy: Policy, names: Sequence[str], parameters: Sequence[str]) -> Policy:
    """A policy of authentication, behind which the request has none of these fields and parameters of its query.

    They go whatever it was that proved who asks, and fields in every spelling that a service may take for theirs.
    """
    is_gone = naming(names) if names else None
    without = removing(parameters) if parameters else None
    mark = object()

    def auth(exchange: Exchange) -> Verdict:
        verdict = policy(exchange)
        if without is not None and exchange.query:
            exchange.query = without(exchange.query)
        if is_gone is not None:
            request = exchange.request
            assert request is not None
            fields = request.fields
            if fields.edited_by is not mark:
                fields.edited, fields.edited_by = fields, mark
                if any(map(is_gone, fields.names)):
                    fields.edited = fields.changed(is_gone, ())
            if fields.edited is not fields:
                exchange.request = request.with_fields(fields.edited)
        return verdict

    return auth
