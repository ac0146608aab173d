"""Values with variables: what they are made of, and what is known of them before any request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from portico.imports.nginx.syntax import Directive
from portico.imports.remarks import SourceError, Where

_VARIABLE: Final = re.compile(r"\$(?:\{(\w+)\}|([A-Za-z_]\w*|\d))", re.ASCII)
MAX_PIECES: Final = 500
"""Of one value, with all variables filled in."""
MAX_LETTERS: Final = 1 << 20


class Var(NamedTuple):
    """A variable whose value depends on the request."""

    name: str


Piece = str | Var
Value = tuple[Piece, ...]
"""Text and variables, one behind the other."""


@dataclass(slots=True, eq=False)
class Choice:
    """A variable whose value is chosen: a `map`, a `geo`, or `split_clients`."""

    directive: Directive
    source: Value
    entries: list[tuple[str, Value, Directive]]
    """What the source is compared with, and what then is the value, in the order in which they are tried."""
    default: Value = ()

    @property
    def kind(self) -> str:
        return self.directive.name


def parse(text: str) -> Value:
    """The pieces of a text."""
    pieces: list[Piece] = []
    at = 0
    for found in _VARIABLE.finditer(text):
        if found.start() > at:
            pieces.append(text[at : found.start()])
        pieces.append(Var(found[1] or found[2]))
        at = found.end()
    if at < len(text):
        pieces.append(text[at:])
    return tuple(pieces)


def joined(pieces: Value) -> Value:
    """The same with neighbouring texts as one."""
    found: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, str) and found and isinstance(found[-1], str):
            found[-1] += piece
        elif piece != "":
            found.append(piece)
    return tuple(found)


def literal(value: Value) -> str | None:
    """The text of a value without variables; None where there are some."""
    return "".join(map(str, value)) if all(isinstance(piece, str) for piece in value) else None


def shown(value: Value) -> str:
    """A value as nginx writes it."""
    return "".join(piece if isinstance(piece, str) else f"${piece.name}" for piece in value)


@dataclass(slots=True)
class Variables:
    """What is known of variables: those that a place has `set`, over those that are chosen for all."""

    choices: Mapping[str, Choice]
    own: dict[str, Value] = field(default_factory=dict)

    def copy(self) -> Variables:
        return Variables(self.choices, dict(self.own))

    def set(self, name: str, text: str, where: Where) -> None:
        self.own[name] = self.expand(text, where)

    def expand(self, text: str | Value, where: Where) -> Value:
        """A value with all that is known filled in."""
        pieces: list[Piece] = []
        for piece in parse(text) if isinstance(text, str) else text:
            if isinstance(piece, Var):
                pieces += self._known(piece)
            else:
                pieces.append(piece)
        if len(pieces) > MAX_PIECES:
            raise SourceError(where, f"a value is made of more than {MAX_PIECES} pieces")
        if sum(len(piece) for piece in pieces if isinstance(piece, str)) > MAX_LETTERS:
            raise SourceError(where, f"a value has more than {MAX_LETTERS} letters")
        return joined(tuple(pieces))

    def _known(self, variable: Var) -> Value:
        if variable.name in self.own:
            return self.own[variable.name]
        choice = self.choices.get(variable.name)
        if choice is not None:
            return _constant(choice) or (variable,)
        return (Var(_SAME.get(variable.name, variable.name)),)


_SAME: Final = {"query_string": "args", "document_uri": "uri", "binary_remote_addr": "remote_addr"}
_SENT_PATH: Final = re.compile(r"~\^\(\?<(\w+)>\[\^\?#?\]\*\)")
_SENT_QUERY: Final = re.compile(r"~\^\[\^\?\]\*\(\?<(\w+)>\[\?\]\.\*\)\$")


def _constant(choice: Choice) -> Value:
    """What a choice is whatever the request, or another variable; nothing where it depends on it."""
    if not choice.entries:
        return choice.default or ("",)
    if choice.source == (Var("request_uri"),) and len(choice.entries) == 1:
        key, value, _ = choice.entries[0]
        for expression, name in ((_SENT_PATH, "path"), (_SENT_QUERY, "query")):
            found = expression.fullmatch(key)
            if found and value == (Var(found[1]),):
                return (Var(name),)
    return ()


def choices_of(http: Directive) -> dict[str, Choice]:
    """The variables that `map`, `geo` and `split_clients` choose."""
    found: dict[str, Choice] = {}
    for each in http.block or ():
        if each.name in ("map", "geo", "split_clients") and each.block is not None and each.args:
            name = each.args[-1].removeprefix("$")
            source = each.args[0] if len(each.args) > 1 else "$remote_addr"
            found[name] = _choice(each, source)
    return found


def _choice(directive: Directive, source: str) -> Choice:
    choice = Choice(directive, _canonical(parse(source)), [])
    is_geo = directive.name == "geo"
    patterns = []
    for line in directive.block or ():
        if (
            line.name in ("hostnames", "volatile", "ranges", "proxy_recursive", "delete", "proxy")
            and len(line.args) != 1
        ):
            continue
        result = line.args[0] if line.args else ""
        value: Value = (result,) if is_geo else _canonical(parse(result))
        if line.name == "default" or (directive.name == "split_clients" and line.name == "*"):
            choice.default = value
        elif line.name.startswith("~") and directive.name == "map":
            patterns.append((line.name, value, line))
        else:
            key = line.name.removeprefix("\\") if directive.name == "map" else line.name
            choice.entries.append((key, value, line))
    choice.entries += patterns
    return choice


def _canonical(value: Value) -> Value:
    return tuple(Var(_SAME.get(each.name, each.name)) if isinstance(each, Var) else each for each in value)
