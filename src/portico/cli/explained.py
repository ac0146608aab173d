"""An explanation as text for people: the answer first, then why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from portico.core.errors import STATUS_LINES

if TYPE_CHECKING:
    from portico.snapshot.explain import Explanation
    from portico.snapshot.explain.explanation import Found, Lost

_LONGEST: Final = 100
"""Letters of a path, a value or a field that are shown: the beginning and the end of longer ones."""
_AROUND: Final = 40
"""How many letters are shown before the one at which a path differs."""
_WIDTH: Final = 12


def lines_of(said: Explanation) -> Iterator[str]:
    """Its lines."""
    asked = said["request"]
    at = f" at {asked['listener']}" if asked["listener"] else ""
    host = f" of {asked['host']}" if asked["host"] else ""
    yield f"{asked['method']} {_short(asked['target'])}{host}{at}: {_outcome(said)}"
    if said["route"] is not None:
        yield ""
        yield from _route(said, said["route"])
    elif said["nearest"] is not None:
        yield ""
        yield from _nearest(said, said["nearest"])
    yield from _others(said)
    yield from _notes(said)


def _outcome(said: Explanation) -> str:
    """What becomes of it, in some words."""
    answer, route = said["answer"], said["route"]
    if answer is None:
        return f"goes to {route['service']}" if route is not None else "passes"
    status = STATUS_LINES.get(answer["status"], b"")[9:].decode() or str(answer["status"])
    if answer["reason"] is None:
        return f"the gateway answers {status}"
    return f"refused with {status}, {answer['reason']}: {answer['detail']}"


def _route(said: Explanation, route: Found) -> Iterator[str]:
    yield _item("route", _named(route))
    for met in route["conditions"]:
        yield _item(f"  {met['condition']}", _met(met["wanted"], met["got"]))
    if (version := route["version"]) is not None:
        yield _item("version", f"{version['name'] or 'none'}: {version['why']}")
    if (split := route["split"]) is not None:
        yield _item("split", f"{split['side'] or 'any side'}: {split['why']}")
        total = sum(side["weight"] for side in split["sides"]) or 1
        for side in split["sides"]:
            yield _item("", f"{side['name']} {100 * side['weight'] / total:g}%")
    if (path := said["path"]) is not None:
        kept = path["client"] == path["service"].partition("?")[0]
        yield _item("path", "stays as it is" if kept else f"the service sees {_short(path['service'])}")
        if path["prefix"]:
            yield _item("", f"X-Forwarded-Prefix: {path['prefix']}")


def _nearest(said: Explanation, lost: Lost) -> Iterator[str]:
    yield _item("nearest", _named(lost))
    yield _item("", f"{lost['condition']}: {lost['says']}")
    if lost["at"] is not None:
        yield from _pointed(_compared(said), lost["at"])


def _compared(said: Explanation) -> str:
    """The path as it is compared with those of routes."""
    return "/" + "/".join(said["request"]["segments"] or ())


def _pointed(path: str, at: int) -> Iterator[str]:
    """The path, and a mark below the letter at which it differs."""
    start = max(at - _AROUND, 0)
    before = "…" if start else ""
    after = "…" if len(path) > at + _AROUND else ""
    yield _item("", before + path[start : at + _AROUND] + after)
    yield _item("", " " * (len(before) + at - start) + "^")


def _others(said: Explanation) -> Iterator[str]:
    others = said["others"][1:] if said["nearest"] is not None else said["others"]
    if not others and not said["more"]:
        return
    yield ""
    yield "others"
    yield from (_item(f"  {lost['condition']}", f"{_named(lost)}: {lost['says']}") for lost in others)
    if said["more"]:
        counted = ", ".join(f"{count:,} by {condition}" for condition, count in said["more"].items())
        yield f"  and {sum(said['more'].values()):,} more: {counted}"


def _notes(said: Explanation) -> Iterator[str]:
    if said["notes"]:
        yield ""
        yield from (f"note: {note}" for note in said["notes"])


def _named(route: Found | Lost) -> str:
    """`orders, /orders (portico.yaml:12)`."""
    where = f" ({route['where']})" if route["where"] else ""
    kind = {"default": ", the default route of a service", "endpoint": ", the gateway's own"}.get(route["kind"], "")
    path = "" if route["path"] == f"= {route['name']}" else f"  {_short(route['path'])}"
    return f"{route['name']}{path}{kind}{where}"


def _met(wanted: str, got: str) -> str:
    return _short(wanted) if wanted == got else f"{_short(wanted)} takes {_short(got)}"


def _item(name: str, text: str) -> str:
    return f"{name:<{_WIDTH}}{text}".rstrip()


def _short(text: str) -> str:
    """A text that may be long, with its beginning and its end."""
    half = _LONGEST // 2
    return text if len(text) <= _LONGEST + 3 else f"{text[:half]}…{text[-half:]} ({len(text):,} letters)"
