"""Noticing that files have changed, whatever a look at them comes to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from portico.net.tls.renewed import FileState, state_of
from portico.processes.control import watch as watch_module
from portico.processes.control.watch import watch
from support.pod import mount_volume
from support.waiting import until

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


def test_what_changed_before_the_first_look_is_not_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ConfigMap may change while its pod starts: the link of its folder is turned, to a new file."""
    monkeypatch.setattr(watch_module, "_INTERVAL", 0.01)
    volume = tmp_path / "volume"
    mount_volume(volume, {"portico.yaml": "1"})
    file = volume / "portico.yaml"
    until(lambda: time.time() - file.stat().st_ctime > 0.05, "the file is older than the configuration")
    read_at = time.time()

    async def changes(since: float, count: int) -> int:
        seen: list[str] = []
        done = asyncio.Event()

        async def changed() -> None:
            seen.append(file.read_text())
            if len(seen) == count:
                done.set()
            else:
                mount_volume(volume, {"portico.yaml": "3"})

        watching = asyncio.create_task(watch(lambda: [file], changed, since))
        if count == 1:
            await asyncio.sleep(0)  # it has looked
            mount_volume(volume, {"portico.yaml": "2"})
        await asyncio.wait_for(done.wait(), TIMEOUT)
        watching.cancel()
        return len(seen)

    assert asyncio.run(changes(read_at, 1)) == 1, "nothing was missed, and what comes is seen"
    assert asyncio.run(changes(read_at, 2)) == 2, "what was missed is seen, and what comes after it"


def test_what_the_process_itself_has_written_is_no_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "_INTERVAL", 0.01)
    mine, other = tmp_path / "mine", tmp_path / "other"
    for path in (mine, other):
        path.write_text("1")
    own: dict[Path, FileState] = {}
    looks = 0

    def taken() -> dict[Path, FileState]:
        nonlocal looks
        looks += 1
        found = dict(own)
        own.clear()
        return found

    async def play() -> list[str]:
        seen: list[str] = []
        noticed = asyncio.Event()

        async def changed() -> None:
            seen.append(mine.read_text() + other.read_text())
            noticed.set()

        watching = asyncio.create_task(watch(lambda: [mine, other], changed, own=taken))
        while not looks:
            await asyncio.sleep(0)
        mine.write_text("22")
        own[mine] = state_of([mine])[0]
        before = looks
        while looks < before + 2:
            await asyncio.sleep(0)
        for path, text in ((other, "22"), (mine, "333")):
            noticed.clear()
            path.write_text(text)
            await asyncio.wait_for(noticed.wait(), TIMEOUT)
        watching.cancel()
        return seen

    assert asyncio.run(play()) == ["2222", "33322"]
