"""What follows the policies: a permit of the service's limit, a place in its queue, and what becomes of a failure."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from portico.core.errors import Refusal
from portico.core.exchange import Exchange
from portico.proxy.answer import send_answer
from portico.proxy.routing.route import Forward
from portico.proxy.waiting import WaitingForPermit
from portico.upstreams.limit import Limit

logger: Final = logging.getLogger("portico.gateway")

SOON: Final = (b"Retry-After: 1",)


def admit(exchange: Exchange, forwarding: Forward, loop: asyncio.AbstractEventLoop) -> None:
    """6. Forward, within the limit of the service."""
    limit = forwarding.service.limit
    if limit is None or limit.enter():
        forwarding.start()
    else:
        queue(exchange, forwarding, limit, loop)


def queue(exchange: Exchange, forwarding: Forward, limit: Limit, loop: asyncio.AbstractEventLoop) -> None:
    """Wait for a permit of the service's limit, if its queue has room."""
    if getattr(exchange, "is_exempt", False):
        limit.enter_anyway()
        forwarding.start()
        return
    detail = f"{forwarding.service.name} has too much to do; try again soon"
    refusal = Refusal("overloaded", detail, SOON, proxy_error="connection_limit_reached")
    waiting = WaitingForPermit(exchange, limit, forwarding, refusal, fail)
    if not waiting.begin(loop):
        forwarding.answer(refusal)


def fail(exchange: Exchange) -> None:
    """A bug, ours or a policy's, which is being handled: only this exchange fails."""
    logger.exception("an exchange failed", extra={"request_id": exchange.request_id})
    if exchange.status:  # its response has begun, or is over
        exchange.stream.abort("internal_error")
    else:
        send_answer(exchange, Refusal("internal_error", "the gateway failed on this request"))
