"""A user's policy in the pipeline: its hooks, contained."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any, Final

from portico.core.errors import Answer, Refusal
from portico.core.exchange import Exchange
from portico.core.faults import FAULTS
from portico.policies.awaited import Awaited
from portico.policies.head import Head, ResponseEdit
from portico.policies.plugins.base import Policy
from portico.policies.plugins.view import ExchangeView, view_of
from portico.policies.policy import BodyFilter, HookFailedError, Hooks, Pending

BLOCKING: Final = 0.05
"""Seconds in a hook after which it is said to block the event loop."""


class PluginHooks:
    """One policy of a user in one snapshot.

    `name` is how it is called in answers, events and metrics. `report` is called with the hook, the exception (None for
    a timeout) and the seconds that it took, for each failure and for each call that blocked.
    """

    def __init__(
        self,
        policy: Policy,
        name: str,
        timeout: float,
        skips_failures: bool,
        report: Callable[[str, BaseException | None, float], None],
    ) -> None:
        self.policy = policy
        self.name = name
        self.timeout = timeout
        self.skips_failures = skips_failures
        self.report = report
        self.running = 0
        """How many exchanges have reached it that are not over."""
        self.idle: Callable[[], None] | None = None
        """Called once it is retired and no exchange runs any more."""
        kind = type(policy)
        self._request: Any = policy.request if kind.request is not Policy.request else None
        self._response: Any = policy.response if kind.response is not Policy.response else None
        self._body: Any = policy.body if kind.body is not Policy.body else None
        self._finished: Any = policy.finished if kind.finished is not Policy.finished else None
        self._sees_all = kind.every_answer or self._request is None

    def as_hooks(self) -> Hooks:
        """What takes part in the pipeline."""
        return Hooks(
            request=self.request if self._request is not None else self.reach,
            response=self.response if self._response is not None else None,
            body=self.body if self._body is not None else None,
            sees=self._sees,
        )

    def reach(self, exchange: Exchange) -> None:
        """The request hook of a policy that has none: it takes part in the exchange from here."""
        view_of(exchange).reached.append(self)
        self.running += 1

    def request(self, exchange: Exchange) -> Answer | Pending | None:
        """The request hook."""
        view = exchange.view
        if view is None:
            view = exchange.view = ExchangeView(exchange)
        view.reached.append(self)
        self.running += 1
        began = monotonic()
        try:
            verdict = self._request(view)
        except FAULTS as error:
            return self._failed("request", error)
        took = monotonic() - began
        if took > BLOCKING:
            self._blocked("request", took)
        if verdict is None or isinstance(verdict, Answer):
            return verdict
        if inspect.isawaitable(verdict):
            return Awaited(self._checked(verdict), asyncio.get_running_loop(), self.timeout, self._gave_up)
        return self._failed("request", _no_verdict("request", verdict))

    async def _checked(self, awaitable: Awaitable[Any]) -> Answer | None:
        verdict = await awaitable
        if verdict is None or isinstance(verdict, Answer):
            return verdict
        raise _no_verdict("request", verdict)

    def _gave_up(self, error: BaseException | None) -> Answer | None:
        return self._failed("request", error)

    def response(self, exchange: Exchange, edit: ResponseEdit) -> Answer | None:
        """The response hook."""
        began = monotonic()
        try:
            verdict = self._response(view_of(exchange), edit)
        except FAULTS as error:
            return self._failed("response", error)
        took = monotonic() - began
        if took > BLOCKING:
            self._blocked("response", took)
        if verdict is None or isinstance(verdict, Answer):
            return verdict
        return self._failed("response", _no_verdict("response", verdict))

    def body(self, exchange: Exchange, head: Head) -> BodyFilter | None:
        """The body hook. Raises HookFailedError."""
        try:
            found = self._body(view_of(exchange), head)
            if found is None:
                return None
            return _ContainedFilter(self, found.feed, found.end)
        except FAULTS as error:
            answer = self._failed("body", error)
            if answer is None:
                return None
            raise HookFailedError(answer) from None

    def finished(self, view: ExchangeView) -> None:
        """An exchange that reached it is over."""
        self.running -= 1
        if self._finished is not None:
            try:
                self._finished(view)
            except FAULTS as error:
                self.report("finished", error, 0.0)
        if self.idle is not None and not self.running:
            self._let_go()

    def retire(self, idle: Callable[[], None]) -> None:
        """No further exchange will reach it: `idle` is called when the last one is over, or now."""
        self.idle = idle
        if not self.running:
            self._let_go()

    def _let_go(self) -> None:
        idle, self.idle = self.idle, None
        if idle is not None:
            idle()

    def refusal(self) -> Refusal:
        """What a client gets where it failed."""
        detail = f"the policy {self.name} failed on this request"
        return Refusal("policy_failed", detail, members={"policy": self.name})

    def _sees(self, exchange: Exchange) -> bool:
        view = exchange.view
        return self._sees_all or (view is not None and self in view.reached)

    def _failed(self, hook: str, error: BaseException | None) -> Answer | None:
        self.report(hook, error, self.timeout if error is None else 0.0)
        return None if self.skips_failures else self.refusal()

    def _blocked(self, hook: str, seconds: float) -> None:
        self.report(hook, BlockingIOError(), seconds)


class _ContainedFilter:
    """A user's filter: what it raises, or returns that is no bytes, ends the body."""

    __slots__ = ("_end", "_feed", "_hooks")

    def __init__(self, hooks: PluginHooks, feed: Callable[[bytes], bytes], end: Callable[[], bytes]) -> None:
        self._hooks = hooks
        self._feed = feed
        self._end = end

    def feed(self, data: bytes) -> bytes:
        try:
            return _as_bytes(self._feed(data))
        except FAULTS as error:
            raise self._failure(error) from None

    def end(self) -> bytes:
        try:
            return _as_bytes(self._end())
        except FAULTS as error:
            raise self._failure(error) from None

    def _failure(self, error: BaseException) -> HookFailedError:
        self._hooks.report("body", error, 0.0)
        return HookFailedError(self._hooks.refusal())


def _as_bytes(data: Any) -> bytes:
    if type(data) is bytes:
        return data
    if isinstance(data, (bytearray, memoryview)):
        return bytes(data)
    raise TypeError(f"a filter returns bytes, not {type(data).__name__}")


def _no_verdict(hook: str, value: Any) -> TypeError:
    if inspect.iscoroutine(value):
        value.close()
        return TypeError(f"{hook}() is async, which only request(), open() and close() may be")
    return TypeError(f"{hook}() returned {type(value).__name__}: return nothing, answer(…) or refuse(…)")
