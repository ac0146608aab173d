"""The properties: for each, how a case is drawn and what has to hold of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Final

from . import generators as draw
from .case import Answer, Case
from .house import House
from .injection import check_contained, fault
from .left_over import check_bounds, check_end, check_faults
from .oracles import check_all
from .sent_back import responses_of


@dataclass(frozen=True)
class Property:
    """`make` draws a case, `check` raises AssertionError where it does not hold."""

    name: str
    make: Callable[[Random], Case]
    check: Callable[[Case], None]


def check_wild(case: Case) -> None:
    """Whatever came, in whatever order: every oracle holds."""
    with House(case) as house:
        house.watch.append(check_bounds)
        house.play()
        check_all(house)


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
    with House(case) as house:
        house.play()
        client = house.clients[0]
        seen = house.seen_of(client)
        asked = case.clients[0].count(" /api/")
        told = responses_of(house, client)
        assert len(seen) == asked or (case.hangs_up and seen), f"{asked} requests sent, {len(seen)} read"
        assert all(each.ends == [None] and each.exchange.attempts for each in seen if each.exchange), "one was refused"
        assert len(told) == len(seen), "a response is missing"
        assert client.line.closing == case.hangs_up, "the connection was closed, or stayed open"
        check_all(house)


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
        with House(replace(case, sizes=sizes)) as house:
            house.play()
            outcomes.append(_outcome(house))
            check_all(house)
    assert outcomes[0] == outcomes[1] == outcomes[2], f"cut another way: {outcomes}"


def _outcome(house: House) -> list[Any]:
    """What a client would notice, without the words of the gateway's own refusals."""
    client = house.clients[0]
    told = []
    for seen, response in zip(house.seen_of(client), responses_of(house, client), strict=False):
        head = seen.request
        own = seen.exchange is not None and seen.exchange.reason is not None
        told.append((head and (head.method, head.target), own or (response.status, response.body)))
    return told


# ---- faults


def make_fault(random: Random) -> Case:
    """Anything that clients and services may say, and one exception in the middle of it."""
    make = random.choice((make_requests, make_answers, make_both, make_valid))
    return replace(make(random), fault=int(10 ** random.uniform(0.0, 3.5)))


def check_fault(case: Case) -> None:
    """Whatever it comes out of, it costs one client; all that was under way ends, and who comes next is served."""
    with House(case) as house:
        with fault(case.fault) as injector:
            house.play()
        check_contained(house, injector)


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
    with House(case) as house:
        house.watch.append(check_bounds)
        house.play()
        for client in house.clients:
            client.line.reset()
        house.expire()
        check_end(house)
        check_faults(house)


PROPERTIES: Final = (
    Property("requests", make_requests, check_wild),
    Property("answers", make_answers, check_wild),
    Property("both", make_both, check_wild),
    Property("valid", make_valid, check_valid),
    Property("cuts", make_cuts, check_cuts),
    Property("fault", make_fault, check_fault),
    Property("flood", make_flood, check_flood),
)
