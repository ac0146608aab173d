"""Traefik's rules: read, and taken apart into the routes that together take the same requests."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Final, TypeAlias

from portico.imports.traefik.conditions import Conditions, RuleError, Unsaid, both, joined
from portico.imports.traefik.matchers import MATCHERS

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<mark>&&|\|\||[!(),])|(?P<name>[A-Za-z]\w*)|`(?P<raw>[^`]*)`|\"(?P<text>(?:[^\"\\]|\\.)*)\"|(?P<wrong>\S))"
)
_MOST: Final = 256
"""Routes that one rule may become."""
_DEEPEST: Final = 50


@dataclass(frozen=True, slots=True)
class _Call:
    name: str
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Not:
    part: _Tree


@dataclass(frozen=True, slots=True)
class _Both:
    parts: tuple[_Tree, ...]


@dataclass(frozen=True, slots=True)
class _Either:
    parts: tuple[_Tree, ...]


_Tree: TypeAlias = "_Call | _Not | _Both | _Either"
_Token: TypeAlias = tuple[str, str]


def read_rule(text: str) -> list[Conditions]:
    """The routes that a rule is. Raises RuleError for what is no rule, and Unsaid for what is no number of routes."""
    reader = _Reader(_tokens(text))
    tree = reader.either(0)
    if reader.next() != ("", ""):
        raise RuleError(f"unexpected {reader.next()[1]}")
    return joined(_alternatives(tree, negated=False))


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    text = text.rstrip()
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None or token["wrong"]:
            raise RuleError(f"unexpected {text[at : at + 10].strip()}")
        at = token.end()
        if token["raw"] is not None:
            found.append(("text", token["raw"]))
        elif token["text"] is not None:
            found.append(("text", re.sub(r"\\(.)", r"\1", token["text"])))
        elif token["name"]:
            found.append(("name", token["name"]))
        else:
            found.append(("mark", token["mark"]))
    return found


@dataclass(slots=True)
class _Reader:
    tokens: list[_Token]
    at: int = 0

    def next(self) -> _Token:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("", "")

    def take(self, mark: str) -> bool:
        found = self.next() == ("mark", mark)
        self.at += found
        return found

    def either(self, depth: int) -> _Tree:
        parts = [self.both(depth)]
        while self.take("||"):
            parts.append(self.both(depth))
        return parts[0] if len(parts) == 1 else _Either(tuple(parts))

    def both(self, depth: int) -> _Tree:
        parts = [self.one(depth)]
        while self.take("&&"):
            parts.append(self.one(depth))
        return parts[0] if len(parts) == 1 else _Both(tuple(parts))

    def one(self, depth: int) -> _Tree:
        if depth > _DEEPEST:
            raise RuleError(f"nested more than {_DEEPEST} deep")
        if self.take("!"):
            return _Not(self.one(depth + 1))
        if self.take("("):
            inner = self.either(depth + 1)
            if not self.take(")"):
                raise RuleError("a ( without its )")
            return inner
        kind, name = self.next()
        if kind != "name":
            raise RuleError("it ends where a condition should follow" if not kind else f"unexpected {name}")
        self.at += 1
        return _Call(name, self.arguments(name))

    def arguments(self, name: str) -> tuple[str, ...]:
        if not self.take("("):
            raise RuleError(f"{name} without its arguments")
        found = []
        while not self.take(")"):
            kind, text = self.next()
            if kind != "text":
                raise RuleError(f"the arguments of {name} stand in backticks, one after the other")
            self.at += 1
            found.append(text)
            if not self.take(",") and self.next() != ("mark", ")"):
                raise RuleError(f"{name}( without its )")
        return tuple(found)


def _alternatives(tree: _Tree, *, negated: bool) -> list[Conditions]:
    if isinstance(tree, _Not):
        return _alternatives(tree.part, negated=not negated)
    if isinstance(tree, _Call):
        try:
            return [_excluded(tree)] if negated else _conditions(tree)
        except Unsaid as unsaid:
            return [Conditions(unsaid=str(unsaid))]
    parts = [_alternatives(part, negated=negated) for part in tree.parts]
    if isinstance(tree, _Either) is not negated:
        return _few(joined([found for part in parts for found in part]))
    combined = [Conditions()]
    for part in parts:
        combined = _few(met for pair in product(combined, part) if (met := both(*pair)) is not None)
    return combined


def _excluded(call: _Call) -> Conditions:
    """What a path must not be."""
    paths = [each.path for each in _conditions(call)]
    if call.name not in ("Path", "PathPrefix") or any(path is None or path[0] == "pattern" for path in paths):
        raise Unsaid(f"!{call.name} asks for what is not so")
    return Conditions(excluded=tuple((path[0], path[1]) for path in paths if path is not None))


def _few(found: Iterable[Conditions]) -> list[Conditions]:
    alternatives = []
    for each in found:
        alternatives.append(each)
        if len(alternatives) > _MOST:
            raise Unsaid(f"it would be more than {_MOST} routes")
    return alternatives


def _conditions(call: _Call) -> list[Conditions]:
    """What one matcher asks for: an alternative for each argument, where any of them will do."""
    matcher = MATCHERS.get(call.name)
    if matcher is None:
        raise RuleError(f"there is no matcher {call.name}")
    if not call.arguments:
        raise RuleError(f"{call.name} without an argument")
    return matcher(call.arguments)
