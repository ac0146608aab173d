"""What policies remember, for those that are built to say what they would do: they look at it and leave it as it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from portico.core.messages import Fields
from portico.core.questions import Asker, Question, Reply, UnansweredError
from portico.policies.asking import AskedSettings
from portico.policies.auth.fair_checks import FairChecks
from portico.policies.auth.forward import ForwardSettings
from portico.policies.policy import State


class PeekedState(State):
    """The state of policies that are asked in vain: all that they keep is a `peek` of what others keep.

    Nobody is asked. `asked` is called with the address of each service that would be, and whether it is supposed to
    let the request pass: one that only says yes or no is.
    """

    def __init__(self, state: State, asked: Callable[[str, bool], None]) -> None:
        super().__init__()
        self._of = state
        self._asked = asked
        self.key_sets = state.key_sets.peek(lambda address: asked(address, False))
        self.api_keys = state.api_keys.peek()
        self.revoked = state.revoked.peek()
        self.checks = FairChecks()
        self.documents = state.documents

    def keep(self, key: object, make: Callable[[], Any]) -> Any:
        if key not in self._kept:
            kept = self._of.kept(key)
            kept = make() if kept is None else kept
            self._kept[key] = dict(kept) if type(kept) is dict else kept.peek()
        return self._kept[key]

    def asker(self, settings: AskedSettings) -> Asker:
        passes, asked = isinstance(settings, ForwardSettings), self._asked

        async def ask(question: Question) -> Reply:  # noqa: ARG001
            asked(settings.url, passes)
            if passes:
                return Reply(204, Fields([], []), frozenset(), b"")
            raise UnansweredError("it is not asked to explain a request")

        def asker(question: Question) -> Awaitable[Reply]:
            return ask(question)

        return asker
