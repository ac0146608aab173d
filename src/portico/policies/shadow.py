"""Limits that are not enforced: they count, and what they would refuse is reported, and passes."""

from __future__ import annotations

from portico.core.errors import Answer, Refusal
from portico.core.exchange import Exchange
from portico.observe.families import Counter
from portico.policies.policy import Pending, Policy


class Shadow:
    """Limits that are not enforced, around the policy that checks them."""

    def __init__(self, check: Policy, shadowed: Counter | None) -> None:
        self._check = check
        self._shadowed = shadowed

    def check(self, exchange: Exchange) -> Answer | Pending | None:
        """The policy."""
        verdict = self._check(exchange)
        if isinstance(verdict, Pending):
            return _ShadowVerdict(self, exchange, verdict)
        if isinstance(verdict, Answer):
            self.note(exchange, verdict)
        return None

    def note(self, exchange: Exchange, refusal: Answer) -> None:
        """Report what would have been refused: by which limit, or for which other reason."""
        limit = refusal.limit if isinstance(refusal, Exceeded) else str(refusal.reason)
        exchange.shadow = limit if exchange.shadow is None else f"{exchange.shadow},{limit}"
        if self._shadowed is not None:
            self._shadowed.inc(service=exchange.match.handling.service_name, limit=limit)


class _ShadowVerdict(Pending):
    """The verdict of limits in Redis that are not enforced."""

    __slots__ = ("exchange", "pending", "shadow")

    def __init__(self, shadow: Shadow, exchange: Exchange, pending: Pending) -> None:
        self.shadow = shadow
        self.exchange = exchange
        self.pending: Pending | None = pending
        pending.settle = self.settled

    def settled(self, verdict: Answer | None) -> None:
        """It has come."""
        self.pending = None  # a reference cycle, as in whoever waits for this one
        if verdict is not None:
            self.shadow.note(self.exchange, verdict)
        self.settle(None)

    def cancel(self) -> None:
        pending, self.pending = self.pending, None
        if pending is not None:
            pending.cancel()


class Exceeded(Refusal):
    """The refusal of one limit."""

    __slots__ = ("limit",)

    def __init__(self, limit: str, detail: str, wait: int) -> None:
        super().__init__("rate_limited", detail, (b"Retry-After: %d" % wait,))
        self.limit = limit
