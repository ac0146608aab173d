"""How large a request's body may be on a route that says so itself: the last policy of its requests."""

from __future__ import annotations

from portico.core.errors import Answer, Refusal
from portico.core.exchange import Exchange
from portico.policies.policy import Policy


def body_limit(size: int) -> Policy:
    """The policy: refuses a body of more than `size` bytes, one of unknown length as soon as it has more."""

    def limit_body(exchange: Exchange) -> Answer | None:
        request = exchange.request
        assert request is not None
        if request.framing:
            if request.framing > size or exchange.stream.bytes_in > size:
                return Refusal("body_too_large", f"the body is larger than {size} bytes")
            exchange.stream.body_limit = size
        return None

    return limit_body
