"""What the gateway itself asks of a service while a request waits, and how the answer looks."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import NamedTuple, Protocol

from portico.core.exchange import Exchange
from portico.core.messages import Fields


class Question(NamedTuple):
    """A request of the gateway's own: its field `lines` without Host and Content-Length, and all of its content.

    `exchange` is the one that waits for it, where that is one alone.
    """

    method: bytes
    target: bytes
    lines: Sequence[bytes]
    content: bytes = b""
    exchange: Exchange | None = None


class Reply(NamedTuple):
    """A whole response to a question; `hop_by_hop` are the further fields that end here, in lower case."""

    status: int
    fields: Fields
    hop_by_hop: frozenset[bytes]
    content: bytes


class UnansweredError(Exception):
    """A question has no answer that could be used; its text says why, for operators of the gateway."""


class Asker(Protocol):
    """Asks one service."""

    def __call__(self, question: Question) -> Awaitable[Reply]:
        """Its answer. Raises UnansweredError."""
