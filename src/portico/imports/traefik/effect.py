"""What a chain of middlewares comes to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from portico.imports.draft import Draft
from portico.imports.located import Value


class PathStep(NamedTuple):
    """One change of the path. For `replace_pattern`, `text` is a pattern and `by` what takes the place of the path."""

    kind: Literal["strip", "strip_pattern", "add", "replace", "replace_pattern"]
    text: str
    by: str = ""


@dataclass(slots=True)
class Effect:
    """What a chain of middlewares comes to. `closed` is why the route must not let requests through."""

    policies: dict[str, Any] = field(default_factory=dict)
    route: dict[str, Any] = field(default_factory=dict)
    service: dict[str, Any] = field(default_factory=dict)
    """Keys of the service, where all of its routes have them."""
    steps: list[PathStep] = field(default_factory=list)
    to_https: bool = False
    redirect: tuple[str, str, int] | None = None
    """A pattern of URLs, where they are sent, and the status."""
    closed: str = ""


def unknown(value: Value, draft: Draft, *known: str) -> None:
    """Say of all other keys that they are left."""
    names = {name.lower() for name in known}
    for key, each in value.entries().items():
        if key.lower() not in names and each.raw not in (None, False, "", 0, [], {}):
            draft.left(each.where, each.name, "there is no counterpart")
