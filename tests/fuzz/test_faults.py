"""An exception that nobody foresaw, wherever it comes from, costs one client; everybody else goes on."""

from __future__ import annotations

from typing import Any, Final

import pytest

from portico.config import Config
from portico.core.codings import encode

from .case import Answer, Case
from .injection import check_contained, fault
from .plan import SECRET, TOKEN
from .simulation import Simulation

_WRITTEN: Final[dict[str, Any]] = {
    "services": {
        "plain": {
            "url": "http://plain.test:81",
            "health_check": False,
            "max_requests": 2,
            "queue": {"size": 8, "timeout": 5},
            "retries": {"attempts": 2, "on": ["connect", "reset", 503], "budget": 1.0},
        },
        "open": {
            "instances": [{"url": "http://192.0.2.80:81"}, {"url": "http://192.0.2.81:81"}],
            "hedge": {"after": "200ms"},
            "health_check": False,
            "slow_start": 5,
            "circuit_breaker": {"failures": 3, "open_for": 1},
        },
        "kept": {
            "url": "http://192.0.2.83:83",
            "health_check": False,
            "max_requests": 3,
            "queue": {"size": 8, "timeout": 5},
            "circuit_breaker": {"failures": 3, "open_for": 1},
            "policies": {"cache": {"stale_while_revalidate": 3, "stale_if_error": 60}},
        },
        "guarded": {
            "url": "http://192.0.2.82:82",
            "health_check": False,
            "policies": {
                "rate_limit": {"requests_per_minute": 600, "burst": 30, "by": {"header": "X-Key"}},
                "auth": {"jwt": {"secret": SECRET}},
            },
        },
        "coded": {
            "url": "http://192.0.2.84:84",
            "health_check": False,
            "policies": {"compress": {"min_size": 8}, "decompress": True},
        },
    },
}
CONFIG: Final = Config.model_validate(_WRITTEN)
"""What waits, tries again, hedges and counts."""

OK: Final = Answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
CHUNKED: Final = Answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
BUSY: Final = Answer("HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno")
TRIES: Final = 1
"""Of the calls of a function by another so many are tried: all of them take minutes. Who changes how faults are
contained sets it to 100, and `EVERY` to 1."""
EVERY: Final = 2
"""Of what is left, one in so many is tried."""
SHARES: Final = range(4)
"""Parts of the calls, each a test of its own."""


def get(path: str, more: str = "") -> str:
    return f"GET /api/{path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\n{more}\r\n"


def post(path: str) -> str:
    return f"POST /api/{path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"


def put(path: str) -> str:
    return f"PUT /api/{path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde"


def clients() -> list[str]:
    return [
        get("plain/1") + put("plain/2") + post("plain/3"),
        get("plain/4", "X-Slow: 1\r\n") + get("open/5") + post("open/6"),
        get("guarded/7") + get("guarded/8") + get("plain/9"),
        post("plain/1") + put("plain/2"),
    ]


def smooth() -> Case:
    """Everything goes well."""
    return Case(clients(), [OK, CHUNKED], [40, 1000], "0C1C2C3C..t..")


def rough() -> Case:
    """Services are slow, refuse, break off and close; a client breaks off, too."""
    closing = Answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", end="close")
    answers = [OK, BUSY, CHUNKED, closing, Answer("", end="reset")]
    return Case([*clients(), get("plain/late")], answers, [40, 1000], "0C1C2C3C4C..4x.tT..", dials="olro")


def answered(simulation: Simulation) -> list[int]:
    """How many responses each client had."""
    return [bytes(client.line.received).count(b"HTTP/1.1 200") for client in simulation.clients]


FRESH: Final = Answer('HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Control: max-age=1\r\nETag: "1"\r\n\r\nok')
STREAM: Final = Answer(
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nCache-Control: max-age=60\r\n\r\n"
    + "".join(f"1000\r\n{letter * 4096}\r\n" for letter in "abcdefghijklmnopqrst")
    + "0\r\n\r\n"
)
UNCHANGED: Final = Answer('HTTP/1.1 304 Not Modified\r\nETag: "1"\r\nCache-Control: max-age=1\r\n\r\n')
PRIVATE: Final = Answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Control: private\r\n\r\nok")


def anonymous(path: str, more: str = "") -> str:
    return f"GET /api/kept/{path} HTTP/1.1\r\nHost: a\r\n{more}\r\n"


def stored() -> Case:
    """What one client's request stores, others get: at once, and while it comes."""
    same = anonymous("1") + anonymous("2") + anonymous("1", "Range: bytes=0-0\r\n")
    fresh = Answer(FRESH.raw.replace("max-age=1", "max-age=60"))
    return Case([same, same, same, anonymous("1") + anonymous("1")], [fresh, STREAM], [1000], "0C1C2C3C..t..")


def stale() -> Case:
    """What is stored gets old; the service confirms it, refuses, keeps things private, breaks off and closes."""
    answers = [FRESH, STREAM, UNCHANGED, BUSY, PRIVATE, Answer("", end="reset"), FRESH]
    changes = post("kept/1") + anonymous("1")
    same = anonymous("1") + anonymous("2") + anonymous("3")
    schedule = "0C1C2C..ssssssT3C..ssT4C1x.." + "s" * 30 + "T5C..ssssT6C"
    return Case([same, same, same, anonymous("1"), changes, same, anonymous("1")], answers, [9000], schedule)


TEXT: Final = "again and " * 40
TYPE: Final = 'Content-Type: text/plain\r\nETag: "1"\r\n'
WORDS: Final = Answer(f"HTTP/1.1 200 OK\r\n{TYPE}Content-Length: {len(TEXT)}\r\n\r\n{TEXT}")
PIECES: Final = Answer(f"HTTP/1.1 200 OK\r\n{TYPE}Transfer-Encoding: chunked\r\n\r\n190\r\n{TEXT}\r\n0\r\n\r\n")


def coded() -> Case:
    """Responses are compressed, and requests decompressed."""
    asked = 'Host: a\r\nAccept-Encoding: gzip\r\nIf-None-Match: W/"2-gzip"\r\n'
    gets = f"GET /api/coded/1 HTTP/1.1\r\n{asked}\r\n" * 2
    body = encode(TEXT.encode(), b"gzip", 6).decode("latin-1")
    puts = f"PUT /api/coded/1 HTTP/1.1\r\n{asked}Content-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    return Case([gets, puts + gets, puts * 2, gets], [WORDS, PIECES], [30, 1000], "0C1C2C3C..t..")


@pytest.mark.parametrize("share", SHARES)
def test_a_fault_while_bodies_are_coded_costs_one_client_its_answers(share: int) -> None:
    for at in calls_in(coded(), share):
        with simulation_of(coded()) as simulation:
            with fault(at) as injector:
                simulation.play()
            missed = [had < wanted for had, wanted in zip(answered(simulation), [2, 3, 2, 2], strict=True)]
            assert sum(missed) <= 1, f"{injector.where}: clients {missed} missed an answer"
            check_contained(simulation, injector)


def simulation_of(case: Case) -> Simulation:
    return Simulation(case, config=CONFIG)


def calls_in(case: Case, share: int) -> list[int]:
    """The numbers of the calls that are tried."""
    with simulation_of(case) as simulation, fault(0) as injector:
        simulation.play()
    tried = injector.spread(TRIES)[share * EVERY :: len(SHARES) * EVERY]
    assert len(tried) > 12
    return tried


def test_without_a_fault_everybody_is_answered() -> None:
    with simulation_of(smooth()) as simulation:
        simulation.play()
        assert answered(simulation) == [3, 3, 3, 2]


@pytest.mark.parametrize("share", SHARES)
def test_a_fault_costs_one_client_its_answers(share: int) -> None:
    for at in calls_in(smooth(), share):
        with simulation_of(smooth()) as simulation:
            with fault(at) as injector:
                simulation.play()
            missed = [had < wanted for had, wanted in zip(answered(simulation), [3, 3, 3, 2], strict=True)]
            assert sum(missed) <= 1, f"{injector.where}: clients {missed} missed an answer"
            check_contained(simulation, injector)


@pytest.mark.parametrize("share", SHARES)
def test_a_fault_where_much_goes_wrong_leaves_nobody_hanging(share: int) -> None:
    for at in calls_in(rough(), share):
        with simulation_of(rough()) as simulation:
            with fault(at) as injector:
                simulation.play()
            for _ in range(4):  # what was given up for the fault's sake may be tried again
                simulation.settle()
            for client, text in zip(simulation.clients, rough().clients, strict=True):
                had, wanted = bytes(client.line.received).count(b"HTTP/1.1 "), text.count(" HTTP/1.1")
                assert had >= wanted or client.line.closing or client.line.eof_written, (
                    f"{injector.where}: a client waits for ever"
                )
            check_contained(simulation, injector)


def test_without_a_fault_all_is_answered_from_the_cache() -> None:
    with simulation_of(stored()) as simulation:
        simulation.play()
        assert answered(simulation) == [2, 2, 2, 2]
        assert sum(len(service.requests) for service in simulation.services) == 2
        assert simulation.gateway.metrics.cached["kept"]["collapsed"] > 1


@pytest.mark.parametrize("share", SHARES)
def test_a_fault_before_the_cache_costs_one_client_its_answers(share: int) -> None:
    """Or those who read one response, which it breaks: each of them notices."""
    for at in calls_in(stored(), share):
        with simulation_of(stored()) as simulation:
            with fault(at) as injector:
                simulation.play()
            missed = [had < wanted for had, wanted in zip(answered(simulation), [2, 2, 2, 2], strict=True)]
            noticed = [
                client.line.closing or bytes(client.line.received).count(b"HTTP/1.1 ") == text.count(" HTTP/1.1")
                for client, text in zip(simulation.clients, stored().clients, strict=True)
            ]
            is_broken = not missed[3] and all(noticed)
            assert sum(missed) <= 1 or is_broken, f"{injector.where}: clients {missed} missed an answer"
            check_contained(simulation, injector)


@pytest.mark.parametrize("share", SHARES)
def test_a_fault_where_much_is_stale_leaves_nobody_hanging(share: int) -> None:
    for at in calls_in(stale(), share):
        with simulation_of(stale()) as simulation:
            with fault(at) as injector:
                simulation.play()
            for _ in range(4):
                simulation.settle()
            for client, text in zip(simulation.clients, stale().clients, strict=True):
                had, wanted = bytes(client.line.received).count(b"HTTP/1.1 "), text.count(" HTTP/1.1")
                assert had >= wanted or client.line.closing or client.line.eof_written, (
                    f"{injector.where}: a client waits for ever"
                )
            check_contained(simulation, injector)
