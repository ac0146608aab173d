"""What became of each directive; the last word on one is the worst that was said of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from portico.config.problems import KeyPath
from portico.imports.draft import Draft, Part
from portico.imports.nginx.known import LEFT, TAKEN
from portico.imports.nginx.syntax import Directive

_NOTHING = "Portico has nothing like it"


@dataclass(slots=True)
class Ledger:
    """Collects remarks on directives, and makes those that nobody has spoken of."""

    draft: Draft
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
            self.draft.changed(directive.where, str(directive), why, part, at)

    def left(self, directive: Directive, why: str = _NOTHING, part: Part | None = None, at: KeyPath = ()) -> None:
        self._worse.add(directive)
        if (directive, why) not in self._said:
            self._said.add((directive, why))
            self.draft.left(directive.where, str(directive), why, part, at)
        elif part is not None:
            part.comment(f"{directive.where}: {directive}: {why}", at)

    def is_known(self, directive: Directive) -> bool:
        return directive in self._taken or directive in self._worse

    def close(self, top: Iterable[Directive]) -> None:
        """Speak of all that nobody has spoken of."""
        stack = [*reversed([*top])]
        while stack:
            each = stack.pop()
            if not self.is_known(each):
                self._judge(each)
            if each in self._taken and each not in self._worse:
                self.draft.taken(each.where, str(each), self._taken[each])
            if each.block is not None and each.name not in _OPAQUE and not each.name.endswith("_by_lua_block"):
                stack += reversed(each.block)

    def _judge(self, directive: Directive) -> None:
        name = directive.name
        if name in TAKEN:
            self.taken(directive, why=TAKEN[name])
        elif directive.args == ("off",):
            self.taken(directive, why="it is off")
        elif name.endswith(("_by_lua_block", "_by_lua", "_by_lua_file")):
            self.left(directive, "programs in Lua are not read: a policy of your own in Python may do the same")
        else:
            self.left(directive, LEFT.get(name, _NOTHING))


_OPAQUE = frozenset({"map", "geo", "split_clients", "types", "upstream", "charset_map"})
"""Blocks whose lines are spoken of with them."""
