"""What all workers together know of the instances: which are ejected, and by how many of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from portico.upstreams.breaker import STATES
from portico.upstreams.instance_state import InstanceState

_Identity = tuple[str, str]
"""An upstream's key and an instance's URL."""

_BEST_FIRST: Final = (*InstanceState,)
_SERVING: Final = frozenset({InstanceState.ACTIVE, InstanceState.SLOW_START})
_WARNINGS: Final = {
    InstanceState.PANIC: "too many instances are ejected, so that all are used",
    InstanceState.UNREACHABLE: "no connection to an instance could be opened lately",
    InstanceState.HALF_OPEN: "no instance is known to be well, and the next request tries one",
    InstanceState.EJECTED: "no instance gets requests, because they are ejected",
}
"""What is reported of a service whose instances are in no better state."""


class InstanceStates:
    """Built from the totals of the connected workers."""

    def __init__(self, live: Sequence[Mapping[str, Any]] = ()) -> None:
        self._workers = [_states(totals) for totals in live]
        self._in_flight: Counter[_Identity] = Counter()
        self._breakers: dict[_Identity, int] = {}
        self._next_try_in: dict[_Identity, float] = {}
        self._problems: dict[_Identity, str] = {}
        for totals in live:
            for key, url, _, in_flight, seconds in totals["instances"]:
                self._in_flight[key, url] += in_flight
                if seconds:
                    self._next_try_in[key, url] = min(seconds, self._next_try_in.get((key, url), seconds))
            self._problems |= {(key, url): problem for key, url, problem in totals.get("unreachable", ())}
            for key, url, breaker in totals["breakers"]:
                self._breakers[key, url] = max(breaker, self._breakers.get((key, url), breaker))

    def described(self, key: str, url: str) -> dict[str, Any]:
        """One instance, for the admin API and `/health`; nothing where no worker is connected.

        `workers` says how many have it in which state, and `state` is the worst of these. `in_flight` are the exchanges
        in flight there. `breaker` is the worst state of its breakers, if it has any; `next_try_in` is the seconds until
        the first of the open ones admits a request.
        """
        identity = key, url
        states = [self._state(states, identity) for states in self._workers]
        if not states:
            return {}
        worst_first = sorted(set(states), key=_BEST_FIRST.index, reverse=True) if len(states) > 1 else states
        entry: dict[str, Any] = {
            "state": worst_first[0].value,
            "workers": {state.value: states.count(state) for state in worst_first},
            "in_flight": self._in_flight[identity],
        }
        if identity in self._breakers:
            entry["breaker"] = STATES[self._breakers[identity]].replace("-", "_")
        if identity in self._next_try_in:
            entry["next_try_in"] = round(self._next_try_in[identity], 1)
        return entry

    def problem(self, key: str, url: str) -> str | None:
        """Why no connection to an instance could be opened lately; None where a worker still counts on it."""
        identity = key, url
        if any(self._state(states, identity) in _SERVING for states in self._workers):
            return None
        return self._problems.get(identity)

    def warning(self, key: str, urls: Iterable[str]) -> str | None:
        """What is reported of the service that has these instances; None where all workers can use it as usual."""
        identities = [(key, url) for url in urls]
        found: Counter[InstanceState] = Counter()
        for states in self._workers:
            own = {self._state(states, identity) for identity in identities}
            best = next((state for state in _WARNINGS if state in own), None)
            if best is not None and (best is InstanceState.PANIC or not own & _SERVING):
                found[best] += 1
        said = [text + self._how_many(found[state]) for state, text in _WARNINGS.items() if found[state]]
        return "; ".join(said) or None

    def _how_many(self, count: int) -> str:
        return f" ({count} of {len(self._workers)} workers)" if len(self._workers) > 1 else ""

    @staticmethod
    def _state(states: Mapping[_Identity, InstanceState], identity: _Identity) -> InstanceState:
        """A worker that does not report an instance is not counted for it."""
        return states.get(identity, InstanceState.ACTIVE)


def _states(totals: Mapping[str, Any]) -> dict[_Identity, InstanceState]:
    """The states in one worker; where it has two of one URL, with different TLS settings, the worse one counts."""
    states: dict[_Identity, InstanceState] = {}
    for key, url, name, *_ in totals["instances"]:
        state = InstanceState(name)
        states[key, url] = max(state, states.get((key, url), state), key=_BEST_FIRST.index)
    return states
