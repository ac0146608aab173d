"""A policy that has to wait: whatever becomes of it, its client and its request, there is one answer and one record."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from fuzz.case import Answer as Said
from fuzz.case import Case
from fuzz.left_over import check_bounds, check_end, check_pools
from fuzz.sent_back import check_client, responses_of
from fuzz.simulation import Seen, Simulation
from portico import policies
from portico.core.errors import Answer, Refusal
from portico.core.exchange import Exchange
from portico.policies import Pending
from portico.wire.http1.server import ServerConnection

OK = Said("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
GET = "GET /api/open/x HTTP/1.1\r\nHost: a\r\n\r\n"
NEXT = "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"
POST = "POST /api/open/x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n"
CHUNKED = "POST /api/open/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
NO = Refusal("scope_missing", "the policy said no")


class Waiting:
    """A policy whose every verdict waits for `settle`, `fail` or its own cancellation, as long as that takes."""

    def __init__(self) -> None:
        self.asked: list[asyncio.Future[Any]] = []
        self.cancelled = 0

    def __call__(self, exchange: Exchange) -> Awaitable[Any]:
        verdict: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.asked.append(verdict)
        return self._wait(verdict)

    async def _wait(self, verdict: asyncio.Future[Any]) -> Any:
        try:
            return await verdict
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    def settle(self, answer: Any) -> None:
        self.asked[-1].set_result(answer)

    def fail(self) -> None:
        self.asked[-1].set_exception(RuntimeError("the policy broke"))


@dataclass
class Scene:
    """A simulation in which one policy is pending."""

    simulation: Simulation
    policy: Any

    def say(self, *pieces: str, client: int = 0) -> None:
        """What the client sends now, piece by piece."""
        for piece in pieces:
            self.simulation.clients[client].line.say(piece.encode("latin-1"))
            self.simulation.turn()

    def then(self, act: Callable[[], object]) -> None:
        """Something happens, and all that follows from it without time passing."""
        act()
        self.simulation.turn()

    def pass_time(self, seconds: float) -> None:
        self.simulation.loop.pass_time(seconds)
        self.simulation.turn()

    def connection(self, client: int = 0) -> ServerConnection:
        protocol = self.simulation.clients[client].line.protocol
        assert isinstance(protocol, ServerConnection)
        return protocol

    def leave(self) -> None:
        self.then(self.simulation.clients[0].line.reset)

    def statuses(self, client: int = 0) -> list[int]:
        """What the client received."""
        return [message.status for message in responses_of(self.simulation, self.simulation.clients[client])]

    def seen(self, client: int = 0) -> list[tuple[int, str | None, list[str | None]]]:
        """Of each of its exchanges the status, the reason, and how often and how it ended."""
        return [_told(each) for each in self.simulation.seen_of(self.simulation.clients[client])]

    @property
    def asked_of_services(self) -> list[bytes]:
        """The contents of the requests that services got."""
        return [bytes(request.body) for service in self.simulation.services for request in service.requests]


def _told(seen: Seen) -> tuple[int, str | None, list[str | None]]:
    exchange = seen.exchange
    return (exchange.status, exchange.reason, seen.ends) if exchange is not None else (0, None, seen.ends)


def _giving(policy: Any) -> Callable[[Any, Any], Any]:
    return lambda settings, context: policy


@contextmanager
def scene(*chain: Any, clients: int = 1, limits: dict[str, int] | None = None, faults: int = 0) -> Iterator[Scene]:
    """Clients before the gateway, whose route has these policies; afterwards nothing is left of it all.

    `faults` are the events that report one.
    """
    steps = [policies.Step("cors", None, _giving(policy)) for policy in chain]
    with Simulation(Case([""] * clients, [OK], limits=limits or {}), steps) as simulation:
        simulation.watch.append(check_bounds)
        yield Scene(simulation, chain[0])
        for client in simulation.clients:
            check_client(simulation, client)
        check_pools(simulation)
        simulation.expire()
        check_end(simulation)
        assert not simulation.loop.faults, simulation.loop.faults
        assert len(simulation.events.lines) == faults, simulation.events.lines


# ---- what it says


def test_it_lets_a_request_go_on() -> None:
    with scene(Waiting()) as own:
        own.say(GET)
        assert own.statuses() == []
        own.then(lambda: own.policy.settle(None))
        own.simulation.settle()
        assert own.statuses() == [200]
        assert own.seen() == [(200, None, [None])]


def test_it_refuses_one() -> None:
    with scene(Waiting()) as own:
        own.say(POST, "abcd")
        own.then(lambda: own.policy.settle(NO))
        assert own.statuses() == [403]
        assert own.seen() == [(403, "scope_missing", [None])]
        assert own.asked_of_services == []


@pytest.mark.parametrize("sent", [[POST + "abcd"], [POST, "abcd"], [POST, "ab"], [CHUNKED, "4\r\nabcd\r\n0\r\n\r\n"]])
def test_the_service_gets_the_body_that_came_meanwhile_and_what_comes_later(sent: list[str]) -> None:
    with scene(Waiting()) as own:
        own.say(*sent)
        own.then(lambda: own.policy.settle(None))
        if sent[-1] == "ab":
            own.say("cd")
        own.simulation.settle()
        assert own.asked_of_services == [b"abcd"]
        assert own.statuses() == [200]


def test_a_large_body_is_not_read_before_the_verdict() -> None:
    size = 600_000
    with scene(Waiting()) as own:
        own.say(POST.replace("4", str(size)))
        for _ in range(size // 50_000):
            own.say("x" * 50_000)
        assert own.connection().reading_paused
        assert own.connection().bytes_in < 200_000
        own.then(lambda: own.policy.settle(None))
        own.simulation.settle()
        assert own.asked_of_services == [b"x" * size]
        assert own.statuses() == [200]


def test_pipelined_requests_wait_for_it() -> None:
    with scene(Waiting()) as own:
        own.say(GET + NEXT, NEXT)
        assert own.statuses() == []
        own.then(lambda: own.policy.settle(NO))
        own.simulation.settle()
        assert own.statuses() == [403, 200, 200]


def test_policies_behind_it_wait_for_it_each_in_its_turn() -> None:
    first, second = Waiting(), Waiting()
    with scene(first, second) as own:
        own.say(POST, "ab")
        assert (len(first.asked), len(second.asked)) == (1, 0)
        own.then(lambda: first.settle(None))
        assert len(second.asked) == 1
        own.say("cd")
        own.then(lambda: second.settle(None))
        own.simulation.settle()
        assert own.asked_of_services == [b"abcd"]
        assert own.statuses() == [200]


@dataclass(frozen=True)
class Equal:
    """Policies that are equal; the first that is asked need not wait."""

    asked: list[Exchange]

    def __call__(self, exchange: Exchange) -> Awaitable[None] | None:
        self.asked.append(exchange)
        return asyncio.sleep(0) if len(self.asked) > 1 else None

    def __hash__(self) -> int:
        return 1


@pytest.mark.parametrize("same", [False, True])
def test_equal_policies_are_each_called_once(same: bool) -> None:
    asked: list[Exchange] = []
    first = Equal(asked)
    with scene(first, first if same else Equal(asked), Equal(asked)) as own:
        own.say(GET)
        own.simulation.settle()
        assert own.statuses() == [200]
        assert len(asked) == 3


# ---- what becomes of the client and its request meanwhile


@pytest.mark.parametrize("sent", [[GET], [POST, "abcd"], [POST, "ab"], [CHUNKED], [GET + NEXT]])
def test_a_client_that_leaves_ends_it(sent: list[str]) -> None:
    with scene(Waiting()) as own:
        own.say(*sent)
        own.leave()
        assert own.policy.cancelled == 1
        assert own.seen() == [(499, "client_closed", ["client_closed"])]
        assert own.simulation.server.in_flight == 0


def test_a_client_that_leaves_before_the_policy_could_begin() -> None:
    """Its coroutine ends without a warning that nobody awaited it."""
    begun = []

    async def policy(exchange: Exchange) -> None:
        begun.append(exchange)

    with scene(policy) as own:
        own.connection().data_received(GET.encode())
        own.connection().turn.process()
        own.simulation.clients[0].line.cut = True
        own.then(lambda: own.simulation.clients[0].line._lose(ConnectionResetError()))
        assert own.seen() == [(499, "client_closed", ["client_closed"])]
        assert begun == []


@pytest.mark.parametrize(
    ("broken", "status", "reason"),
    [("z\r\n", 400, "malformed_request"), ("200001\r\n" + "x" * 10, 413, "body_too_large")],
)
@pytest.mark.parametrize("late", ["settles", "fails", "refuses", "never"])
def test_a_malformed_body_ends_the_pending_policy(broken: str, status: int, reason: str, late: str) -> None:
    with scene(Stubborn(), limits={"body_size": 5}, faults=late == "fails") as own:
        own.say(CHUNKED, broken)
        assert own.statuses() == [status]
        assert own.policy.cancelled == 1
        _come_late(own, late)
        assert own.statuses() == [status]
        assert own.seen() == [(status, reason, [None])]


@pytest.mark.parametrize("late", ["settles", "fails", "refuses", "never"])
def test_a_body_that_does_not_come_ends_the_pending_policy(late: str) -> None:
    with scene(Stubborn(), limits={"body_timeout": 5}, faults=late == "fails") as own:
        own.say(POST, "ab")
        own.pass_time(6)
        assert own.statuses() == [408]
        assert own.policy.cancelled == 1
        _come_late(own, late)
        assert own.seen() == [(408, "request_timeout", [None])]


def test_a_body_is_not_late_before_100_continue() -> None:
    with scene(Waiting(), limits={"body_timeout": 5}) as own:
        own.say(POST.replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n"))
        own.pass_time(20)
        assert bytes(own.simulation.clients[0].line.received) == b""
        own.then(lambda: own.policy.settle(None))
        assert bytes(own.simulation.clients[0].line.received) == b"HTTP/1.1 100 Continue\r\n\r\n"
        own.pass_time(4)
        own.say("abcd")
        own.simulation.settle()
        assert own.asked_of_services == [b"abcd"]
        assert own.statuses() == [200]


def test_a_body_that_does_not_come_after_100_continue_is_late() -> None:
    with scene(Waiting(), limits={"body_timeout": 5}) as own:
        own.say(POST.replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n"))
        own.pass_time(20)
        own.then(lambda: own.policy.settle(None))
        own.pass_time(6)
        assert own.seen() == [(408, "request_timeout", [None])]


# ---- what becomes of the policy


class Stubborn(Waiting):
    """One that goes on when it is cancelled."""

    async def _wait(self, verdict: asyncio.Future[Any]) -> Any:
        while not verdict.done():
            try:
                await asyncio.shield(verdict)
            except asyncio.CancelledError:
                self.cancelled += not verdict.done()
        return verdict.result()


def _come_late(own: Scene, how: str) -> None:
    """The verdict that nobody waits for any more, and its consequences."""
    match how:
        case "settles":
            own.then(lambda: own.policy.settle(None))
        case "refuses":
            own.then(lambda: own.policy.settle(NO))
        case "fails":
            own.then(own.policy.fail)
        case "never":
            own.policy.asked[-1].cancel()
    own.simulation.turn()
    assert own.asked_of_services == []


def test_one_that_raises_costs_its_exchange_and_nothing_else() -> None:
    with scene(Waiting(), faults=1) as own:
        own.say(GET + NEXT)
        own.then(own.policy.fail)
        own.simulation.settle()
        assert own.statuses() == [500, 200]
        assert own.seen()[0] == (500, "internal_error", [None])
        assert "the policy broke" in own.simulation.events.lines[0]


@pytest.mark.parametrize("kind", [Waiting, Stubborn])
@pytest.mark.parametrize("sent", [[GET], [POST, "abcd"]])
def test_one_that_never_ends_is_given_up(sent: list[str], kind: type[Waiting]) -> None:
    with scene(kind(), faults=1) as own:
        own.say(*sent)
        own.pass_time(29)
        assert own.statuses() == []
        own.pass_time(2)
        assert own.statuses() == [500]
        assert own.seen() == [(500, "internal_error", [None])]
        assert own.policy.cancelled == 1
        own.say(NEXT)
        assert own.statuses() == [500, 200], "its connection lives on"
        if kind is Stubborn:
            _come_late(own, "refuses")
            assert own.statuses() == [500, 200]


@pytest.mark.parametrize("late", ["settles", "fails", "refuses"])
def test_what_it_says_after_its_client_left_is_nothing_to_the_next_request(late: str) -> None:
    with scene(Stubborn(), clients=2, faults=late == "fails") as own:
        own.say(GET)
        own.leave()
        assert own.policy.cancelled == 1
        _come_late(own, late)
        assert own.seen() == [(499, "client_closed", ["client_closed"])]
        assert own.simulation.server.in_flight == 0


@pytest.mark.parametrize("shared", [False, True])
def test_one_that_is_cancelled_by_others_is_a_fault(shared: bool) -> None:
    """Its exchanges would never be answered: nobody else is going to."""
    common: list[asyncio.Future[None]] = []

    def policy(exchange: Exchange) -> Any:
        common.append(common[0] if common else asyncio.get_running_loop().create_future())
        return common[0] if shared else _of(common[0])

    with scene(policy, clients=2, faults=2) as own:
        own.say(GET, client=0)
        own.say(GET, client=1)
        own.then(common[0].cancel)
        for client in range(2):
            assert own.statuses(client) == [500]
            assert own.seen(client) == [(500, "internal_error", [None])]


async def _of(awaited: Awaitable[Any]) -> Any:
    return await awaited


@pytest.mark.parametrize("verdict", [5, "yes", object()])
def test_what_is_no_verdict_is_a_fault(verdict: Any) -> None:
    with scene(Waiting(), faults=1) as own:
        own.say(POST, "abcd")
        own.then(lambda: own.policy.settle(verdict))
        assert own.statuses() == [500]


def test_what_cannot_be_awaited_is_a_fault() -> None:
    with scene(lambda exchange: True, faults=1) as own:
        own.say(GET)
        assert own.statuses() == [500]


class OwnKind:
    """Neither a coroutine nor a future."""

    def __await__(self) -> Generator[Any, None, Answer]:
        yield from asyncio.sleep(0.01).__await__()
        return NO


def test_whatever_can_be_awaited_may_wait() -> None:
    with scene(lambda exchange: OwnKind()) as own:
        own.say(GET)
        own.pass_time(0.02)
        assert own.statuses() == [403]


def test_a_fault_in_what_comes_behind_it_is_answered_once() -> None:
    def broken(exchange: Exchange) -> Answer | None:
        raise RuntimeError("a policy behind it")

    with scene(Waiting(), broken, faults=1) as own:
        own.say(POST, "ab")
        own.then(lambda: own.policy.settle(None))
        assert own.statuses() == [500]
        assert own.seen() == [(500, "internal_error", [None])]


def test_an_answer_that_cannot_be_made_is_a_fault() -> None:
    text: Any = "a line that is no bytes"
    with scene(lambda exchange: Answer(200, (text,)), faults=1) as own:
        own.say(GET)
        assert own.seen() == [(500, "internal_error", [None])]
        assert own.statuses() == [500]


def test_a_fault_where_an_exchange_is_observed_is_no_reason_to_answer_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*observed: object) -> None:
        monkeypatch.undo()
        raise RuntimeError("nobody can count this")

    with scene(Waiting(), faults=1) as own:
        monkeypatch.setattr(own.simulation.gateway, "_count", broken)
        own.say(NEXT, NEXT)
        assert own.statuses() == [200, 200]
        assert own.simulation.server.in_flight == 0


# ---- the end of the gateway


def test_it_has_its_time_while_the_gateway_drains() -> None:
    with scene(Waiting()) as own:
        own.say(GET)
        own.simulation.server.draining = True
        own.then(own.simulation.server.close_idle)
        assert own.policy.cancelled == 0
        own.then(lambda: own.policy.settle(None))
        own.simulation.settle()
        (response,) = responses_of(own.simulation, own.simulation.clients[0])
        assert (response.status, response.all(b"connection")) == (200, [b"close"])


def test_the_end_of_the_drain_ends_it() -> None:
    with scene(Waiting()) as own:
        own.say(GET)
        own.simulation.server.draining = True
        own.then(own.simulation.server.cut)
        assert own.policy.cancelled == 1
        assert own.seen() == [(503, "drain_timeout", [None])]


def test_the_end_of_the_loop_ends_it_and_its_exchange_is_observed() -> None:
    with scene(Waiting(), faults=1) as own:
        own.say(GET)
        for task in asyncio.all_tasks(own.simulation.loop):
            task.cancel()
        own.simulation.turn()
        assert own.policy.cancelled == 1
        assert own.seen() == [(500, "internal_error", [None])]


# ---- one that answers without a task


class Later:
    """A policy whose verdict comes without a task."""

    def __init__(self) -> None:
        self.pending: list[Pending] = []

    def __call__(self, exchange: Exchange) -> Pending:
        self.pending.append(Pending())
        return self.pending[-1]


def test_a_verdict_that_comes_twice_counts_once() -> None:
    with scene(Later()) as own:
        own.say(GET)
        own.then(lambda: own.policy.pending[0].settle(NO))
        own.then(lambda: own.policy.pending[0].settle(None))
        own.then(lambda: own.policy.pending[0].settle(NO))
        assert own.statuses() == [403]
        assert own.seen() == [(403, "scope_missing", [None])]


@pytest.mark.parametrize("verdict", [None, NO])
def test_a_verdict_for_a_client_that_left_counts_for_nothing(verdict: Answer | None) -> None:
    with scene(Later()) as own:
        own.say(POST, "ab")
        own.leave()
        own.then(lambda: own.policy.pending[0].settle(verdict))
        assert own.seen() == [(499, "client_closed", ["client_closed"])]
        assert own.simulation.server.in_flight == 0


def test_what_a_pending_policy_waits_for_may_be_dropped_once_nobody_wants_it() -> None:
    dropped = []

    class Droppable(Pending):
        __slots__ = ()

        def cancel(self) -> None:
            dropped.append(self)

    with scene(lambda exchange: Droppable()) as own:
        own.say(GET)
        own.leave()
        assert len(dropped) == 1


def test_a_verdict_that_came_in_time_counts_though_the_loop_is_late() -> None:
    async def slow(exchange: Exchange) -> None:
        await asyncio.sleep(0.2)

    with scene(slow) as own:
        own.say(GET)
        own.pass_time(60)
        own.simulation.settle()
        assert own.statuses() == [200]
