"""How a route's policies are sorted by where they are called."""

from __future__ import annotations

from typing import Any

from portico.policies import Chain, Hooks


def _request(exchange: Any) -> None:
    """A request hook."""


def _nothing(*_: Any) -> None:
    """Some other hook."""


def test_policies_with_request_hooks_alone_have_no_way_back() -> None:
    chain = Chain.of([_request, Hooks(attempt=_nothing)])
    assert chain.requests == (_request,)
    assert chain.attempts == (_nothing,)
    assert chain.response_hooks is None
    assert not chain.edits_requests


def test_the_way_back_is_the_reverse() -> None:
    first, second = Hooks(response=lambda *_: None, body=_nothing), Hooks(response=_nothing)
    hooks = Chain.of([first, second]).response_hooks
    assert hooks is not None
    assert [hook for hook, _ in hooks.responses] == [second.response, first.response]
    assert hooks.bodies == (_nothing,)
