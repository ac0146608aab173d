"""Pydantic's errors in plain words, each with the path of the value that it is about."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from portico.config.elsewhere import known_elsewhere
from portico.config.problems import Finding, KeyPath, nearest
from portico.config.shapes import keys_at
from portico.policies import POLICY_SETTINGS

POLICIES = POLICY_SETTINGS.keys()
_WRONG_KIND = re.compile(r"(\w+_(type|parsing)|literal_error|is_instance_of|none_required)")
_EXPECTED = {
    "model_type": "keys and values",
    "model_attributes_type": "keys and values",
    "dict_type": "keys and values",
    "mapping_type": "keys and values",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "string_type": "text",
    "path_type": "the path of a file",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
}
_PATTERNS = {
    "^[A-Za-z0-9][A-Za-z0-9_.-]*$": "a name has only letters, digits, _ . - and starts with a letter or digit",
}
_DURATION = re.compile(r"[\d.]+\s*(ms|s|m|h|d)")
_BOUNDS = {
    "greater_than": ("gt", "has to be more than {}"),
    "greater_than_equal": ("ge", "has to be {} or more"),
    "less_than": ("lt", "has to be less than {}"),
    "less_than_equal": ("le", "has to be {} or less"),
    "string_too_short": ("min_length", "has to be {} character(s) or longer"),
    "string_too_long": ("max_length", "has to be {} characters or shorter"),
    "too_short": ("min_length", "has to hold {} or more"),
    "too_long": ("max_length", "has to hold {} or fewer"),
}

_FEW = 16
"""The most keys of a section that a message lists."""

LOCATED = "located"
"""The type of an error that is a finding already: its path is right, and its context holds the other parts."""

Error = Any
_Items = list[tuple[KeyPath, Error]]


def findings_of(error: ValidationError, tree: Any, annotation: Any) -> list[Finding]:
    """What `error` says about `tree`, which should be an `annotation`."""
    reader = _Reader(annotation)
    items: _Items = []
    located: list[Finding] = []
    for entry in error.errors(include_url=False):
        if entry["type"] == LOCATED:
            located.append(Finding(entry["loc"], **entry["ctx"]))
        else:
            items.append((entry["loc"], entry))
    return list(dict.fromkeys([*located, *reader.read(items, tree, ())]))


class _Reader:
    def __init__(self, annotation: Any) -> None:
        self.annotation = annotation

    def read(self, items: _Items, value: Any, path: KeyPath) -> Iterator[Finding]:
        """Follow the errors into the value. A step that the value does not have names a member of a union."""
        deeper: dict[str | int, _Items] = {}
        members: dict[str | int, _Items] = {}
        for rest, error in items:
            if not rest and error["type"] == "too_short" and len(items) > 1:
                continue  # Pydantic does not count items that are wrong
            if not rest:
                yield self._finding(path, error, value)
            elif has_part(value, rest[0]):
                deeper.setdefault(rest[0], []).append((rest[1:], error))
            elif rest == ("[key]",):
                yield self._finding(path, error, value, at_key=True)
            elif len(rest) == 1 and error["type"] == "missing":
                yield Finding(path, f'the key "{rest[0]}" has to be written', at_key=True, missing=True)
            else:
                members.setdefault(rest[0], []).append((rest[1:], error))
        for part, found in deeper.items():
            yield from self.read(found, value[part], (*path, part))
        if members:
            yield from self._meant(list(members.values()), value, path)

    def _meant(self, members: list[_Items], value: Any, path: KeyPath) -> Iterator[Finding]:
        """The errors of the union member that was meant; where it is not clear, what all of them expect."""
        fitting = [items for items in members if not any(_is_wrong_kind(rest, error) for rest, error in items)]
        if fitting:
            yield from self.read(min(fitting, key=len), value, path)
            return
        errors = [error for items in members for rest, error in items if not rest]
        if not isinstance(value, (dict, list)):
            scalars = [error for error in errors if _EXPECTED.get(error["type"]) not in ("keys and values", "a list")]
            errors = scalars or errors
        if len(errors) == 1:
            yield self._finding(path, errors[0], value)
        else:
            kinds = dict.fromkeys(_kind(error) for error in errors)
            yield Finding(path, f"expected {' or '.join(kinds)}", _nearest_literal(errors, value))

    def _finding(self, path: KeyPath, error: Error, value: Any, *, at_key: bool = False) -> Finding:
        kind, context = error["type"], error.get("ctx", {})
        if kind == "extra_forbidden":
            return self._unknown(path)
        suggestion = _nearest_literal([error], value)
        return Finding(path, _message(error, context, value), suggestion, at_key=at_key)

    def _unknown(self, path: KeyPath) -> Finding:
        known = keys_at(self.annotation, path[:-1])
        word = str(path[-1])
        suggestion = known_elsewhere(word, known) or nearest(word, known)
        message = "unknown policy" if known == POLICIES else "unknown key"
        if suggestion is None and "with" in known:  # those of a user's policy
            message += "; settings of the policy's own stand under with"
        elif word in POLICIES and "policies" in known:
            return Finding(path, f"{message}: it is a policy, write policies: {{{word}: …}}", at_key=True)
        elif suggestion is None and (known == POLICIES or 0 < len(known) <= _FEW):
            message += f"; there are {', '.join(sorted(known))}"
        return Finding(path, message, suggestion, at_key=True)


def has_part(value: Any, part: str | int) -> bool:
    """Whether plain data has the key or index `part`."""
    if isinstance(value, dict):
        return part in value
    return isinstance(value, (list, tuple)) and isinstance(part, int) and part < len(value)


def _is_wrong_kind(rest: KeyPath, error: Error) -> bool:
    return not rest and _WRONG_KIND.fullmatch(error["type"]) is not None


def _message(error: Error, context: dict[str, Any], value: Any) -> str:
    kind = error["type"]
    if kind == "value_error":
        return str(context["error"])
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(context["pattern"], f"does not match the pattern {context['pattern']}")
    if kind in _BOUNDS:
        name, text = _BOUNDS[kind]
        return text.format(_bound(context[name], value))
    if kind == "string_type" and isinstance(value, (bool, int, float)):
        return "expected text; put it into quotes"
    if _EXPECTED.get(kind) == "a list" and isinstance(value, str):
        return 'expected a list: put brackets around it, ["…"]'
    if kind in _EXPECTED or kind == "literal_error":
        return f"expected {_kind(error)}"
    return str(error["msg"]).removeprefix("Input should be ").removeprefix("Value error, ")


def _bound(limit: Any, written: Any) -> str:
    """A bound as it could be written in place of `written`: that of a size in MiB, that of a duration in seconds."""
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if isinstance(limit, int) and limit >= unit and limit % unit == 0:
            return f"{limit // unit}{name}"
    number = f"{limit:.15g}" if isinstance(limit, float) else str(limit)
    return f"{number}s" if isinstance(written, str) and _DURATION.fullmatch(written.strip()) else number


def _kind(error: Error) -> str:
    if error["type"] == "literal_error":
        words = _literals(error)
        return words[0] if len(words) == 1 else f"one of {', '.join(words)}"
    return _EXPECTED.get(error["type"], "something else")


def _literals(error: Error) -> list[str]:
    return re.findall(r"[^\s',]+", error["ctx"]["expected"].replace("' or ", "', ").replace(" or ", ", "))


def _nearest_literal(errors: list[Error], value: Any) -> str | None:
    known = [word for error in errors if error["type"] == "literal_error" for word in _literals(error)]
    return nearest(value, known) if isinstance(value, str) and known else None
