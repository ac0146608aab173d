"""The client: it plays a case step by step and says what came of it."""

from __future__ import annotations

import asyncio
import gzip
import re
import time
from contextlib import suppress
from dataclasses import dataclass, replace

from conformance.player import AT_ONCE, Received, converse
from conformance.strict import Head

from .case import Case, See, Step
from .service import Run

RIGHT, WRONG, SILENT = "right", "wrong", "no answer"
REUSED = "reused"
"""It answered from what it had stored where it had to ask."""
NOT_REUSED = "not reused"
"""It asked the service, or asked for a whole answer, where it need not."""
_TIMEOUT = 10.0
_BACKGROUND_WITHIN = 5.0
_HERE = "127.0.0.1"


@dataclass(frozen=True)
class Verdict:
    """What a cache made of a case; `detail` says where it went wrong."""

    outcome: str
    detail: str = ""


class _OtherwiseError(Exception):
    def __init__(self, outcome: str, detail: str) -> None:
        super().__init__(detail)
        self.outcome = outcome


async def play(run: Run, port: int) -> Verdict:
    """All steps, until one goes wrong."""
    for number, step in enumerate(run.case.steps, 1):
        await asyncio.sleep(step.after)
        run.begin(number)
        before = len(run.arrived)
        received = await _ask(run, step, port)
        try:
            await _judge(run, step, received, before)
        except _OtherwiseError as error:
            return Verdict(error.outcome, f"step {number}: {error}")
    return Verdict(RIGHT)


async def play_all(runs: list[Run], port: int) -> list[Verdict]:
    """Play the cases, many at a time."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def in_turn(run: Run) -> Verdict:
        async with turn:
            return await play(run, port)

    return list(await asyncio.gather(*map(in_turn, runs)))


async def _ask(run: Run, step: Step, port: int) -> Received:
    """The step's request, on a connection of its own."""
    lines = [f"{step.method} {run.case.path}{step.at} HTTP/1.1", f"Host: {step.host}", *step.lines]
    content = (step.content or "").encode()
    if step.content is not None:
        lines.append(f"Content-Length: {len(content)}")
    talk = await converse(port, _HERE, [step.method])
    try:
        with suppress(ConnectionError):
            talk.writer.write(run.fill("\r\n".join([*lines, "", ""]), step.host).encode("latin-1") + content)
            await talk.receive(1, _TIMEOUT)
    finally:
        talk.writer.close()
    return talk.received


async def _judge(run: Run, step: Step, received: Received, before: int) -> None:
    """Raise _OtherwiseError where it is not as it must be."""
    see, arrived, own = step.see, run.arrived[before:], run.number
    if see.any:
        return
    if see.broken:
        whole = bool(received.responses) and received.responses[0].status < 500
        _demand(not whole, WRONG, f"it looks whole: {received.responses}")
        return
    _demand(bool(received.responses), SILENT, f"{received}")
    response = _decoded(received.responses[0])
    seen = f"{' '.join(response.start)} {response.fields} {response.body[:200]!r}"
    if see.asked is True:
        _demand(bool(arrived), REUSED if own in see.of else WRONG, f"the service was not asked: {seen}")
    elif see.asked is False and not step.background:  # a request in the background may be there already
        _demand(not arrived, NOT_REUSED, f"the service was asked: {arrived and arrived[0].fields}")
    came_from = _step_of(run.case, response)
    elsewhere = NOT_REUSED if came_from == own else REUSED
    _demand(came_from in (None, *see.of), elsewhere, f"it is the answer of step {came_from}: {seen}")
    if arrived:
        _judge_request(run, step, arrived[0])
    _judge_response(run, see, response, seen)
    if see.interim is not None:
        _demand(len(received.interims) == see.interim, WRONG, f"interim responses: {received.interims}")
    if step.background:
        await _background(run, before)


def _decoded(response: Head) -> Head:
    """The same, its body without its compression."""
    if response.all("content-encoding") != ["gzip"] or not response.body:
        return response
    return replace(response, body=gzip.decompress(response.body))


def _step_of(case: Case, response: Head) -> int | None:
    """The step whose answer has this body; None where no or more than one has."""
    if not response.body:
        return None
    steps = [number for number, step in enumerate(case.steps, 1) if step.answer.body.encode() == response.body]
    return steps[0] if len(steps) == 1 else None


def _judge_request(run: Run, step: Step, request: Head) -> None:
    for wanted in step.sent:
        found = _has(request, run.fill(wanted, step.host))
        outcome = NOT_REUSED if wanted.startswith(("If-None-Match", "If-Modified-Since")) else WRONG
        _demand(found, outcome, f"the service did not get {wanted}: {request.fields}")
    for unwanted in step.not_sent:
        _demand(
            not _has(request, run.fill(unwanted, step.host)), WRONG, f"the service got {unwanted}: {request.fields}"
        )


def _judge_response(run: Run, see: See, response: Head, seen: str) -> None:
    step, answers = run.case.steps[run.number - 1], [run.case.steps[number - 1].answer for number in see.of]
    statuses = see.statuses or tuple(200 if answer.status == 304 else answer.status for answer in answers)
    _demand(response.status in statuses, WRONG, f"the status is none of {statuses}: {seen}")
    if see.bodies or not see.statuses:
        bodies = see.bodies or tuple(answer.body for answer in answers)
        if step.method == "HEAD" or response.status in (204, 304):
            bodies = ("",)
        _demand(response.body.decode() in bodies, WRONG, f"the body is none of {bodies}: {seen}")
    host = step.host
    for wanted in see.fields:
        _demand(_has(response, run.fill(wanted, host)), WRONG, f"there is no {wanted}: {seen}")
    for unwanted in see.lacks:
        _demand(not _has(response, run.fill(unwanted, host)), WRONG, f"there is {unwanted}: {seen}")
    for pattern in see.matches:
        name, _, value = pattern.partition(": ")
        joined = ", ".join(response.all(name.lower()))
        _demand(re.search(value, joined) is not None, WRONG, f"{name} does not match {value}: {seen}")
    for name in see.same:
        given = [value for own, value in run.given[see.of[0]] if own.lower() == name.lower()]
        _demand(response.all(name.lower()) == given, WRONG, f"{name} is not {given}: {seen}")
    if see.age is not None:
        ages = response.all("age")
        fits = len(ages) == 1 and ages[0].isdigit() and see.age[0] <= int(ages[0]) <= see.age[1]
        _demand(fits, WRONG, f"Age is not within {see.age}: {seen}")


def _has(head: Head, wanted: str) -> bool:
    """Whether a field of this name is there, or has, its lines joined, this value."""
    name, colon, value = wanted.partition(":")
    values = head.all(name.lower())
    return bool(values) and (not colon or ", ".join(values) == value.strip())


async def _background(run: Run, before: int) -> None:
    """Wait for the request that the cache makes by itself."""
    until = time.monotonic() + _BACKGROUND_WITHIN
    while len(run.arrived) <= before:
        _demand(time.monotonic() < until, WRONG, "the service was not asked in the background")
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.5)  # its answer goes into the cache, which nobody can see from outside


def _demand(condition: bool, outcome: str, otherwise: str) -> None:
    if not condition:
        raise _OtherwiseError(outcome, otherwise)
