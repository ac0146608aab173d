"""The path that a service gets, made anew: what was captured stands in it as the client sent it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeAlias
from urllib.parse import quote

from portico.core.caches import remembered
from portico.core.errors import Answer, MessageError, Refusal
from portico.core.exchange import Exchange, RouteMatch
from portico.core.paths import readings, segments_of
from portico.policies.templates import Variable, plain_text
from portico.policies.transform.values import Captured, Target, Text, captures_of
from portico.policies.when import When

PathEdit: TypeAlias = Callable[[Exchange], Answer | None]

_UNKNOWN: Final = Refusal("access_denied", "this is for those alone of whom more is known: it is part of the path")


def path_text_of(written: str, when: When | None) -> Text:
    """The template of a path. Raises ValueError."""
    return Text(written, {**captures_of(when), Target.NAME: Target()})


def path_edit(text: Text) -> PathEdit:
    """What sets the path; it refuses a request of which a name in it has no value, or that a service might misread."""

    def set_path(exchange: Exchange) -> Answer | None:
        match = exchange.match
        if not match.target.startswith(b"/"):  # of OPTIONS *
            return None
        made: list[RouteMatch] = []
        for each in (match, *match.sides):  # which of them it takes is not known yet
            target = _filled(text, exchange, each.target)
            if target is None:
                return _UNKNOWN
            problem = _problem_of(target) if len(target) > _REMEMBERED_SIZE else _remembered(target)
            if problem is not None:
                return Refusal(problem.reason, f"{problem.detail}, once a rule of this route has made it")
            made.append(replace(each, target=target))
        exchange.match, *sides = made
        if sides:
            exchange.match = replace(exchange.match, sides=tuple(sides))
        return None

    return set_path


def _problem_of(target: bytes) -> MessageError | None:
    """Why no service should get a path: it might go upwards in it."""
    try:
        readings(segments_of(target))
    except MessageError as error:
        return error.with_traceback(None)
    return None


_REMEMBERED_SIZE: Final = 256
_remembered: Final = remembered(1024)(_problem_of)


def _filled(text: Text, exchange: Exchange, old: bytes) -> bytes | None:
    """The new path; None where a name in it has no value. `old` is the one that the service would get."""
    pieces = []
    for part in text.parts:
        if isinstance(part, Variable):
            piece = _piece(part, exchange, old)
            if piece is None:
                return None
            pieces.append(piece)
        else:
            pieces.append(part.encode())
    return b"".join(pieces)


def _piece(part: Variable, exchange: Exchange, old: bytes) -> bytes | None:
    """What stands for a name: one segment, or as much of the path as was captured."""
    read = part.read
    if isinstance(read, Target):
        return old[1:] or (part.default or "").encode()
    if isinstance(read, Captured):
        return read.raw(exchange) or (part.default or "").encode()
    value = plain_text(read(exchange)) or part.default
    return quote(value, safe="").encode() if value else None
