"""Forwarding on a route with `failover`: another service is asked in place of one that fails; other routes pay nothing.

A request goes down a list, which only gets shorter, and changes its service only while nothing of a response has gone
to the client and all of its body is still kept.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final, TypeVar

from portico.core.errors import Answer
from portico.core.exchange import RouteMatch
from portico.core.messages import ResponseHead
from portico.observe.families import Counter
from portico.proxy.forward import Forwarding
from portico.wire.deadlines import NEVER

AnyForwarding = TypeVar("AnyForwarding", bound=Forwarding)

_CONNECT: Final = "connect"
_CAUSES: Final = {
    "upstream_dns": _CONNECT,
    "upstream_tls": _CONNECT,
    "upstream_refused": _CONNECT,
    "no_healthy_upstream": _CONNECT,
    "circuit_open": _CONNECT,
    "overloaded": _CONNECT,
    "upstream_timeout": "timeout",
    "upstream_reset": "reset",
    "upstream_malformed": "reset",
}
"""What each reason of the gateway's own answers is a failure of; all others are no failure of the service."""
_LOWEST: Final = 400


class FailingOver(Forwarding):
    """Mixed into the forwarding that a route has, before it."""

    others: Sequence[RouteMatch] | None = None
    """The matches of the services that are still to be asked; None before the first has failed."""
    has_begun = False
    history: tuple[str, ...] = ()
    """Which services have failed, and why."""
    failovers: Counter
    """Counts requests that were sent on; set in the class that the route has."""

    def start(self) -> None:
        self.has_begun = True
        super().start()

    def response_whole(self, head: ResponseHead, content: bytes, now: float) -> bool:
        """7. Step by step where another service may be asked, so that the response can be left."""
        if head.status >= _LOWEST and self._next(head.status) is not None:
            return False
        return super().response_whole(head, content, now)

    def accept(self, head: ResponseHead, now: float) -> None:
        """7. The response, unless another service is to give one in its place."""
        index = self._next(head.status) if head.status >= _LOWEST else None
        if index is None:
            super().accept(head, now)
        else:
            self._ask(index, head.status, f"the service answered {head.status}")

    def answer(self, answer: Answer) -> None:
        """End the exchange with an answer of the gateway's own, unless there is a service that is not its cause."""
        cause = _CAUSES.get(str(answer.reason))
        if cause == "timeout" and answer.proxy_error == "connection_timeout":
            cause = _CONNECT
        if cause is not None and not self.over:
            known = self.exchange.upstream_error
            why = known if known and known != "; ".join(self.history) else str(answer.reason)
            index = self._next(cause)
            if index is not None:
                self._ask(index, cause, why)
                return
            if self.history:
                self.exchange.upstream_error = "; ".join((*self.history, f"{self.service.name}: {why}"))
        super().answer(answer)

    def _next(self, cause: str | int) -> int | None:
        """The index of the next service that takes a request over from one that failed so."""
        if not self.replayable or self.stream.response_started or self.upgrade or not self._has_its_body():
            return None
        now = time.monotonic()
        for index, match in enumerate(self._others):
            handling = match.handling
            takes_over, total, limit = handling.takes_over, handling.timeouts.total, handling.service.limit
            if (
                cause in takes_over.causes
                and self.kept_size <= takes_over.max_body
                and (NEVER if total is None else self.exchange.started + total) > now
                and (limit is None or (limit.running < limit.most and not limit.waiting))
            ):
                return index
        return None

    @property
    def _others(self) -> Sequence[RouteMatch]:
        return self.exchange.match.sides[1:] if self.others is None else self.others

    def _has_its_body(self) -> bool:
        """Whether what has come of the body is here, and not with what waited for a permit."""
        return self.has_begun or self.body_done

    def _ask(self, index: int, cause: str | int, why: str) -> None:
        """8. Send the request to a service in place of the one that has failed."""
        exchange, failed, others = self.exchange, self.service, self._others
        match, self.others = others[index], others[index + 1 :]
        handling = match.handling
        self._end_hedge()
        self.drop()
        if self.has_begun and failed.limit is not None:
            self._leave_service(failed.limit)
        if handling.service.limit is not None:
            handling.service.limit.enter()  # there is a permit: see `_next`
        self.history += (f"{failed.name}: {why}",)
        exchange.upstream_error = "; ".join(self.history)
        self.failovers.inc(service=failed.name, to=handling.service.name, cause=cause)
        exchange.match, self.handling, self.service = match, handling, handling.service
        self.tried, self.retries, self.fresh_only, self.sent_at = (), 0, False, 0.0
        if self.has_begun:
            self.service.budget.requests += 1
            self._try_instance()
        else:
            self.start()


def failing_over(kind: type[AnyForwarding], counter: Counter, replay_limit: int) -> type[Any]:
    """A kind of forwarding that also asks other services; bodies are kept up to `replay_limit` bytes for them."""
    own = {"failovers": counter, "replay_limit": replay_limit}
    return type(f"FailingOver{kind.__name__}", (FailingOver, kind), own)
