"""What authorities are answered that ask whether a name is this gateway's (RFC 8555, section 8.3)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from portico.core.errors import Answer
from portico.proxy.routing.route import LocalRoute

PREFIX: Final = b"/.well-known/acme-challenge/"
_LINES: Final = (b"Content-Type: application/octet-stream", b"Cache-Control: no-store")
_READS: Final = (b"GET", b"HEAD")


class Challenges:
    """The answers that hold now. All listeners have them, before any route, redirect or policy."""

    def __init__(self) -> None:
        self._routes: dict[bytes, LocalRoute] = {}

    def learn(self, answers: Mapping[str, str]) -> None:
        """Go by these, by token, from now on."""
        name = PREFIX.decode()
        self._routes = {
            PREFIX + token.encode(): LocalRoute(name, partial(Answer, 200, _LINES, answer.encode()))
            for token, answer in answers.items()
        }

    def find(self, method: bytes, path: bytes) -> LocalRoute | None:
        """What answers a request, if it is for a token; all else is for others."""
        return self._routes.get(path) if method in _READS else None
