"""The response corpus through a gateway that runs: what a client gets of each answer, and of the answers after it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from conformance.gateways import portico
from conformance.responder import Seen, by_script, see_all
from support.backend import Backend
from support.corpus import corpus

CASES = corpus("response")


def name_of(case: Any) -> str:
    return f"{case['file']}: {case['name']}"


@pytest.fixture(scope="module")
def seen() -> dict[str, Seen]:
    """Every case, seen once."""
    with Backend(by_script(CASES)) as service, portico(service.port) as port:
        played = asyncio.run(see_all(CASES, port))
    assert not service.errors, service.errors
    return dict(zip(map(name_of, CASES), played, strict=True))


@pytest.mark.parametrize(("number", "case"), [*enumerate(CASES)], ids=[*map(name_of, CASES)])
def test_a_client_is_given_what_is_right_or_nothing(seen: dict[str, Seen], number: int, case: Any) -> None:
    own = seen[name_of(case)]
    received = own.case
    assert own.beside == f"own beside-{number}", "another client got what was not meant for it"
    if not received.closed:
        assert own.behind == f"own behind-{number}", "the same client did not get its own answer"
    if "fail" in case and case["fail"]["started"] and received.closed:
        assert received.responses == [], "a response that broke off looks whole"
        return
    first = received.responses[0]
    assert not received.closed
    if "fail" in case:
        assert first.status == 502
        assert first.all("content-type") == ["application/problem+json"]
        return
    answer = case["answer"]
    assert (first.status, first.body.decode("latin-1")) == (answer["status"], answer["body"])
    assert received.interims == answer["interims"]
    assert not {"connection", "keep-alive", "upgrade"} & {name.lower() for name, _ in first.fields}
