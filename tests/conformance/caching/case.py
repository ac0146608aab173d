"""A case: what a client asks for, what the service would answer, and what both must get to see."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

CASES = Path(__file__).parent / "cases"
_CASE = {"name", "rfc", "level", "steps"}
_STEP = {"ask", "host", "with", "content", "after", "answer", "see", "sent", "not_sent", "background"}
_ANSWER = {"status", "fields", "body", "interim", "date", "ends", "delay", "ranges", "chunked", "gzip"}
_SEE = {
    *("of", "asked", "status", "body", "fields", "lacks", "matches", "same", "age", "interim", "broken", "any"),
}


@dataclass(frozen=True)
class Answer:
    """What the service answers if a step's request reaches it.

    `ends`: `closes` before an answer, `cut` in the middle of one. With `ranges` it serves ranges of its body, with
    `gzip` it sends it compressed. A status of 304 is given only to a conditional request, and any other gets 200.
    """

    status: int
    fields: tuple[str, ...]
    body: str
    interim: tuple[str, ...] = ()
    """The fields of a 103 before it."""
    date: bool = True
    """Whether it says `Date: {now}`."""
    ends: Literal["", "closes", "cut"] = ""
    delay: float = 0.0
    ranges: bool = False
    chunked: bool = False
    gzip: bool = False


@dataclass(frozen=True)
class See:
    """What the client must get.

    `of`: the steps of whose answers it may be one; `asked`: whether the service gets a request meanwhile, None if both
    are right. `fields` and `lacks` are names or whole lines; `matches` are lines whose values are patterns; `same`
    names fields that are as the service sent them in the first step of `of`.
    """

    of: tuple[int, ...]
    asked: bool | None
    statuses: tuple[int, ...] = ()
    """Empty: the one of that step."""
    bodies: tuple[str, ...] = ()
    """Empty: that of such a step, unless a status is given."""
    fields: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    matches: tuple[str, ...] = ()
    same: tuple[str, ...] = ()
    age: tuple[int, int] | None = None
    interim: int | None = None
    """How many interim responses come before it."""
    broken: bool = False
    """It must not look whole; all else is right."""
    any: bool = False
    """Whatever comes is right."""


@dataclass(frozen=True)
class Step:
    """One request of the client, `after` so many seconds.

    `sent` and `not_sent` are names or lines of what the service gets. With `background`, the service gets one more
    request once the client has its answer.
    """

    method: str
    at: str
    """What follows the case's own path."""
    host: str
    lines: tuple[str, ...]
    content: str | None
    after: float
    answer: Answer
    see: See
    sent: tuple[str, ...]
    not_sent: tuple[str, ...]
    background: bool


@dataclass(frozen=True)
class Case:
    """`must`: an RFC demands it; otherwise one allows or recommends it, and a good cache does it."""

    file: str
    number: int
    """Within its file, from 1."""
    name: str
    rfc: str
    must: bool
    steps: tuple[Step, ...]

    @property
    def path(self) -> str:
        """Its own path of the service."""
        return f"/{self.file}-{self.number}"


def cases() -> list[Case]:
    """All cases, file by file."""
    return [
        _case(file.stem, number, data)
        for file in sorted(CASES.glob("*.json"))
        for number, data in enumerate(json.loads(file.read_text()), 1)
    ]


def _case(file: str, number: int, data: Mapping[str, Any]) -> Case:
    _demand_known(data, _CASE, data["name"])
    assert data["level"] in ("must", "may"), data["name"]
    steps = tuple(_step(data["name"], index, step) for index, step in enumerate(data["steps"], 1))
    return Case(file, number, data["name"], data["rfc"], data["level"] == "must", steps)


def _step(name: str, number: int, data: Mapping[str, Any]) -> Step:
    _demand_known(data, _STEP, name)
    method, _, at = data.get("ask", "GET").partition(" ")
    return Step(
        method=method,
        at=at,
        host=data.get("host", "cache.example"),
        lines=tuple(data.get("with", ())),
        content=data.get("content"),
        after=data.get("after", 0.0),
        answer=_answer(name, number, data.get("answer", [])),
        see=_see(name, number, data.get("see", number)),
        sent=tuple(data.get("sent", ())),
        not_sent=tuple(data.get("not_sent", ())),
        background=data.get("background", False),
    )


def _answer(name: str, number: int, data: Mapping[str, Any] | list[str]) -> Answer:
    """A list is short for its fields."""
    if isinstance(data, list):
        data = {"fields": data}
    _demand_known(data, _ANSWER, name)
    given = {"status": 200, "body": f"step {number} of {name}", **data}
    return Answer(**{**given, "fields": tuple(data.get("fields", ())), "interim": tuple(data.get("interim", ()))})


def _see(name: str, number: int, data: Mapping[str, Any] | int) -> See:
    """A number is short for the step whose answer it is; one of an earlier step comes without a request."""
    if isinstance(data, int):
        data = {"of": data}
    _demand_known(data, _SEE, name)
    of, status, body = data.get("of", number), data.get("status", ()), data.get("body", ())
    return See(
        of=(of,) if isinstance(of, int) else tuple(of),
        asked=data.get("asked", of == number if isinstance(of, int) else None),
        statuses=(status,) if isinstance(status, int) else tuple(status),
        bodies=(body,) if isinstance(body, str) else tuple(body),
        fields=tuple(data.get("fields", ())),
        lacks=tuple(data.get("lacks", ())),
        matches=tuple(data.get("matches", ())),
        same=tuple(data.get("same", ())),
        age=tuple(data["age"]) if "age" in data else None,
        interim=data.get("interim"),
        broken=data.get("broken", False),
        any=data.get("any", False),
    )


def _demand_known(data: Mapping[str, Any], known: set[str], name: str) -> None:
    assert data.keys() <= known, f"{name}: what is {data.keys() - known}?"
