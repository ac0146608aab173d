"""Questions and their answers, with a scripted link."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from portico.net.redis import asking
from portico.net.redis.link import Done, K, Script
from portico.policies.counters.shared_limits import SharedLimits


class Link:
    """Keeps calls until the test answers them."""

    is_divided = False

    def __init__(self) -> None:
        self.lost: Callable[[Exception], None] = lambda _: None
        self.is_open = False
        self.calls: list[tuple[int, Done]] = []
        self.answers_probes = True

    async def open(self) -> None:
        self.is_open = True

    def run(self, script: Script, keys: Sequence[bytes], arguments: Sequence[bytes], count: int, done: Done) -> None:
        assert len(keys) == len(arguments)
        if b"probe" in keys[0]:
            if self.answers_probes:
                done([1_000_000, 1])
        else:
            self.calls.append((len(keys), done))

    def close(self) -> None:
        self.is_open = False

    def parts(self, questions: list[K]) -> list[list[K]]:
        return [questions]

    def work(self) -> list[Any]:
        return []


class Question:
    def __init__(self, name: str, keys: int = 1) -> None:
        self.keys = [f"{name}{n}".encode() for n in range(keys)]
        self.arguments = [b""] * keys
        self.answers: list[list[int] | None] = []
        self.faults = 0

    def answered(self, left: list[int], clock: float) -> None:
        assert clock == 1.0
        self.answers.append(left)

    def unanswered(self) -> None:
        self.answers.append(None)

    def faulted(self) -> None:
        self.faults += 1


async def _limits(timeout: float = 60.0) -> tuple[SharedLimits, Link]:
    link = Link()
    limits = SharedLimits(link, timeout, {}, asyncio.get_running_loop())
    await limits.start()
    assert limits.is_up
    return limits, link


def test_the_questions_of_a_turn_are_one_call() -> None:
    async def run() -> None:
        limits, link = await _limits()
        first, second = Question("a"), Question("b", keys=2)
        limits.ask(first)
        limits.ask(second)
        await asyncio.sleep(0)
        ((count, done),) = link.calls
        assert count == 3
        done([1_000_000, 5, 6, -7])
        assert (first.answers, second.answers) == ([[5]], [[6, -7]])
        limits.close()

    asyncio.run(run())


def test_each_question_is_answered_once_in_whatever_order_replies_come() -> None:
    async def run() -> None:
        limits, link = await _limits()
        questions = []
        for name in "abc":
            questions.append(Question(name))
            limits.ask(questions[-1])
            await asyncio.sleep(0)
        (_, a), (_, b), (_, c) = link.calls
        b([1_000_000, 2])
        link.lost(ConnectionError("gone"))
        assert not limits.is_up
        a([1_000_000, 1])  # too late
        c(ConnectionError("too late, too"))
        assert [question.answers for question in questions] == [[None], [[2]], [None]]
        limits.close()

    asyncio.run(run())


def test_nobody_waits_for_long_and_it_heals() -> None:
    async def run() -> None:
        limits, link = await _limits(timeout=0.01)
        link.answers_probes = False
        question = Question("a")
        limits.ask(question)
        while not question.answers:
            await asyncio.sleep(0.005)
        assert limits.is_up, "one late answer is no outage"
        while limits.is_up:
            limits.ask(Question("b"))
            await asyncio.sleep(0.005)
        assert question.answers == [None]
        link.answers_probes = True
        link.calls[0][1]([1_000_000, 1])
        while not limits.is_up:
            await asyncio.sleep(0.005)
        assert question.answers == [None], "an answer that is too late is nobody's"
        limits.close()

    asyncio.run(run())


def test_a_refusal_is_repeated_for_a_second_at_most() -> None:
    async def run() -> None:
        limits, _ = await _limits()
        limits.refuse(b"k", asked=100.0, wait=600.0)
        assert [limits.refused_for(b"k", now) for now in (100.5, 101.0)] == [599.5, 0.0]
        limits.refuse(b"k", asked=200.0, wait=0.25)
        assert [limits.refused_for(b"k", now) for now in (200.125, 200.25)] == [0.125, 0.0]
        assert limits.refused_for(b"other", 200.0) == 0.0
        limits.close()

    asyncio.run(run())


class Faulty(Question):
    def answered(self, left: list[int], clock: float) -> None:
        raise RuntimeError

    def unanswered(self) -> None:
        raise RuntimeError


def test_a_fault_of_one_request_leaves_the_others_their_answer(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        limits, link = await _limits()
        for ending in ("answered", "lost", "closed"):
            first, faulty, last = Question("a"), Faulty("b"), Question("c")
            for question in (first, faulty, last):
                limits.ask(question)
            if ending == "answered":
                await asyncio.sleep(0)
                link.calls[-1][1]([1_000_000, 1, 2, 3])
            elif ending == "lost":
                await asyncio.sleep(0)
                link.lost(ConnectionError("gone"))
                while not limits.is_up:
                    await asyncio.sleep(0.005)
            else:
                limits.close()
            assert (len(first.answers), faulty.faults, len(last.answers)) == (1, 1, 1), ending
        assert sum(record.exc_info is not None for record in caplog.records) == 3

    asyncio.run(run())


def test_a_question_to_a_link_that_fails_goes_on_without_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        limits, link = await _limits()

        def fail(*_: object) -> None:
            raise RuntimeError

        link.run = fail  # type: ignore[method-assign,assignment]
        questions = [Question("a"), Question("b", keys=2)]
        for question in questions:
            limits.ask(question)
        await asyncio.sleep(0)
        assert [question.answers for question in questions] == [[None], [None]]
        assert caplog.records[0].exc_info
        limits.close()

    asyncio.run(run())


def test_it_tries_redis_again_where_trying_fails(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        limits, link = await _limits()
        probe = link.run
        failures = 0

        def fail_once(*what: Any) -> None:
            nonlocal failures
            failures += 1
            if failures == 1:
                raise RuntimeError
            probe(*what)

        monkeypatch.setattr(link, "run", fail_once)
        link.lost(ConnectionError("gone"))
        while not limits.is_up:
            await asyncio.sleep(0.005)
        assert failures == 2
        limits.close()

    asyncio.run(run())
    assert any(record.exc_info for record in caplog.records)


def test_one_that_is_replaced_answers_its_last_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_LAST_QUESTION", 0.05)

    async def run() -> None:
        limits, link = await _limits()
        early, late = Question("a"), Question("b")
        limits.ask(early)
        await asyncio.sleep(0)
        limits.retire()
        for _ in range(3):  # it would have closed by then
            await asyncio.sleep(0.05)
        limits.ask(late)
        await asyncio.sleep(0)
        for _, done in link.calls:
            done([1_000_000, 5])
        assert (early.answers, late.answers) == ([[5]], [[5]])
        while link.is_open:
            await asyncio.sleep(0.005)
        assert not limits.is_up

    asyncio.run(run())
