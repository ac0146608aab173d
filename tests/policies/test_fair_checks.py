"""Tokens that take turns to be verified while many are refused: in which order, and who does not wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from policies.exchanges import exchange
from portico.core.errors import Answer
from portico.core.exchange import Exchange
from portico.policies.auth import fair_checks
from portico.policies.auth.fair_checks import FairChecks
from portico.policies.auth.identified import Identity, Verified

REFUSED = Answer(401)
FOREVER = 2.0**40


class Setting:
    """Checks of which `log` has the order, behind as many refused tokens as make others wait."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.verified = Verified()
        self.prove = FairChecks().fairly(self._prove, self.verified)
        self.verdicts: dict[str, Any] = {}
        for _ in range(fair_checks._MANY + 1):
            assert self.ask("flood", "") is REFUSED
        self.log = []

    def _prove(self, asked: Exchange, credentials: bytes, fields: Any) -> Any:
        text = credentials.decode()
        self.log.append(text)
        if "broken" in text:
            raise ValueError(text)
        return self.verdicts.get(text, REFUSED)

    def ask(self, client: str, text: str) -> Any:
        asked = exchange()
        asked.client_ip = client
        return self.prove(asked, text.encode(), None)


def test_one_in_a_turn_of_the_loop_and_clients_in_turn() -> None:
    async def scene() -> None:
        setting = Setting()
        flood = [setting.ask("203.0.113.1", f"bad-{number}") for number in range(4)]
        setting.verdicts["good"] = None
        good = setting.ask("203.0.113.2", "good")
        assert setting.log == []
        for turn in range(1, 6):
            await asyncio.sleep(0)
            assert len(setting.log) == turn
        assert setting.log == ["bad-0", "good", "bad-1", "bad-2", "bad-3"]
        assert [await each for each in (*flood, good)] == [REFUSED] * 4 + [None]
        again = setting.ask("203.0.113.1", "bad-4")
        await again
        assert setting.log[-1] == "bad-4"

    asyncio.run(scene())


def test_who_is_known_does_not_wait() -> None:
    async def scene() -> None:
        setting = Setting()
        waiting = setting.ask("a", "bad")
        setting.verified.put(b"known", Identity(FOREVER, "ann", (), (), {}))
        setting.verdicts["known"] = None
        assert setting.ask("a", "known") is None
        assert setting.log == ["known"]
        await waiting

    asyncio.run(scene())


def test_who_has_left_is_not_checked_and_a_fault_is_its_own() -> None:
    async def scene() -> None:
        setting = Setting()
        left, broken, last = (setting.ask("a", text) for text in ("left", "broken", "last"))
        left.cancel()
        with pytest.raises(ValueError, match="broken"):
            await broken
        assert await last is REFUSED
        assert setting.log == ["broken", "last"]

    asyncio.run(scene())


def test_one_whose_issuer_is_asked_holds_nobody_up() -> None:
    async def scene() -> None:
        setting = Setting()
        answer: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        failing: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        setting.verdicts |= {"slow": answer, "failing": failing}
        slow, fails, last = (setting.ask("a", text) for text in ("slow", "failing", "last"))
        assert await last is REFUSED
        assert not slow.done()
        answer.set_result(None)
        failing.set_exception(ValueError("gone"))
        assert await slow is None
        with pytest.raises(ValueError, match="gone"):
            await fails

    asyncio.run(scene())


def test_it_is_over_when_a_second_has_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("portico.policies.auth.fair_checks.time.monotonic", lambda: now)

    async def scene() -> None:
        nonlocal now
        setting = Setting()
        for later in (0.9, 1.9):
            now = 100.0 + later
            waits = setting.ask("a", "bad")
            assert isinstance(waits, Awaitable)
            await waits
        now = 102.0
        assert setting.ask("a", "bad") is REFUSED
        now = 200.0
        assert setting.ask("a", "bad") is REFUSED

    asyncio.run(scene())
