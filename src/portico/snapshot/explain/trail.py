"""What each policy of a route made of a request, noted while it passes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from portico.core.errors import Answer
from portico.core.exchange import Exchange
from portico.policies.policy import Policy, Verdict
from portico.proxy.gateway import Gateway
from portico.proxy.routing.route import Handling
from portico.snapshot.explain.rebuilding import Label

_BY_MODULE: Final = {
    "portico.policies.error_pages": "errors",
    "portico.policies.internal": "endpoints",
    "portico.policies.maintenance": "maintenance",
    "portico.policies.versions": "versions",
    "portico.proxy.body_limit": "body_size",
    "portico.proxy.cache.purge_method": "cache",
    "portico.proxy.gateway": "limits",
    "portico.proxy.routing.answers": "answer",
    "portico.proxy.routing.slash": "redirect_slash",
    "portico.proxy.split": "split",
    "portico.proxy.sticky": "sticky",
    "portico.snapshot.explain.rebuilding": "plugins",
}
"""The key of a policy that is no step of the order, by where it is written."""


class State:
    """What of an exchange policies change, at one moment."""

    def __init__(self, exchange: Exchange) -> None:
        request = exchange.request
        assert request is not None
        self.consumer, self.scopes = exchange.consumer, exchange.scopes
        self.method, self.query, self.target = request.method, exchange.query, exchange.match.target
        self.lines = request.fields.lines
        self.framing = request.framing
        self.request_lines, self.response_lines = exchange.request_lines, exchange.response_lines
        self.shadow = exchange.shadow


class Step:
    """One policy: what it is for, and what it made of the request, once it was asked."""

    def __init__(self, key: str, scope: str, policy: Policy) -> None:
        self.key, self.scope, self._policy = key, scope, policy
        self.before: State | None = None
        self.after: State | None = None
        self.answer: Answer | None = None
        self.asks: list[str] = []
        """Whom it would have asked, or called."""
        self.trail: Trail

    def __call__(self, exchange: Exchange) -> Verdict:
        self.trail.came_to(self, exchange)
        verdict = self._policy(exchange)
        if verdict is None or isinstance(verdict, Answer):
            self.answer = verdict
            self.end(exchange)
        return verdict

    def end(self, exchange: Exchange) -> None:
        """The request has passed it, or goes no further."""
        if self.after is None:
            self.after = State(exchange)


class Trail:
    """The policies of a request in their order, as far as they are known: those that were asked first."""

    def __init__(self, labels: Mapping[Any, Label]) -> None:
        self._labels = labels
        self.steps: list[Step] = []
        self.exchange: Exchange | None = None
        self._at: Step | None = None
        self.is_open = False
        """Whether it depends on the answer of somebody who was not asked."""

    def noted(self, policies: Iterable[Policy]) -> list[Policy]:
        """The same, each of which is a step now."""
        return [each if isinstance(each, Step) else self._step(each) for each in policies]

    def _step(self, policy: Policy) -> Step:
        label = self._labels.get(policy)
        key, scope = label or (_BY_MODULE.get(getattr(policy, "__module__", ""), "gateway"), "")
        step = Step(key, scope, policy)
        step.trail = self
        self.steps.append(step)
        return step

    def came_to(self, step: Step, exchange: Exchange) -> None:
        """The step before it has let the request pass."""
        if self._at is not None:
            self._at.end(exchange)
        step.before, self._at, self.exchange = State(exchange), step, exchange

    def asked(self, who: str, passes: bool = True) -> None:
        """The step would have asked somebody; without `passes` all that follows depends on the answer."""
        if self._at is not None:
            self._at.asks.append(who)
        self.is_open = self.is_open or not passes

    def passes_on(self, exchange: Exchange) -> None:
        """The request goes on: whatever it has waited for has let it pass."""
        self.exchange = exchange
        if self._at is not None:
            self._at.end(exchange)

    def ended(self, answer: Answer) -> None:
        """The request was answered so: by the step that it waited for, if it did."""
        step = self._at
        if step is not None and step.after is None and self.exchange is not None:
            step.answer = answer
            step.end(self.exchange)


class WatchedGateway(Gateway):
    """A gateway of its own, whose requests leave a trail."""

    trail: Trail

    def _pass_policies(self, exchange: Exchange, handling: Handling, policies: Iterable[Policy]) -> None:
        self.trail.passes_on(exchange)
        super()._pass_policies(exchange, handling, self.trail.noted(policies))
