"""Noticing that files have changed, whatever a look at them comes to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from portico.processes.control import watch as watch_module
from portico.processes.control.watch import watch

TIMEOUT = 20.0


@pytest.mark.parametrize("fails", ["files", "changed"])
def test_a_poll_that_fails_is_not_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fails: str
) -> None:
    for name in ("_INTERVAL", "_PAUSE"):
        monkeypatch.setattr(watch_module, name, 0.01)
    path = tmp_path / "portico.yaml"
    path.write_text("1")

    async def play() -> None:
        looked, done = asyncio.Event(), asyncio.Event()
        failures = 0

        def files() -> Sequence[Path]:
            nonlocal failures
            if fails == "files" and looked.is_set() and not failures:
                failures += 1
                raise RuntimeError
            looked.set()
            return [path]

        async def changed() -> None:
            nonlocal failures
            if fails == "changed" and not failures:
                failures += 1
                path.write_text("three")
                raise RuntimeError
            done.set()

        watching = asyncio.create_task(watch(files, changed))
        await looked.wait()
        path.write_text("two")
        await asyncio.wait_for(done.wait(), TIMEOUT)
        watching.cancel()
        assert failures == 1

    asyncio.run(play())
    assert caplog.records[0].exc_info
