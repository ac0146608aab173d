"""Users' policies at random: what they did is noted, and what everybody gets must follow from it.

A policy is a text of five parts between slashes: the letters of its request, response, body and finished hooks, each
taken in turn from exchange to exchange, and `s` where its failures are skipped.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from itertools import cycle
from random import Random
from typing import Any, Final

from portico import policies
from portico.config import Config
from portico.plugin import Exchange, Head, Policy, ResponseHead, answer, refuse
from portico.policies.plugins.hooks import PluginHooks

from . import generators as draw
from .case import Case
from .left_over import check_end, check_faults, check_pools
from .passed_on import check_head, check_service_bytes, one, running
from .plan import CONFIG
from .readers import Message, read_requests
from .sent_back import check_order, meant_by_services, method_of, responses_of
from .simulation import Seen, Simulation

HOOKED: Final = deepcopy(CONFIG)
"""The same routes, all of them with policies of users, which stand where the limits are."""
for _name in ("plain", "open"):
    _own = HOOKED["services"][_name].setdefault("policies", {})
    _own["rate_limit"] = {"requests_per_minute": 60_000, "burst": 60_000}
_BUILT: Final = Config.model_validate(HOOKED)


class GoneWrongError(Exception):
    """What a policy raises."""


class Filter:
    """Changes bytes one by one, or all of them at the end; fails where it is told."""

    def __init__(self, letter: str) -> None:
        self.letter = letter
        self.kept = b""

    def feed(self, data: bytes) -> bytes:
        assert data
        if self.letter == "f":
            raise GoneWrongError
        if self.letter in "ks":
            self.kept += data
            return b""
        return CHANGES[self.letter](data)

    def end(self) -> bytes:
        if self.letter == "e":
            raise GoneWrongError
        return {"k": self.kept[::-1], "b": b"]"}.get(self.letter, b"")


CHANGES: Final[dict[str, Callable[[bytes], bytes]]] = {
    "i": bytes,
    "u": bytes.upper,
    "d": lambda data: bytes(byte for byte in data for _ in range(2)),
    "k": lambda data: data[::-1],
    "s": lambda data: b"",
    "b": bytes,
    "e": bytes,
    "f": lambda data: b"",
}
"""What a filter makes of a whole body, but for what it adds at the end."""


class AnyPolicy(Policy):
    """Does what its text says, and notes it by request."""

    def __init__(self, number: int, text: str) -> None:
        self.number = number
        parts = text.split("/")
        self.letters = [cycle(part or "-") for part in parts[:4]]
        self.skips = parts[4] == "s"
        self.did: dict[str, list[str]] = {}
        """For each request what it did: the hook and the letter."""
        self.reports: list[tuple[str, BaseException | None]] = []

    def _next(self, exchange: Exchange, hook: int) -> str:
        letter = next(self.letters[hook])
        self.did.setdefault(exchange.request_id, []).append("rsbf"[hook] + letter)
        return letter

    def request(self, exchange: Exchange) -> Any:
        letter = self._next(exchange, 0)
        if letter == "h":
            exchange.upstream_headers.set(f"X-Policy-{self.number}", exchange.request_id)
        return self._wait(exchange, letter) if letter in "wXAW" else self._verdict(exchange, letter)

    async def _wait(self, exchange: Exchange, letter: str) -> Any:
        await asyncio.sleep(1000 if letter == "W" else 0.2)
        return self._verdict(exchange, letter.lower())

    def _verdict(self, exchange: Exchange, letter: str) -> Any:
        if letter == "x":
            raise GoneWrongError
        if letter == "a":
            return answer(207, f"answer {self.number} {exchange.request_id}")
        return refuse(470, f"refused_by_{self.number}", exchange.request_id) if letter == "r" else None

    def response(self, exchange: Exchange, head: ResponseHead) -> Any:
        letter = self._next(exchange, 1)
        if letter == "e":
            head.headers.set(f"X-Policy-{self.number}", exchange.request_id)
        if letter == "t" and head.status not in (101, 204, 205, 304):
            head.status = 480 + self.number
        return self._verdict(exchange, letter)

    def body(self, exchange: Exchange, head: Head) -> Any:
        letter = next(self.letters[2])
        if letter == "-":
            return None
        way = "up" if head.status is None else "down"
        self.did.setdefault(exchange.request_id, []).append(way + letter)
        if letter == "x":
            raise GoneWrongError
        return Filter(letter)

    def finished(self, exchange: Exchange) -> Any:
        if self._next(exchange, 3) == "x":
            raise GoneWrongError


def make_hooks(random: Random) -> Case:
    """Anything that clients and services may say, in any order, between policies that do anything."""
    request = random.choice((draw.valid_request, draw.valid_request, draw.any_requests))
    case = draw.wild(random, request, random.choice((draw.valid_answer, draw.any_answer)), clients=3)
    case.trusted = False  # ids that clients choose may be the same
    for _ in range(random.randint(1, 3)):
        parts = [_letters(random, choice) for choice in ("nnnhhwaArxXW", "nnnetarx", "---iudksbefx", "nnnx")]
        case.policies.append("/".join((*parts, random.choice("-s"))))
    return case


def _letters(random: Random, choice: str) -> str:
    return "".join(random.choice(choice) for _ in range(random.choice((1, 1, 2, 5))))


def check_hooks(case: Case) -> None:
    """Every exchange ends once, for its policies too, and what clients and services get is what policies made of it."""
    own = [AnyPolicy(number, text) for number, text in enumerate(case.policies)]
    hooks = [PluginHooks(each, f"p{each.number}", 1.0, each.skips, _reporting(each)) for each in own]
    steps = [policies.Step("rate_limit", None, _giving(each.as_hooks())) for each in hooks]
    with Simulation(case, steps, _BUILT) as simulation:
        simulation.play()
        check_faults(simulation)
        for service in simulation.services:
            for request in check_service_bytes(service):
                check_head(request, simulation.case.trusted)
                _check_request(simulation, request, own)
        for client in simulation.clients:
            check_order(simulation, client)
            for message, seen in zip(responses_of(simulation, client), simulation.seen_of(client), strict=False):
                if seen.exchange is not None:
                    _check_response(simulation, message, seen, own)
        check_pools(simulation)
        simulation.expire()
        check_end(simulation)
        check_faults(simulation)
    for each, one_of in zip(hooks, own, strict=True):
        assert each.running == 0, f"{each.running} exchanges run at a policy after all"
        _check_ends(one_of)


def _reporting(policy: AnyPolicy) -> Callable[[str, BaseException | None, float], None]:
    return lambda hook, error, seconds: policy.reports.append((hook, error))


def _giving(policy: policies.Hooks) -> Callable[[Any, Any], policies.Hooks]:
    return lambda settings, context: policy


def _check_ends(policy: AnyPolicy) -> None:
    """Each exchange that it was asked about was over once, and nothing failed in it but what it raised."""
    for request_id, did in policy.did.items():
        hooks = Counter(each[0] for each in did)
        assert hooks["r"] == hooks["f"] == 1, f"{request_id}: a policy did {did}"
        assert hooks["s"] <= 1, f"{request_id}: a policy saw {hooks['s']} responses"
    for hook, error in policy.reports:
        blocked = isinstance(error, BlockingIOError)  # the machine was busy
        assert error is None or blocked or isinstance(error, GoneWrongError), f"{hook} failed: {error!r}"


def _filters(own: list[AnyPolicy], request_id: str, way: str) -> list[str]:
    """The letters of the filters that a body passes, in the order in which it does; the last ones asked for count."""
    found = []
    for each in own if way == "up" else reversed(own):
        letters = [did[len(way) :] for did in each.did.get(request_id, ()) if did.startswith(way)]
        found += letters[-1:]
    return [letter for letter in found if letter != "x"]


def _changed(body: bytes, letters: list[str]) -> bytes:
    """What filters make of a whole body."""
    for letter in letters:
        body = CHANGES[letter](body) + b"]" * (letter == "b")
    return body


def _check_request(simulation: Simulation, request: Message, own: list[AnyPolicy]) -> None:
    """Towards services: the body of the request that the client sent, as filters change it, and the fields set."""
    request_id = one(request, b"x-request-id").decode()
    meant = _meant(simulation, request_id)
    for policy in own:
        wanted = [request_id.encode()] if "rh" in policy.did.get(request_id, ()) else []
        assert request.all(b"x-policy-%d" % policy.number) == wanted, "a policy's field of another request"
    letters = _filters(own, request_id, "up")
    body = _changed(bytes(meant.body), letters)
    if request.complete:
        assert meant.complete, "a whole request of one that is not whole"
        assert request.body == body, f"{bytes(request.body[:40])!r} where {body[:40]!r} was meant"
    elif meant.complete and not {"k", "f"} & set(letters):
        assert body.startswith(request.body), f"{bytes(request.body[:40])!r} is no beginning of {body[:40]!r}"


def _meant(simulation: Simulation, request_id: str) -> Message:
    """What a client sent."""
    for client in simulation.clients:
        meant = read_requests(bytes(client.line.delivered))
        for index, seen in enumerate(simulation.seen_of(client)):
            exchange = seen.exchange or running(client)
            if exchange.request_id == request_id and index < len(meant):
                return meant[index]
    raise AssertionError(f"a service got {request_id}, which nobody sent")


def _check_response(simulation: Simulation, message: Message, seen: Seen, own: list[AnyPolicy]) -> None:
    """To the client: what a service meant, or the gateway or a policy itself, as hooks and filters change it."""
    exchange = seen.exchange
    assert exchange is not None
    request_id = exchange.request_id
    did = [each.did.get(request_id, []) for each in own]
    assert message.all(b"x-request-id") == [request_id.encode()], "another request's response"
    assert not message.complete or message.status == exchange.status, "another status than was observed"
    for policy, acts in zip(own, did, strict=True):
        values = message.all(b"x-policy-%d" % policy.number)
        assert values in ([], [request_id.encode()]), "a policy's field of another response"
        assert not values or "se" in acts, "a field that no policy set"
    answers = any(act in acts for acts in did for act in ("ra", "rA", "sa"))
    if message.body.startswith(b"answer"):
        assert answers, "an answer of no policy"
        assert message.body.endswith(request_id.encode()) or not message.complete, "another request's answer"
        return
    is_head = method_of(seen) == b"HEAD"
    if is_head and answers:
        return
    if exchange.reason is not None and message.complete:
        _check_refusal(message, exchange.reason, did)
    elif exchange.attempts:
        _check_passed(simulation, message, request_id, own, is_head)


def _check_refusal(message: Message, reason: str, did: list[list[str]]) -> None:
    acts = {act for each in did for act in each}
    if reason == "policy_failed":
        assert acts & {"rx", "rX", "rW", "rA", "rw", "sx", "upx", "upe", "upf", "downx", "downe", "downf"}, (
            "no policy failed"
        )
    if reason.startswith("refused_by_"):
        assert {"rr", "sr"} & set(did[int(reason[-1])]), "no policy refused"
    is_page = b"".join(message.all(b"content-type")).startswith(b"text/")  # the plan has some for 4xx
    assert is_page or not message.body or f'"reason":"{reason}"'.encode() in message.body


def _check_passed(
    simulation: Simulation, message: Message, request_id: str, own: list[AnyPolicy], is_head: bool
) -> None:
    """The status and body of a service's response."""
    edits = [480 + each.number for each in own if "st" in each.did.get(request_id, ())]
    letters = _filters(own, request_id, "down")
    for meant in meant_by_services(simulation, request_id):
        status, body = meant.status, bytes(meant.body)
        if status not in (204, 205, 304):
            status = edits[0] if edits else status  # the first policy's hook is the last one called
            body = b"" if is_head else _changed(body, letters)
        if message.status != status:
            continue
        if message.complete and meant.complete and message.body == body:
            return
        if not message.complete and (not meant.complete or {"k", "f"} & set(letters) or body.startswith(message.body)):
            return
    raise AssertionError(f"{message.status} {bytes(message.body[:40])!r} is nothing that policies made of a response")
