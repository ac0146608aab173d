"""A configuration as an importer puts it together: plain data in the order of the source, with comments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from portico.config.problems import KeyPath
from portico.imports.remarks import Kind, Remark, Where, quoted
from portico.imports.yaml_text import Variable, Writer

__all__ = ["Draft", "Part", "Variable"]


@dataclass(slots=True, eq=False)
class Part:
    """A service, a route, a consumer, or a section: what is written of it, where it comes from, and comments.

    `comments` stand above the key at each path in `data`; those at `()` above all of it.
    """

    where: Where
    data: dict[str, Any] = field(default_factory=dict)
    comments: dict[KeyPath, list[str]] = field(default_factory=dict)

    def comment(self, text: str, at: KeyPath = ()) -> None:
        """A line for people; the same one is written once."""
        lines = self.comments.setdefault(at, [])
        if text not in lines:
            lines.append(text)


@dataclass(slots=True)
class Draft:
    """Portico's configuration of a source, and what is said of the source's lines.

    Text in `data` means itself: a dollar sign is written so that it stays one. `Variable("NAME")` is `${NAME}`.
    """

    source: str
    target: str
    """Whose words the source is in, such as `nginx`."""
    gateway: Part = field(init=False)
    policies: Part = field(init=False)
    services: dict[str, Part] = field(default_factory=dict)
    consumers: list[Part] = field(default_factory=list)
    routes: list[Part] = field(default_factory=list)
    remarks: dict[Remark, None] = field(default_factory=dict)
    heading: list[str] = field(default_factory=list)
    """Comments at the top of the file, below its first line."""

    def __post_init__(self) -> None:
        self.gateway = Part(Where(self.source))
        self.policies = Part(Where(self.source))

    def taken(self, where: Where, what: str, why: str = "") -> None:
        """A line of the source means the same here."""
        self._remark(where, "taken", what, why)

    def changed(self, where: Where, what: str, why: str, part: Part | None = None, at: KeyPath = ()) -> None:
        """A line is there, and means something else; said above `part` as well."""
        remark = self._remark(where, "changed", what, why)
        if part is not None:
            part.comment(f"{where}: {remark.text}", at)

    def left(self, where: Where, what: str, why: str, part: Part | None = None, at: KeyPath = ()) -> None:
        """A line has no counterpart: a comment says so, above `part` or at the top of the file."""
        remark = self._remark(where, "left", what, why)
        text = f"{where}: {remark.text}"
        if part is None:
            self.heading.append(text)
        else:
            part.comment(text, at)

    def _remark(self, where: Where, kind: Kind, what: str, why: str) -> Remark:
        remark = Remark(where.file, where.line, kind, quoted(what), quoted(why, 400))
        self.remarks[remark] = None
        return remark

    def free_name(self, wanted: str, taken: set[str] | dict[str, Any] | None = None) -> str:
        """A name that no route (or none of `taken`) has yet, like the one that is wanted."""
        return free_name(wanted, {str(part.data.get("name")) for part in self.routes} if taken is None else taken)

    def written(self) -> Writer:
        """The YAML, and which part each line of it is of."""
        writer = Writer()
        writer.comment(f"Written by portico import {self.target} from {self.source}.")
        for line in dict.fromkeys(self.heading):
            writer.comment(line)
        if self.gateway.data or self.gateway.comments:
            writer.section("gateway", self.gateway)
        if self.services:
            writer.heads("services", self.services)
        if self.policies.data or self.policies.comments:
            writer.section("policies", self.policies)
        if self.consumers:
            writer.items("consumers", self.consumers)
        if self.routes:
            writer.items("routes", self.routes)
        return writer

    def text(self) -> str:
        """The YAML."""
        return self.written().text()


def free_name(wanted: str, taken: Any) -> str:
    """A name of letters, digits, `.`, `_` and `-` that is not among those `taken`."""
    allowed = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "-" for letter in wanted
    )
    name = base = allowed.strip("-._")[:80] or "unnamed"
    number = 2
    while name in taken:
        name = f"{base}-{number}"
        number += 1
    return name
