"""What is written is loaded before anybody sees it: a part that would not load is closed or left out, and said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from portico.config import ConfigError, load_text
from portico.imports.draft import Draft, Part
from portico.imports.remarks import Remark, SourceError, Where
from portico.imports.yaml_text import Variable

_ROUNDS: Final = 20
_NARROWING: Final = ("name", "path", "fallback", "hosts", "methods", "headers", "query")
"""The keys that say which requests a route takes."""
CLOSED: Final = {"respond": 503}
"""What a route does that must not let a request through, nor leave it to another route."""


@dataclass(frozen=True, slots=True)
class Imported:
    """A `portico.yaml` that loads, and what was said of the source's lines, in their order."""

    text: str
    remarks: tuple[Remark, ...]


def close(part: Part, keep: tuple[str, ...] = _NARROWING) -> None:
    """The route answers 503 from now on, to the requests that it takes."""
    part.data = {**{key: value for key, value in part.data.items() if key in keep}, **CLOSED}
    part.comments = {at: lines for at, lines in part.comments.items() if not at or at[0] in part.data}


def finished(draft: Draft, filename: str) -> Imported:
    """The text of a draft that loads as `filename`. Raises SourceError where nothing is left that would."""
    if not draft.routes and not draft.services:
        raise SourceError(
            Where(draft.source, 1), "there is nothing in it that Portico could do: no service and no route"
        )
    environ = dict.fromkeys(_variables(draft), "x" * 40)
    for _ in range(_ROUNDS):
        written = draft.written()
        try:
            load_text(written.text(), filename, environ)
        except ConfigError as error:
            wrong: dict[int, tuple[Part, str]] = {}
            for problem in error.problems:
                part = written.owner(problem.line)
                if part is None:
                    raise SourceError(Where(draft.source), f"what became of it does not load: {problem}") from None
                wrong.setdefault(id(part), (part, f"{problem.key}: {problem.message}"))
            for part, why in wrong.values():
                _without(draft, part, why)
        else:
            return Imported(written.text(), _ordered(draft.remarks))
    raise SourceError(Where(draft.source), "what became of it does not load, whatever is left out")


def _variables(draft: Draft) -> set[str]:
    parts = [draft.gateway, draft.policies, *draft.services.values(), *draft.consumers, *draft.routes]
    found: set[str] = set()
    for part in parts:
        _collect(part.data, found)
    return found


def _collect(value: Any, found: set[str]) -> None:
    if isinstance(value, Variable):
        found.add(value.name)
    elif isinstance(value, dict):
        for part in value.values():
            _collect(part, found)
    elif isinstance(value, (list, tuple)):
        for part in value:
            _collect(part, found)


def _without(draft: Draft, part: Part, why: str) -> None:
    """Take out what does not load, so that no request reaches a service that it did not reach before."""
    if part is draft.gateway or part is draft.policies:
        key = next((key for key in part.data if why.startswith((f"gateway.{key}", f"policies.{key}"))), None)
        if key is None or part is draft.policies:
            raise SourceError(part.where, f"what became of it does not load: {why}")
        del part.data[key]
        draft.left(part.where, f"gateway.{key}", why)
    elif any(part is each for each in draft.routes):
        is_closed = part.data.get("respond") == CLOSED["respond"]
        if is_closed or why.partition("].")[2].partition(":")[0].partition(".")[0] in _NARROWING:
            draft.routes = [each for each in draft.routes if each is not part]
            draft.left(part.where, f"route {part.data.get('name')}", f"it does not load: {why}")
        else:
            close(part)
            draft.left(part.where, f"route {part.data['name']}", f"it answers 503, as it does not load: {why}", part)
    elif any(part is each for each in draft.consumers):
        draft.consumers = [each for each in draft.consumers if each is not part]
        draft.left(part.where, f"consumer {part.data.get('name')}", f"it does not load: {why}")
    else:
        name = next(name for name, each in draft.services.items() if each is part)
        del draft.services[name]
        draft.left(part.where, f"service {name}", f"its routes answer 503, as it does not load: {why}")
        for route in draft.routes:
            if name in _services_of(route.data):
                close(route)


def _services_of(data: Mapping[str, Any]) -> set[Any]:
    sides = data.get("split") or ()
    mirrors = data.get("mirror") or ()
    mirrors = mirrors if isinstance(mirrors, (list, tuple)) else [mirrors]
    named = [*sides, *(each if isinstance(each, Mapping) else {"service": each} for each in mirrors)]
    return {data.get("service"), *(each.get("service") for each in named)}


def _ordered(remarks: Mapping[Remark, None]) -> tuple[Remark, ...]:
    """By file, as the files were read, and line."""
    files = {name: index for index, name in enumerate(dict.fromkeys(remark.file for remark in remarks))}
    return tuple(sorted(remarks, key=lambda remark: (files[remark.file], remark.line or 0)))
