"""A user's policy in the pipeline: its hooks, contained.

They may raise anything, SystemExit and KeyboardInterrupt too (a library that parses arguments does): to end the process
is not theirs. Ctrl-C is not lost by this, as workers ignore SIGINT.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from functools import partial
from time import monotonic
from typing import Any, Final

from portico.core.errors import Answer, Refusal
from portico.core.exchange import Exchange
from portico.policies.awaited import Awaited
from portico.policies.head import Head, ResponseEdit
from portico.policies.plugins.base import Policy, RefusedError
from portico.policies.plugins.steps import TimedSteps
from portico.policies.plugins.view import ExchangeView, finish, hold, view_of
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
        """How many exchanges may still call one of its hooks."""
        self.idle: Callable[[], None] | None = None
        """Called once it is retired and no exchange runs any more."""
        kind = type(policy)
        self._request: Any = policy.request if kind.request is not Policy.request else None
        self._response: Any = policy.response if kind.response is not Policy.response else None
        self._body: Any = policy.body if kind.body is not Policy.body else None
        self._finished: Any = policy.finished if kind.finished is not Policy.finished else None
        self.observes = self._finished is not None
        """Whether it is to know that an exchange is over: its hook wants to, or it is retired."""
        self._ends = self.observes or kind.close is not Policy.close
        """Whether anything of its own follows the end of an exchange, so that it is to know which ones are not over."""
        self._reaches = self._ends or bool(self._response or self._body)
        """Whether a request that its hook has seen is remembered: it sees answers to these alone, or their end."""
        self._sees_all = kind.every_answer or self._request is None

    def as_hooks(self) -> Hooks:
        """What takes part in the pipeline."""
        return Hooks(
            request=self.request if self._request is not None else self.reach if self._ends else None,
            response=self.response if self._response is not None else None,
            body=self.body if self._body is not None else None,
            sees=self._sees,
            edits_requests=self._request is not None,
            hold=self.hold if self._ends else None,
        )

    # ---- its hooks

    def reach(self, exchange: Exchange) -> None:
        """It takes part in the exchange from here; this is the request hook of a policy that has none."""
        view = exchange.view or view_of(exchange)
        if view.finish is None:
            view.finish, exchange.finish = exchange.finish, finish
        view.reached = (self, view.reached)
        self.running += 1

    def request(self, exchange: Exchange) -> Answer | Pending | None:
        """The request hook."""
        if self._reaches:
            self.reach(exchange)
        view = exchange.view or view_of(exchange)
        began = monotonic()
        try:
            verdict = self._request(view)
        except BaseException as error:
            return self._failed("request", error)
        if monotonic() - began > BLOCKING:
            self.blocked("request", began)
        if verdict is None or isinstance(verdict, Answer):
            return verdict
        if inspect.isawaitable(verdict):
            steps = TimedSteps(verdict, BLOCKING, partial(self.blocked, "request"))
            return Awaited(steps, asyncio.get_running_loop(), self.timeout, partial(self._failed, "request"))
        return self._failed("request", _no_verdict("request", verdict))

    def response(self, exchange: Exchange, edit: ResponseEdit) -> Answer | None:
        """The response hook."""
        began = monotonic()
        try:
            verdict = self._response(exchange.view or view_of(exchange), edit)
        except BaseException as error:
            return self._failed("response", error)
        if monotonic() - began > BLOCKING:
            self.blocked("response", began)
        if verdict is None or isinstance(verdict, Answer):
            return verdict
        return self._failed("response", _no_verdict("response", verdict))

    def body(self, exchange: Exchange, head: Head) -> BodyFilter | None:
        """The body hook. Raises HookFailedError."""
        began = monotonic()
        try:
            found = self._body(view_of(exchange), head)
            contained = None if found is None else _ContainedFilter(self, found)
        except RefusedError:
            raise
        except BaseException as error:
            answer = self._failed("body", error)
            if answer is None:
                return None
            raise HookFailedError(answer) from None
        if monotonic() - began > BLOCKING:
            self.blocked("body", began)
        return contained

    def finished(self, view: ExchangeView) -> None:
        """An exchange that reached it is over."""
        if self._finished is not None:
            began = monotonic()
            try:
                self._finished(view)
            except BaseException as error:
                self.report("finished", error, 0.0)
            if monotonic() - began > BLOCKING:
                self.blocked("finished", began)
        self.let_go()

    # ---- its life

    def hold(self, exchange: Exchange) -> None:
        """An exchange is going to wait and may reach it afterwards: until it is over, it is running here."""
        if hold(exchange, self):
            self.running += 1

    def let_go(self) -> None:
        """An exchange that ran here is over."""
        self.running -= 1
        self._check_idle()

    def retire(self, idle: Callable[[], None]) -> None:
        """No new exchange will reach it: `idle` is called when the last one is over, or now."""
        self.idle = idle
        self.observes = True
        self._check_idle()

    def _check_idle(self) -> None:
        idle = self.idle
        if idle is not None and not self.running:
            self.idle = None
            idle()

    # ---- its failures

    def refusal(self) -> Refusal:
        """What a client gets where it failed."""
        detail = f"the policy {self.name} failed on this request"
        return Refusal("policy_failed", detail, members={"policy": self.name})

    def filter_failed(self, error: BaseException) -> HookFailedError:
        """A filter of its failed. A body of which a part is missing is never passed on, whatever is to be skipped."""
        if isinstance(error, RefusedError):
            return error
        self.report("body", error, 0.0)
        return HookFailedError(self.refusal())

    def filtered(self, began: float) -> None:
        """A filter of its has taken a piece of a body, from this time on."""
        if monotonic() - began > BLOCKING:
            self.blocked("body", began)

    def _sees(self, exchange: Exchange) -> bool:
        view = exchange.view
        return self._sees_all or (view is not None and view.has_reached(self))

    def _failed(self, hook: str, error: BaseException | None) -> Answer | None:
        self.report(hook, error, self.timeout if error is None else 0.0)
        return None if self.skips_failures else self.refusal()

    def blocked(self, hook: str, began: float) -> None:
        """A hook that began at this time has just returned, or begun to wait."""
        self.report(hook, BlockingIOError(), monotonic() - began)


class _ContainedFilter:
    """A user's filter: what it raises, or returns that is no bytes, ends the body; a refusal is no failure."""

    __slots__ = ("_end", "_feed", "_hooks")

    def __init__(self, hooks: PluginHooks, filtering: Any) -> None:
        self._hooks = hooks
        try:
            self._feed: Callable[[bytes], Any] = filtering.feed
            self._end: Callable[[], Any] = filtering.end
        except AttributeError:
            raise _no_filter(filtering) from None

    def feed(self, data: bytes) -> bytes:
        began = monotonic()
        try:
            made = self._feed(data)
            if type(made) is not bytes:
                made = _as_bytes(made)
        except BaseException as error:
            raise self._hooks.filter_failed(error) from None
        self._hooks.filtered(began)
        return made

    def end(self) -> bytes:
        began = monotonic()
        try:
            made = _as_bytes(self._end())
        except BaseException as error:
            raise self._hooks.filter_failed(error) from None
        self._hooks.filtered(began)
        return made


def _as_bytes(data: Any) -> bytes:
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    if inspect.iscoroutine(data):
        data.close()
    raise TypeError(f"a filter returns bytes, not {type(data).__name__}")


def _no_verdict(hook: str, value: Any) -> TypeError:
    if inspect.iscoroutine(value):
        return _is_async(hook, value)
    return TypeError(f"{hook}() returned {type(value).__name__}: return nothing, answer(…) or refuse(…)")


def _no_filter(value: Any) -> TypeError:
    if inspect.iscoroutine(value):
        return _is_async("body", value)
    return TypeError(f"body() returned {type(value).__name__}: return nothing, or what has feed(bytes) and end()")


def _is_async(hook: str, coroutine: Coroutine[Any, Any, Any]) -> TypeError:
    coroutine.close()  # else Python would report that nobody awaited it
    return TypeError(f"{hook}() is async, which only request(), open() and close() may be")
