"""Keys and tokens that are revoked at one of two gateways, while those who have them ask both all the time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from support.client import ask
from support.waiting import comes_true
from support.world import Gateway

from .scene import Scene

_ROUNDS: Final = 10
_CLIENTS: Final = 4
"""Those that show a credential to each gateway, on connections of their own."""
_PAUSE: Final = 0.04
"""Seconds between two requests of one of them."""
_PROMISED: Final = 1.0
"""Seconds from the command until nobody accepts it."""
_LONGEST: Final = 5.0


@dataclass(frozen=True)
class Credential:
    """The field line that shows it, and what revokes it: a request to the admin API."""

    kind: str
    line: str
    target: str
    body: str


def a_key(gateway: Gateway) -> Credential:
    """A new API key."""
    made = _admin(gateway, "/admin/keys", '{"consumer": "shop"}')
    return Credential("key", f"X-API-Key: {made['secret']}", f"/admin/keys/{made['key']['id']}/revoke", "{}")


def a_token(gateway: Gateway) -> Credential:
    """A new token."""
    token = _admin(gateway, "/admin/tokens", '{"consumer": "shop"}')["access_token"]
    return Credential("token", f"Authorization: Bearer {token}", "/admin/tokens/revoke", f'{{"token": "{token}"}}')


def revoke_often(scene: Scene) -> None:
    """Nobody accepts what was revoked from a second after the command on, wherever that was given."""
    slowest: dict[str, float] = {}
    with scene.lasting():
        for number in range(_ROUNDS):
            makers: tuple[Callable[[Gateway], Credential], ...] = (a_key, a_token)
            for make in makers:
                credential = make(scene.subject.gateways[number % 2])
                took = _time_to_end(credential, scene.subject.gateways, scene.subject.gateways[(number // 2) % 2])
                slowest[credential.kind] = max(slowest.get(credential.kind, 0.0), took)
    for kind, took in slowest.items():
        scene.notes.append(f"slowest end of {_ROUNDS} {kind}s: {took * 1000:.0f} ms")
        scene.expect(took <= _PROMISED, f"a revoked {kind} was accepted for {took:.1f} s")
    scene.back = 0.0


def _time_to_end(credential: Credential, gateways: list[Gateway], where: Gateway) -> float:
    """Seconds from the command until the last answer to a request that was accepted."""
    clients = [_Client(gateway, credential.line) for gateway in gateways for _ in range(_CLIENTS)]
    try:
        assert comes_true(lambda: all(client.accepted for client in clients), _LONGEST), "it is accepted by both"
        begun = time.monotonic()
        _admin(where, credential.target, credential.body)
        comes_true(lambda: all(client.is_refused() for client in clients), _LONGEST)
        return max(0.0, *(client.accepted - begun for client in clients))
    finally:
        for client in clients:
            client.end()


class _Client:
    """Shows a credential on one connection, over and over. `accepted` is when it was let in last; 0: never."""

    def __init__(self, gateway: Gateway, line: str) -> None:
        self.accepted = 0.0
        self._refused = 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=partial(self._run, gateway, line))
        self._thread.start()

    def _run(self, gateway: Gateway, line: str) -> None:
        with gateway.wire() as wire:
            while not self._is_over.wait(_PAUSE):
                if wire.ask("GET", "/guarded", line).status == 200:
                    self.accepted, self._refused = time.monotonic(), 0
                else:
                    self._refused += 1

    def is_refused(self) -> bool:
        """Whether it is not let in any more, for some requests already."""
        return self._refused >= 5

    def end(self) -> None:
        """Stop asking."""
        self._is_over.set()
        self._thread.join()


def _admin(gateway: Gateway, target: str, body: str) -> Any:
    lines = "Host: localhost", "Content-Type: application/json"
    answer = ask(gateway.admin_port, "POST", target, *lines, body=body.encode())
    assert answer.status == 200, answer.body
    return answer.json()
