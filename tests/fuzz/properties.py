"""The properties: for each, how a case is drawn and what has to hold of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Final

from . import generators as draw
from .case import Answer, Case
from .hooked import check_hooks, make_hooks
from .injection import check_contained, fault
from .left_over import check_bounds, check_end, check_faults
from .oracles import check_all
from .sent_back import responses_of
from .simulation import Simulation
from .tokens import check_tokens, make_tokens


@dataclass(frozen=True)
class Property:
    """`make` draws a case, `check` raises AssertionError where it does not hold."""

    name: str
    make: Callable[[Random], Case]
    check: Callable[[Case], None]


def check_wild(case: Case) -> None:
    """Whatever came, in whatever order: every oracle holds."""
    with Simulation(case) as simulation:
        simulation.watch.append(check_bounds)
        simulation.play()
        check_all(simulation)


def make_requests(random: Random) -> Case:
    return draw.wild(random, draw.any_requests, draw.valid_answer)


def make_answers(random: Random) -> Case:
    return draw.wild(random, draw.valid_request, draw.any_answer)


def make_both(random: Random) -> Case:
    return draw.wild(random, draw.any_requests, draw.any_answer, clients=3)


# ---- valid messages


def make_valid(random: Random) -> Case:
    """Requests that may pass, answers without faults, and an order in which nobody leaves or waits too long."""
    requests = [draw.plain_request(random) for _ in range(random.randint(1, 5))]
    answers = [draw.valid_answer(random) for _ in requests]
    for answer in answers:
        answer.early = False
        answer.raw = answer.raw.replace(" 503 ", " 200 ")
    if random.randint(0, 3) == 0:
        requests += requests * random.randint(0, min(20, 20_000 // sum(map(len, requests))))
        answers += answers
    letters = "".join(letter for letter in draw.schedule(random) if letter in "cCsS.pqrw01t")
    hangs_up = random.randint(0, 3) == 0
    return Case([draw.text(b"".join(requests))], answers, draw.sizes(random), letters, hangs_up=hangs_up)


def check_valid(case: Case) -> None:
    """Every request is answered by what its service said, and the connection stays open.

    Where the client ends its side, what waits behind the request that is under way may be left.
    """
    with Simulation(case) as simulation:
        simulation.play()
        client = simulation.clients[0]
        seen = simulation.seen_of(client)
        asked = case.clients[0].count(" /api/")
        delivered = responses_of(simulation, client)
        assert len(seen) == asked or (case.hangs_up and seen), f"{asked} requests sent, {len(seen)} read"
        assert all(each.ends == [None] and each.exchange.attempts for each in seen if each.exchange), "one was refused"
        assert len(delivered) == len(seen), "a response is missing"
        assert client.line.closing == case.hangs_up, "the connection was closed, or stayed open"
        check_all(simulation)


# ---- cuts


def make_cuts(random: Random) -> Case:
    """Any requests with answers that leave no doubt about where they end: a body behind HEAD would."""
    case = make_requests(random)
    for answer in case.answers:
        answer.early = False
    client = case.clients[0].replace("Expect", "Expected").replace("HEAD", "LOAD")
    client = client.replace("X-Slow", "X-Idle")  # a policy that waits may refuse before or after a request's last byte
    return replace(case, schedule="", dials="o", hangs_up=False, clients=[client])


def check_cuts(case: Case) -> None:
    """However the bytes are cut, the same is understood and the same comes back."""
    outcomes = []
    for sizes in ([1 << 20], case.sizes, [1]):
        with Simulation(replace(case, sizes=sizes)) as simulation:
            simulation.play()
            outcomes.append(_outcome(simulation))
            check_all(simulation)
    assert outcomes[0] == outcomes[1] == outcomes[2], f"cut another way: {outcomes}"


def _outcome(simulation: Simulation) -> list[Any]:
    """What a client would notice, without the words of the gateway's own refusals."""
    client = simulation.clients[0]
    delivered = []
    for seen, response in zip(simulation.seen_of(client), responses_of(simulation, client), strict=False):
        head = seen.request
        own = seen.exchange is not None and seen.exchange.reason is not None
        delivered.append((head and (head.method, head.target), own or (response.status, response.body)))
    return delivered


# ---- faults


def make_fault(random: Random) -> Case:
    """Anything that clients and services may say, and one exception in the middle of it."""
    make = random.choice((make_requests, make_answers, make_both, make_valid))
    return replace(make(random), fault=int(10 ** random.uniform(0.0, 3.5)))


def check_fault(case: Case) -> None:
    """Whatever it comes out of, it costs one client; all that was under way ends, and the next client is served."""
    with Simulation(case) as simulation:
        with fault(case.fault) as injector:
            simulation.play()
        check_contained(simulation, injector)


# ---- memory


def _padded(target: bytes, name: bytes) -> bytes:
    """A request so large that some hundred of them are a flood."""
    return b"GET %b HTTP/1.1\r\n%b: a\r\nX: %b\r\n\r\n" % (target, name, b"x" * 600)


def make_flood(random: Random) -> Case:
    """Hundreds of kilobytes of one thing, from one side, in small pieces, with a peer that may not read."""
    start = random.choice(
        (
            *(b"GET / HTTP/1.1\r\n", b"", b"POST /api/plain HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
            *(b"POST /api/plain HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n", b"GET /api/plain HTTP/1.1\r\n"),
            b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n",
        )
    )
    unit = random.choice(
        (
            *(
                b"\r\n",
                b"x",
                b"X: y\r\n",
                b"1\r\nx\r\n",
                b"0",
                b"4000\r\n" + b"z" * 0x4000 + b"\r\n",
                _padded(b"/livez", b"X"),
            ),
            *(
                _padded(b"/api/plain", b"Host"),
                b"0\r\nX: y\r\n",
                b"1;a=b",
                _padded(b"/livez", b"Host"),
            ),
        )
    )
    back = random.choice(
        (
            *(
                "HTTP/1.1 200 OK\r\n",
                "",
                "HTTP/1.1 200 OK\r\n\r\n",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            ),
            *("HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n", "HTTP/1.1 103 H\r\n\r\n"),
        )
    )
    backs = random.choice(
        ("X: y\r\n", "x", "1\r\nx\r\n", "HTTP/1.1 103 H\r\n\r\n", "4000\r\n" + "z" * 0x4000 + "\r\n", "0\r\n")
    )
    most = random.choice((2_000, 300_000, 700_000))
    size_back = 2_000 if b"/api" in unit else 902_000 - most  # thousands of large answers are the fuzzer's burden
    answer = Answer(back + backs * (size_back // len(backs)), early=random.randint(0, 1) == 0)
    return Case(
        clients=[draw.text(start + unit * (most // len(unit)))],
        answers=[answer],
        sizes=[random.choice((700, 5000, 65536))],
        schedule=random.choice(("", "p", "n", "c.q", "c.c.pq"))
        + "c." * random.randint(0, 200)
        + "s." * random.randint(0, 99),
        dials=random.choice(("o", "l", "n")),
    )


def check_flood(case: Case) -> None:
    """The sums that the gateway keeps are looked at after every turn, and everything ends with its client."""
    with Simulation(case) as simulation:
        simulation.watch.append(check_bounds)
        simulation.play()
        for client in simulation.clients:
            client.line.reset()
        simulation.expire()
        check_end(simulation)
        check_faults(simulation)


PROPERTIES: Final = (
    Property("requests", make_requests, check_wild),
    Property("answers", make_answers, check_wild),
    Property("both", make_both, check_wild),
    Property("valid", make_valid, check_valid),
    Property("cuts", make_cuts, check_cuts),
    Property("fault", make_fault, check_fault),
    Property("flood", make_flood, check_flood),
    Property("hooks", make_hooks, check_hooks),
    Property("tokens", make_tokens, check_tokens),
)
