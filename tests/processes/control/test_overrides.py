"""When what was said about an instance ends, and what a file that cannot be used does to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from portico.config import load_text
from portico.processes.control.override_file import last_overrides
from portico.processes.control.overrides import Overrides
from portico.processes.control.workers import Workers
from portico.processes.ipc.runtime import Runtime

A, B = ("shop", "http://a"), ("shop", "http://b")
CONFIG = load_text("services: {shop: {url: http://a}}", "portico.yaml", {})


@pytest.fixture
def known() -> set[tuple[str, str]]:
    return {A, B}


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: set[tuple[str, str]]) -> Callable[[], Overrides]:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def opened() -> Overrides:
        overrides = Overrides(Workers(), Runtime(tmp_path), None, lambda: known)
        overrides.follow(CONFIG)
        return overrides

    return opened


def test_it_ends_a_minute_after_the_instance(make: Callable[[], Overrides], known: set[tuple[str, str]]) -> None:
    async def play() -> None:
        overrides = make()
        await overrides.drain(*A, by="ada")
        await overrides.weigh(*B, weight=5, by="ada")
        known.discard(A)
        await overrides.end_gone(100.0)
        await overrides.end_gone(159.0)
        known.add(A)
        await overrides.end_gone(159.5)
        assert overrides.get(*A), "it came back in time"
        known.discard(A)
        await overrides.end_gone(160.0)
        await overrides.end_gone(219.0)
        assert overrides.get(*A), "its time began anew"
        await overrides.end_gone(220.0)
        assert overrides.get(*A) is None
        assert overrides.get(*B) is not None
        assert [each.identity for each in last_overrides(CONFIG, None)] == [B]

    asyncio.run(play())


def test_a_weight_stays_while_it_is_drained_and_after(make: Callable[[], Overrides]) -> None:
    async def play() -> None:
        overrides = make()
        await overrides.weigh(*A, weight=5, by="ada")
        said = await overrides.drain(*A, by="bob")
        assert said.override is not None
        assert (said.override.is_drained, said.override.weight, said.override.by) == (True, 5, "bob")
        assert (await overrides.enable(*A, by="ada")).override is None
        assert overrides.get(*A) is None

    asyncio.run(play())


def test_the_next_process_knows_it_and_another_gateway_has_a_file_of_its_own(make: Callable[[], Overrides]) -> None:
    async def play() -> None:
        first = make()
        assert (await first.drain(*A, by="ada")).is_kept
        beside = make()
        assert beside.get(*A) is None or not (await beside.drain(*B, by="x")).is_kept, "the first one has the file"
        beside.close()
        first.close()
        assert make().get(*A) is not None

    asyncio.run(play())


def test_a_file_that_cannot_be_read_is_reported(
    make: Callable[[], Overrides], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    async def play() -> None:
        first = make()
        await first.drain(*A, by="ada")
        first.close()
        (file,) = (tmp_path / "state").rglob("*.instances.json")
        file.write_text("[{")
        assert last_overrides(CONFIG, None) == []
        assert make().get(*A) is None

    asyncio.run(play())
    assert "cannot be read" in caplog.text


def test_without_a_place_that_lasts_it_outlasts_the_control_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Which may be killed while the gateway runs on."""
    (tmp_path / "file").write_text("no directory")
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file" / "state"))

    async def play() -> None:
        first = Overrides(Workers(), Runtime(tmp_path), None, lambda: {A})
        first.follow(CONFIG)
        said = await first.drain(*A, by="ada")
        assert not said.is_kept
        second = Overrides(Workers(), Runtime(tmp_path), None, lambda: {A})
        second.follow(CONFIG)
        assert second.get(*A) is not None

    asyncio.run(play())
    assert "not kept over a restart" in caplog.text
