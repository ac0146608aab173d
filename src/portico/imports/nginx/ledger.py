"""What became of each directive; the last word on one is the worst that was said of it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from portico.config.problems import KeyPath
from portico.imports.draft import Draft, Part, Variable
from portico.imports.nginx.known import LEFT, PROGRAMS, TAKEN
from portico.imports.nginx.syntax import Directive

_NOTHING = "Portico has nothing like it"


@dataclass(slots=True)
class Ledger:
    """Collects remarks on directives, and makes those that nobody has spoken of."""

    draft: Draft
    secrets: dict[str, str] = field(default_factory=dict)
    """Variables of the environment for secrets in the source."""
    _taken: dict[Directive, str] = field(default_factory=dict)
    _worse: set[Directive] = field(default_factory=set)
    _said: set[tuple[Directive, str]] = field(default_factory=set)

    def taken(self, *directives: Directive | None, why: str = "") -> None:
        for each in directives:
            if each is not None:
                self._taken.setdefault(each, why)

    def changed(self, directive: Directive, why: str, part: Part | None = None, at: KeyPath = ()) -> None:
        self._worse.add(directive)
        if (directive, why) not in self._said:
            self._said.add((directive, why))
            self.draft.changed(directive.where, self._shown(directive), why, part, at)

    def left(self, directive: Directive, why: str = _NOTHING, part: Part | None = None, at: KeyPath = ()) -> None:
        self._worse.add(directive)
        if (directive, why) not in self._said:
            self._said.add((directive, why))
            self.draft.left(directive.where, self._shown(directive), why, part, at)
        elif part is not None:
            part.comment(f"{directive.where}: {self._shown(directive)}: {why}", at)

    def secret(self, name: str, value: str) -> Variable:
        """The variable that a secret of the source is read from."""
        wanted = re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_") or "SECRET"
        if value not in self.secrets:
            number = 1
            while (known := wanted if number == 1 else f"{wanted}_{number}") in self.secrets.values():
                number += 1
            self.secrets[value] = known
        return Variable(self.secrets[value])

    def _shown(self, directive: Directive) -> str:
        """A directive, without the secrets in it."""
        text = str(directive)
        for value in self.secrets:
            text = text.replace(value, "…")
        return text

    def is_known(self, directive: Directive) -> bool:
        return directive in self._taken or directive in self._worse

    def close(self, top: Iterable[Directive]) -> None:
        """Speak of all that nobody has spoken of."""
        stack = [*reversed([*top])]
        while stack:
            each = stack.pop()
            is_unreached = each.name == "location" and not self.is_known(each)
            if not self.is_known(each):
                self._judge(each)
            if each in self._taken and each not in self._worse:
                self.draft.taken(each.where, self._shown(each), self._taken[each])
            is_opaque = is_unreached or each.name in _OPAQUE or each.name.endswith("_by_lua_block")
            if each.block is not None and not is_opaque:
                stack += reversed(each.block)

    def _judge(self, directive: Directive) -> None:
        name = directive.name
        if name in TAKEN:
            self.taken(directive, why=TAKEN[name])
        elif directive.args == ("off",) and name != "access_log":
            self.taken(directive, why="it is off")
        elif name.endswith(("_by_lua_block", "_by_lua", "_by_lua_file")):
            self.left(directive, PROGRAMS)
        else:
            self.left(directive, LEFT.get(name, _NOTHING))


_OPAQUE = frozenset({"map", "geo", "split_clients", "types", "upstream", "charset_map", "stream", "mail"})
"""Blocks whose lines are spoken of with them."""
