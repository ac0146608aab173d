"""The policy: it puts itself between the gateway and the client before anything else sees the request."""

from __future__ import annotations

from portico.core.exchange import Exchange
from portico.policies.compress.counts import CodedForms, Counts
from portico.policies.compress.negotiation import NOTHING, choose
from portico.policies.compress.rules import Rules, forbids
from portico.policies.compress.settings import CompressSettings
from portico.policies.compress.stream import CompressingStream
from portico.policies.compress.tags import CONDITIONS, with_known_tags, without_dated_range
from portico.policies.policy import Context, Policy


def build_compress(settings: CompressSettings, context: Context) -> Policy:
    """The policy that compresses responses for clients that take them so."""
    rules = Rules(settings)
    forms: CodedForms = context.state.keep("coded forms", CodedForms)
    counts = Counts(context.compressed, forms)

    def compress(exchange: Exchange) -> None:
        request = exchange.request
        assert request is not None
        fields = request.fields
        choice = choose(fields.get(b"accept-encoding"), rules.offered)
        if b"cache-control" in fields.names and forbids(fields.all(b"cache-control")):
            choice = NOTHING
        request_seen, known = with_known_tags(request) if not CONDITIONS.isdisjoint(fields.names) else (request, {})
        if choice.coding is not None and b"if-range" in fields.names:
            request_seen = without_dated_range(request_seen)
        exchange.request = request_seen
        CompressingStream(exchange, rules, choice, known, counts)

    return compress
