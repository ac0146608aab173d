"""A reload whose file is not read in time: users' code, which is imported for it, may wait for ever."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest

from portico.processes.control import reloading as reloading_module
from portico.processes.control.reloading import ReloadError, Reloading


def test_it_is_refused_and_others_may_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reloading_module, "_READ_TIMEOUT", 0.01)
    ends = threading.Event()
    state = SimpleNamespace(refused=None, config=None)
    said: list[str] = []
    runtime = SimpleNamespace(store_refused=lambda _: None)
    notices = SimpleNamespace(say=said.append)
    reloading = Reloading(cast(Any, state), cast(Any, runtime), cast(Any, notices))
    monkeypatch.setattr(reloading, "_read", ends.wait)

    async def play() -> None:
        try:
            for _ in range(2):
                with pytest.raises(ReloadError, match=r"was not read within 0\.01 s: does a policy wait"):
                    await reloading.reload()
        finally:
            ends.set()

    asyncio.run(asyncio.wait_for(play(), 10))
    assert "was not read" in (state.refused or "")
    assert said == ["reloading", "reloaded"] * 2
