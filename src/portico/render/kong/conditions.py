"""What a route asks of fields. Kong lowers their values, and what it compares them with, an expression too."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from portico.config.problems import KeyPath
from portico.core.conditions import is_value_pattern
from portico.render.expressions import value_expression
from portico.render.losses import Losses
from portico.render.precedence import Matcher

_ESCAPE: Final = re.compile(r"\\x[0-9a-f]{2}")


def field_values(
    losses: Losses,
    matcher: Matcher,
    conditions: Sequence[tuple[str, str | bool]] | None = None,
    at: KeyPath | None = None,
) -> dict[str, list[str]] | None:
    """The `headers` of a route; None, and a loss, where Kong cannot ask for one: such a route would take too much."""
    found = {}
    for name, condition in matcher.headers if conditions is None else conditions:
        place = (*matcher.route.source, "headers", name) if at is None else at
        if not _is_name(name):
            losses.add(place, f"Kong asks for no field of the name {name}: this route is left out")
            return None
        text = _value(losses, condition, place)
        if text is None:
            return None
        if ignores_case(condition) and not matcher.is_copy:
            losses.add(place, "Kong compares values of fields without case")
        found[name] = [text]
    return found


def can_be_asked(headers: Sequence[tuple[str, str | bool]]) -> bool:
    """Whether Kong has words for all of these."""
    return all(_is_name(name) and _expression_of(condition) is not None for name, condition in headers)


def _is_name(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9_-]+", name) is not None and name.lower() != "host"


def ignores_case(condition: str | bool) -> bool:
    """Whether Kong finds a condition met by values that differ from it in case alone."""
    if condition is True or str(condition).startswith("~* "):
        return False
    text = value_expression(str(condition)) if is_value_pattern(str(condition)) else str(condition)
    return re.search("[A-Za-z]", _ESCAPE.sub("", text)) is not None


def _value(losses: Losses, condition: str | bool, at: KeyPath) -> str | None:
    found = _expression_of(condition)
    if found is None:
        why = "Kong lowers the letters of an expression, after which this is none"
        if not is_value_pattern(str(condition)):
            why = "Kong takes no empty value, and one that begins with ~* for an expression"
        losses.add(at, f"{why}: this route is left out")
    return found


def _expression_of(condition: str | bool) -> str | None:
    """A value as Kong compares it; None where it cannot."""
    if condition is True:
        return "~*.*"
    text = str(condition)
    if not is_value_pattern(text):
        return text if text and not text.startswith("~*") else None
    lowered = value_expression(f"~ {text.partition(' ')[2]}").lower()  # whatever the case
    try:
        re.compile(lowered)
    except re.error:
        return None
    return f"~*{lowered}"
