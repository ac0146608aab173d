"""Why each route does not take a request, those first that were nearest to taking it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import nsmallest
from typing import Final, NamedTuple

from portico.core.slices import Steps
from portico.proxy.routing.matcher import Matcher
from portico.proxy.routing.router import Rule, takes_host
from portico.snapshot.explain.asking import Answered, Request, conditions, path_condition
from portico.snapshot.explain.explanation import Condition, Lost
from portico.snapshot.explain.paths import agreeing, differing, outline_of
from portico.snapshot.explain.precedence import why_first
from portico.snapshot.explain.written import Target, Written

# ---- how far a route is from taking a request: that orders what is said, and decides nothing

_TYPING_ERROR: Final = 2
"""Letters that somebody who meant the other text may have got wrong."""
_WRONG: Final = 1.0
"""What a condition counts that fails."""
_MISTYPED: Final = 0.9
"""A path that looks mistyped."""
_OTHER_PATH: Final = 4.0
_SAME_BEGINNING: Final = 2.2
"""Another path, and how much less it counts the more of it is the beginning of the route's."""
_OTHER_HOST: Final = 0.8
_MOST_OF_HOST: Final = 14
"""Another host counts this and a tenth of each letter that differs, up to so many."""
_AGREEING: Final = 1.0
"""What a route gains whose path begins as that of the request does, up to its end."""
_NEAR: Final = 1.0
"""What an endpoint of the gateway's own may count to be named: few look for one."""


@dataclass(frozen=True)
class Candidate:
    """A rule as it stands to a request: `turn` is when it is asked, None where its path is another one."""

    rule: Rule[Target]
    turn: int | None
    takes_host: bool
    listeners: Sequence[str] | None = None
    """Those that serve it, where this one does not."""


class _Ranked(NamedTuple):
    distance: float
    order: int
    candidate: Candidate


class Losing:
    """All rules that might have taken a request, and what each says of it."""

    def __init__(self, asked: Request, written: Written) -> None:
        self.asked, self.written = asked, written
        self.candidates: list[Candidate] = []

    def gathering(self, matcher: Matcher, others: Iterable[Matcher]) -> Steps[None]:
        """Find them in steps; `others` are the matchers of listeners that have other routes."""
        for each in self._of(matcher):
            self.candidates.append(each)
            yield
        here = {each.rule.target.name for each in self.candidates}
        for other in others:
            for each in self._of(other) if other.router is not matcher.router else ():
                name = each.rule.target.name
                if name not in here and name in self.written.routes:
                    listeners = self.written.serving(name)
                    self.candidates.append(Candidate(each.rule, each.turn, each.takes_host, listeners))
                yield

    def _of(self, matcher: Matcher) -> Iterator[Candidate]:
        asked, router = self.asked, matcher.router
        placed = [*router.asked(asked.segments, asked.head.host)]
        for turn, (rule, _, takes) in enumerate(placed):
            yield Candidate(rule, turn, takes)
        known = {id(rule) for rule, _, _ in placed}
        for rule in router.rules():
            if id(rule) not in known:
                yield Candidate(rule, None, takes_host(rule, asked.head.host))

    def winner(self, target: Target) -> Candidate | None:
        """The rule by which a route takes the request."""
        for each in self.candidates:
            is_own = each.rule.target is target and each.turn is not None and each.listeners is None
            if is_own and not any(not answer.is_met for answer in self._answers(each)):
                return each
        return None

    def met(self, candidate: Candidate) -> list[Answered]:
        """The conditions of a rule that takes it."""
        return [self._path(candidate), *self._answers(candidate)]

    def losing(self, winner: Candidate | None, most: int) -> Steps[tuple[list[Lost], dict[Condition, int]]]:
        """In steps, the `most` that are nearest, and how many others there are, by what they lost by.

        Endpoints of the gateway's own are named where they are near, and not counted.
        """
        best: dict[str, _Ranked] = {}
        for each in self.candidates:
            name = each.rule.target.name
            if winner is None or each.rule.target is not winner.rule.target:
                ranked = _Ranked(self._distance(each), self.written.order.get(name, -1), each)
                if name not in best or ranked[:2] < best[name][:2]:
                    best[name] = ranked
            yield
        near = (ranked for name, ranked in best.items() if name in self.written.routes or ranked.distance < _NEAR)
        nearest = nsmallest(most, near, key=lambda ranked: ranked[:2])
        named = {ranked.candidate.rule.target.name: self._lost(ranked.candidate, winner) for ranked in nearest}
        rest: Counter[Condition] = Counter()
        for name, ranked in best.items():
            if name in self.written.routes and name not in named:
                rest[self._condition(ranked.candidate)] += 1
            yield
        return [*named.values()], dict(rest)

    def named(self, target: Target, says: str) -> Lost:
        """What is said of one that would take the request by its path, and does not."""
        named, asked = self.written.named(target), self.asked
        return Lost(**named, condition="path", wanted=named["path"], got=asked.path, at=None, says=says)

    @cached_property
    def _doubting(self) -> Candidate | None:
        """The rule for which the request is refused."""
        for each in self.candidates:
            failed = self._failed(each) if each.turn is not None else None
            if failed is not None and failed.in_doubt:
                return each
        return None

    # ---- one rule

    def _answers(self, candidate: Candidate) -> Iterator[Answered]:
        """What it asks beside the path."""
        written = self.written.routes.get(candidate.rule.target.name)
        return conditions(candidate.rule, self.asked, written, takes_host=candidate.takes_host)

    def _path(self, candidate: Candidate) -> Answered:
        wanted = self.written.named(candidate.rule.target)["path"]
        return path_condition(candidate.rule, self.asked, wanted, is_met=candidate.turn is not None)

    def _failed(self, candidate: Candidate) -> Answered | None:
        """The first condition that fails; one that is in doubt only where no other does."""
        if candidate.listeners is not None:
            return self._listener(candidate.listeners)
        if candidate.turn is None:
            return self._path(candidate)
        failed = (answer for answer in self._answers(candidate) if not answer.is_met)
        return min(failed, key=lambda answer: answer.in_doubt, default=None)

    def _condition(self, candidate: Candidate) -> Condition:
        """The same, in a word."""
        if candidate.listeners is not None:
            return "listener"
        if candidate.turn is None:
            return "path"
        failed = self._failed(candidate)
        return failed.condition if failed is not None else "precedence"

    def _listener(self, serving: Sequence[str]) -> Answered:
        wanted = " or ".join(serving) or "none"
        says = f"it is served at {wanted}, not at {self.asked.listener}" if serving else "no listener serves it"
        return Answered("listener", wanted, self.asked.listener, is_met=False, says=says)

    def _lost(self, candidate: Candidate, winner: Candidate | None) -> Lost:
        named = self.written.named(candidate.rule.target)
        failed = self._failed(candidate)
        if failed is None:
            first = winner or self._doubting
            wanted = first.rule.target.name if first is not None else ""
            says = "nothing of it fails: the request is refused before"
            if winner is not None:
                says = f"{wanted} takes it: {why_first(winner.rule, candidate.rule, self.asked.host)}"
            elif first is not None:
                says = f"{wanted} is asked before, and the request leaves in doubt whether that takes it"
            return Lost(**named, condition="precedence", wanted=wanted, got="", at=None, says=says)
        return Lost(
            **named, condition=failed.condition, wanted=failed.wanted, got=failed.got, at=failed.at, says=failed.says
        )

    def _distance(self, candidate: Candidate) -> float:
        """How far it is from taking the request: about 1 where one condition fails."""
        path, agreed = self._path_distance(candidate)
        listener = _WRONG if candidate.listeners is not None else 0.0
        if candidate.turn is None:  # of another path nothing else is asked: many values may take their time
            rest = 0.0 if candidate.takes_host else self._host_distance(candidate)
        else:
            rest = sum(
                self._host_distance(candidate) if answer.condition == "host" else _WRONG
                for answer in self._answers(candidate)
                if not answer.is_met
            )
        return path + listener + rest - _AGREEING * agreed

    def _host_distance(self, candidate: Candidate) -> float:
        hosts = (host.removeprefix("*.") for host in candidate.rule.hosts)
        wrong = min(differing(self.asked.host, host) for host in hosts)
        return _OTHER_HOST + min(wrong, _MOST_OF_HOST) / 10

    def _path_distance(self, candidate: Candidate) -> tuple[float, float]:
        """That of the path, and the share of the longer one that agrees."""
        path, outline = self.asked.path, outline_of(candidate.rule)
        agreed = agreeing(path, outline.text)
        share = agreed / max(len(path), len(outline.text))
        if candidate.turn is not None:
            return 0.0, share if outline.is_prefix else 1.0
        if outline.pattern is not None and agreed == len(outline.text):
            return _WRONG, share
        beginning = path
        if outline.is_prefix:
            beginning = "/".join(path.split("/")[: outline.text.count("/") + 1])
        wrong = differing(beginning.lower(), outline.text.lower())
        if wrong <= _TYPING_ERROR and 3 * wrong <= len(outline.text):
            return _MISTYPED + wrong / 100, share
        return _OTHER_PATH - _SAME_BEGINNING * share, share
