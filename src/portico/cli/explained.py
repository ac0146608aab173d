"""An explanation as text for people: what becomes of the request first, then why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from portico.core.errors import STATUS_LINES

if TYPE_CHECKING:
    from portico.snapshot.explain.explanation import Answered, Explanation, Found, Lost, Split, Verdict

_LONGEST: Final = 100
"""Letters of what a client sent that are shown: the beginning and the end of more."""
_AROUND: Final = 40
"""How many letters are shown before and behind the one at which a path differs."""
_WIDTH: Final = 14
_MARKS: Final = {"passes": "+", "forwarded": "+", "answered": "=", "refused": "-", "unknown": "?"}
_OF_EVERY_ANSWER: Final = ("date", "x-request-id", "content-length")
_STATUS: Final = len(b"HTTP/1.1 ")


def lines_of(said: Explanation) -> Iterator[str]:
    """Its lines, in paragraphs."""
    yield _summary(said)
    for paragraph in (
        _route(said),
        _nearest(said),
        _policies(said["policies"]),
        _answer(said["answer"]),
        _target(said),
        _head(said["head"]),
        _others(said),
        (f"note: {note}" for note in said["notes"]),
    ):
        lines = [*paragraph]
        if lines:
            yield ""
            yield from lines


def _summary(said: Explanation) -> str:
    """What becomes of it, in a line."""
    asked = said["request"]
    host = f" of {_short(asked['host'])}" if asked["host"] else ""
    at = f" at {asked['listener']}" if asked["listener"] else ""
    return f"{_short(asked['method'])} {_short(asked['target'])}{host}{at}: {_outcome(said)}"


def _outcome(said: Explanation) -> str:
    answer, route = said["answer"], said["route"]
    if said["outcome"] == "unknown":
        return "it depends on what is marked with ?"
    if answer is None:
        return f"goes to {route['service']}" if said["head"] and route else "the gateway answers itself"
    if answer["reason"] is None:
        return f"the gateway answers {_status(answer)}"
    return f"refused with {_status(answer)} ({answer['reason']})"


def _status(answer: Answered) -> str:
    line = STATUS_LINES.get(answer["status"])
    return line[_STATUS:].decode() if line is not None else str(answer["status"])


# ---- the route, or the one that nearly took it


def _route(said: Explanation) -> Iterator[str]:
    route = said["route"]
    if route is None:
        return
    yield _item("route", _named(route))
    if (method := said["request"]["preflight_for"]) is not None:
        yield _item("", f"it is a preflight: it takes the route of the {method} that it asks about")
    for met in route["conditions"]:
        wanted, got = _short(met["wanted"]), _short(met["got"])
        yield _item(f"  {met['condition']}", wanted if wanted == got else f"{wanted}  takes  {got}")
    if (version := route["version"]) is not None:
        yield _item("version", f"{version['name'] or 'none'}: {version['why']}")
    if (split := route["split"]) is not None:
        yield _item("split", _side(split))
    if (path := said["path"]) is not None:
        before, after = _short(said["request"]["target"]), _short(path["service"])
        sees = "sees" if said["head"] is not None else "would see"
        yield _item("path", "stays as it is" if before == after else f"the service {sees} {after}")


def _side(split: Split) -> str:
    """The side that it takes, and the share of each."""
    total = sum(side["weight"] for side in split["sides"]) or 1
    shares = ", ".join(f"{side['name']} {100 * side['weight'] / total:.4g} %" for side in split["sides"])
    return f"{split['side'] or 'any'}: {split['why']} ({shares})"


def _nearest(said: Explanation) -> Iterator[str]:
    lost = said["nearest"]
    if lost is None:
        return
    if _is_in_doubt(lost):
        yield _item("in doubt", _in_words(lost))
        yield from (_item("", _in_words(each)) for each in said["others"][1:2])
        return
    yield _item("nearest", _named(lost))
    yield _item(f"  {lost['condition']}", _short_words(lost["says"]))
    if lost["at"] is not None:
        yield from _pointed("/" + "/".join(said["request"]["segments"] or ()), lost["at"])


def _is_in_doubt(lost: Lost) -> bool:
    """Whether it would take the request, were it not another route's as well."""
    return lost["at"] is None and lost["condition"] == "path"


def _in_words(lost: Lost) -> str:
    """A route, and why it does not take the request."""
    condition = "" if _is_in_doubt(lost) else f"{lost['condition']}: "
    return f"{_named(lost)}  {condition}{_short_words(lost['says'])}"


def _pointed(path: str, at: int) -> Iterator[str]:
    """The path, and a mark below the letter at which it differs."""
    start = max(at - _AROUND, 0)
    before = "…" if start else ""
    after = "…" if len(path) > at + _AROUND else ""
    yield _item("", before + path[start : at + _AROUND] + after)
    yield _item("", " " * (len(before) + at - start) + "^")


# ---- what comes behind it


def _policies(verdicts: Iterable[Verdict]) -> Iterator[str]:
    for number, verdict in enumerate(verdicts):
        where = f"  ({verdict['where']})" if verdict["where"] else ""
        mark = _MARKS[verdict["says"]]
        yield _item("" if number else "policies", f"{mark} {verdict['key']}: {verdict['detail']}{where}")


def _answer(answer: Answered | None) -> Iterator[str]:
    if answer is None:
        return
    detail = f": {answer['detail']}" if answer["detail"] else ""
    yield _item("answer", f"{_status(answer)}{detail}")
    for name, value in answer["headers"]:
        if name.lower() not in _OF_EVERY_ANSWER:
            yield _item("", f"{name}: {_short(value)}")


def _target(said: Explanation) -> Iterator[str]:
    if (cache := said["cache"]) is not None:
        yield _item("cache", _cached(cache))
    if (instance := said["instance"]) is not None:
        url = f"{instance['url']}: " if instance["url"] else ""
        yield _item("instance", f"{url}{instance['why']}")
        yield from (_item("", _instance(other)) for other in instance["others"])


def _cached(cache: Mapping[str, Any]) -> str:
    key = f", under {_short(cache['key'])}" if cache["key"] else ""
    return f"{cache['state'] or 'not asked'}{key} ({cache['store']})"


def _instance(instance: Mapping[str, Any]) -> str:
    if instance["against"]:
        return f"not {instance['url']}: {instance['against']}"
    return f"or {instance['url']}: {instance['state']}, {instance['in_flight']} requests under way"


def _head(head: str | None) -> Iterator[str]:
    if head is not None:
        yield "the service gets"
        yield from (f"    {line}" for line in head.removesuffix("\r\n\r\n").split("\r\n"))


# ---- all other routes


def _others(said: Explanation) -> Iterator[str]:
    others, more = said["others"], said["more"]
    if (nearest := said["nearest"]) is not None:
        others = others[1 + _is_in_doubt(nearest) :]
    for number, lost in enumerate(others):
        yield _item("" if number else "others", _in_words(lost))
    if more:
        counted = ", ".join(f"{count:,} by {condition}" for condition, count in more.items())
        yield _item("" if others else "others", f"and {sum(more.values()):,} more: {counted}")


def _named(route: Found | Lost) -> str:
    """`orders /orders (portico.yaml:12)`."""
    where = f" ({route['where']})" if route["where"] else ""
    kind = {"default": " by default", "endpoint": ", the gateway's own"}.get(route["kind"], "")
    path = "" if route["kind"] == "endpoint" else f" {_short(route['path'])}"
    return f"{route['name']}{path}{kind}{where}"


def _item(name: str, text: str) -> str:
    return f"{name:<{_WIDTH}}{text}".rstrip()


def _short(text: str) -> str:
    """A text that may be long, with its beginning and its end."""
    half = _LONGEST // 2
    return text if len(text) <= _LONGEST + 3 else f"{text[:half]}…{text[-half:]} ({len(text):,} letters)"


def _short_words(text: str) -> str:
    """The same of a sentence, in which values may be long."""
    return " ".join(map(_short, text.split(" ")))
