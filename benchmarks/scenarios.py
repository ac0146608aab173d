"""The scenarios: what is asked of the peers of a stack, one row each."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.load import Load, Wrk
from benchmarks.peer import BULK, PLAIN, POLICIES
from benchmarks.request import MEBIBYTE, Request


@dataclass(frozen=True)
class Scenario:
    """One load on the peers of one stack."""

    name: str
    title: str
    stack: str
    load: Load


SCENARIOS: tuple[Scenario, ...] = (
    Scenario("all-policies", "small GET, all policies", POLICIES, Wrk(Request("/items"))),
    Scenario("varied", "the same with a header that always differs", POLICIES, Wrk(Request("/items", varied=True))),
    Scenario("plain", "small GET, nothing but passing on", PLAIN, Wrk(Request("/items"))),
    Scenario("post", "10 KiB POST, all policies", POLICIES, Wrk(Request("/items", method="POST", body=10 * 1024))),
    Scenario("download", "1 MiB download, nothing but passing on", BULK, Wrk(Request(MEBIBYTE))),
)
