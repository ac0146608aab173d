"""The request corpus against a gateway that runs: what every case brings its client, and what reaches the service."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from conformance.gateways import portico
from conformance.player import Received, address_of, play_all
from conformance.recorder import Arrived, Recorder
from support.backend import Backend
from support.corpus import corpus, raw_bytes

CASES = corpus("request")
LIMITS = {"url_length": 256, "header_size": 1024, "header_count": 10, "body_size": 10}
"""Of the second gateway, to which the cases go that are about limits: each names one or more of these."""
AFTERWARDS = ("GET", "/afterwards", "")

GONE = {"connection", "keep-alive", "proxy-connection", "upgrade", "http2-settings", "te", "trailer", "expect"}
ONCE = ("host", "content-length", "transfer-encoding", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")

Verdict = tuple[Received, Arrived]


def name_of(case: Any) -> str:
    return f"{case['file']}: {case['name']}"


def _verdicts(cases: list[Any], limits: dict[str, int]) -> list[Verdict]:
    recorder = Recorder()
    with Backend(recorder) as service, portico(service.port, limits) as port:
        received = asyncio.run(play_all(cases, port, probe=True))
    return [(each, recorder.of(address_of(number))) for number, each in enumerate(received)]


@pytest.fixture(scope="module")
def verdicts() -> dict[str, Verdict]:
    """Every case, played once."""
    plain = [case for case in CASES if "limits" not in case]
    limited = [case for case in CASES if "limits" in case]
    played = _verdicts(plain, {}) + _verdicts(limited, LIMITS)
    return dict(zip(map(name_of, plain + limited), played, strict=True))


SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


def test_nothing_behind_a_refused_request_reaches_the_service() -> None:
    refused = [case for case in CASES if "refuse" in case and not {"open", "limits"} & {*case}]
    followed = [{**case, "raw": raw_bytes(case["raw"]).decode("latin-1") + SMUGGLED} for case in refused]
    for case, (received, arrived) in zip(refused, _verdicts(followed, {}), strict=True):
        assert len(arrived.requests) == len(case.get("accept", [])), name_of(case)
        assert arrived.faults == [], name_of(case)
        assert len(received.statuses) == len(arrived.requests) + 1, name_of(case)
        assert received.closed, name_of(case)


def wanted_of(case: Any) -> tuple[list[tuple[str, str, str]], list[list[int]]]:
    """The requests that the service should get, and the statuses of which the client should get one each."""
    accepted = case.get("accept", [])
    own = [*case.get("answers", []), *[None] * len(accepted)]
    pairs = list(zip(accepted, own, strict=False))
    requests = [(wish["method"], wish["target"], wish["body"]) for wish, answer in pairs if answer is None]
    statuses = [[answer or 200] for _, answer in pairs]
    if "refuse" in case:
        statuses.append(case["refuse"])
    elif accepted and accepted[-1]["keep_alive"]:
        requests.append(AFTERWARDS)
        statuses.append([200])
    return requests, statuses


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_a_running_gateway_holds_to_the_verdict(verdicts: dict[str, Verdict], case: Any) -> None:
    received, arrived = verdicts[name_of(case)]
    requests, statuses = wanted_of(case)
    assert arrived.faults == [], "not every byte that reached the service is strictly valid"
    assert [(each.method, each.target, each.body.decode("latin-1")) for each in arrived.requests] == requests
    assert arrived.started - len(requests) <= int(case.get("begun", False)), "part of a refused request was passed on"
    assert {each.start[2] for each in arrived.requests} <= {"HTTP/1.1"}
    assert len(received.statuses) == len(statuses), received
    assert all(status in wish for status, wish in zip(received.statuses, statuses, strict=True)), received.statuses
    assert received.surplus == b""
    for request in arrived.requests:
        names = [name.lower().replace("_", "-") for name, _ in request.fields]
        assert not GONE & {*names}, "a field that ends at the gateway was passed on"
        assert max(map(names.count, ONCE)) <= 1, "a field has a double that some servers take for it"
    assert received.closed
    if "refuse" in case:
        assert received.responses[-1].all("connection") == ["close"]
