"""The short form of the fuzzing: some inputs of each property, drawn by Hypothesis, and every case that was found."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from .case import LARGEST_READ, Answer, Case
from .generators import load
from .left_over import check_bounds
from .properties import PROPERTIES, Property, check_wild
from .readers import read_requests, read_responses
from .simulation import ACTIONS, Simulation

FOUND = [
    json.loads(line)
    for file in sorted((Path(__file__).parent / "corpus").glob("*.jsonl"))
    for line in file.read_text().splitlines()
]


@pytest.mark.parametrize("each", PROPERTIES, ids=[each.name for each in PROPERTIES])
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(random=st.randoms(use_true_random=False))
def test_property_holds(each: Property, random: Random) -> None:
    case = each.make(random)
    note(case.dump())
    each.check(case)


@pytest.mark.parametrize("tree", FOUND, ids=[tree["name"] for tree in FOUND])
def test_what_was_found_once_holds(tree: dict[str, Any]) -> None:
    check_wild(Case.load(tree))


def test_a_client_that_pipelines_without_end_is_read_no_further_than_its_buffer() -> None:
    """Each request that is answered frees a few bytes, which may not let a whole read in."""
    request = "GET /api/plain HTTP/1.1\r\nHost: a\r\n\r\n"
    case = Case([request * 30_000], [Answer("HTTP/1.1 204 No Content\r\n\r\n")], sizes=[LARGEST_READ], exact=True)
    with Simulation(case) as simulation:
        client = simulation.clients[0]
        while client.pieces:
            client.say()
            simulation.turn()  # a socket is read from once a turn
        for _ in range(60):
            simulation.turn()
            check_bounds(simulation)
            ACTIONS["s"](simulation)
        assert simulation.answers_given > 20


def test_a_case_survives_its_own_json() -> None:
    for each in PROPERTIES:
        case = each.make(Random(1))
        assert load(case.dump()) == case


# ---- the second opinion is worth something only if it is strict

GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "data",
    [
        GET + b"X : y\r\n\r\n",
        GET + b"X\r\n\r\n",
        GET + b"X: \x00\r\n\r\n",
        GET + b"X: a\n\r\n",
        GET + b" x: y\r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
    ],
)
def test_reader_sees_no_request_in_a_broken_head(data: bytes) -> None:
    assert read_requests(data) == []


@pytest.mark.parametrize(
    "data",
    [
        POST + b"Content-Length: +1\r\n\r\nx",
        POST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        POST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: x, chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n\r\n",
    ],
)
def test_reader_sees_no_end_of_a_body_whose_framing_is_broken(data: bytes) -> None:
    (message,) = read_requests(data)
    assert (message.complete, message.fault is None) == (False, False)


def test_reader_returns_what_is_behind_a_response() -> None:
    (first, second), rest = read_responses(
        b"HTTP/1.1 103 Hints\r\n\r\n" + OK + b"Content-Length: 9\r\n\r\n" + OK + b"\r\nbody", [b"HEAD", b"GET"], True
    )
    assert (bytes(first.body), [each.status for each in first.interims]) == (b"", [103])
    assert (bytes(second.body), second.complete, rest) == (b"body", True, b"")
    assert read_responses(OK + b"Content-Length: 0\r\n\r\nx", [b"GET"], True)[1] == b"x"
