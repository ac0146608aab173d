"""Whether a request that was let through would be let through again: what a changed configuration takes from those who
are still connected.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from enum import Enum
from typing import Final

from portico.core.errors import Answer, MessageError, Refusal
from portico.core.exchange import Exchange, RouteMatch, Stream
from portico.core.messages import RequestHead
from portico.policies.policy import Guards, Pending, Policy, Verdict, WholeBody
from portico.proxy.gateway import Gateway, Snapshot

_TIMEOUT: Final = 10.0
"""Seconds that a policy has for its verdict when it is asked again."""
_PAUSES: Final = (1.0, 2.0, 4.0)
"""Seconds after which a policy that had too much to do is asked again."""


class Right(Enum):
    """What has become of the right to go on."""

    KEPT = "the request would be let through"
    LOST = "it would be refused, or has no route"
    UNKNOWN = "a policy has changed that only sees requests that begin"


def guards_of(snapshot: Snapshot, request: RequestHead) -> tuple[RouteMatch, Guards] | None:
    """What guards the service that a request gets to; None where it gets to none."""
    try:
        match = snapshot.matcher.find(request, request.target.partition(b"?")[0])
        if not isinstance(match, Answer) and match.versions is not None:
            match, unknown = match.versions.of(request)
            if unknown is not None:
                return None
    except MessageError:
        return None
    if isinstance(match, Answer) or match.handling is None:
        return None
    return match, match.handling.guards


async def right_of(
    gateway: Gateway,
    running: Exchange,
    stream: Stream,
    request: RequestHead,
    before: Snapshot,
    turns: asyncio.Semaphore,
) -> Right:
    """What the gateway's snapshot leaves of the right that a `running` exchange had by the one `before`.

    Only those policies are asked that are others than before: who it was that came in stands, and so does a proof that
    was good for a moment. One that cannot answer refuses. A verdict that does not come at once is waited for in one of
    the `turns`.
    """
    found, known = guards_of(gateway.snapshot, request), guards_of(before, request)
    if found is None:
        return Right.LOST
    match, guards = found
    had = known[1] if known is not None else Guards()
    if guards is had or (guards.settings, guards.others) == (had.settings, had.others):
        return Right.KEPT
    changed = {key for key, settings in guards.settings.items() if had.settings.get(key) != settings}
    if changed:
        exchange = gateway.probe(stream, request)
        exchange.match = match
        exchange.consumer, exchange.scopes = running.consumer, running.scopes
        exchange.claims_or_token = running.claims_or_token
        if "auth" in changed or "auth" not in guards.settings:
            exchange.consumer, exchange.scopes, exchange.claims_or_token = None, (), None
        for key, policy in guards.policies:
            if key in changed and await _verdict(policy, exchange, turns) is not None:
                return Right.LOST
    return Right.UNKNOWN if guards.others != had.others else Right.KEPT


async def _verdict(policy: Policy, exchange: Exchange, turns: asyncio.Semaphore) -> Answer | None:
    """What a policy says; asked again where it has too much to do, which is no word about the request."""
    for pause in _PAUSES:
        answer = await _answer(policy, exchange, turns)
        if not isinstance(answer, Refusal) or answer.reason != "overloaded":
            return answer
        await asyncio.sleep(pause)
    return await _answer(policy, exchange, turns)


async def _answer(policy: Policy, exchange: Exchange, turns: asyncio.Semaphore) -> Answer | None:
    verdict: Verdict = policy(exchange)
    if verdict is None or isinstance(verdict, Answer | WholeBody):
        return verdict if isinstance(verdict, Answer) else None
    coming = _settled(verdict) if isinstance(verdict, Pending) else verdict
    try:
        async with turns, asyncio.timeout(_TIMEOUT):
            return await coming
    except TimeoutError:
        return Answer(503)


def _settled(pending: Pending) -> Awaitable[Answer | None]:
    future: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()

    def settle(answer: Answer | None) -> None:
        if not future.done():
            future.set_result(answer)

    pending.settle = settle
    future.add_done_callback(lambda done: pending.cancel() if done.cancelled() else None)
    return future
