"""API keys in the control process: what happens where they cannot be kept, and what workers are sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from portico.config import load_text
from portico.processes.control.api_keys import ApiKeys, RefusedError, UnavailableError, UnknownKeyError
from portico.processes.control.workers import Workers
from portico.processes.ipc import channel
from portico.processes.ipc.runtime import Runtime

TEXT = """
gateway: {{state_dir: {directory}}}
services: {{s: {{url: http://h, policies: {auth}}}}}
consumers: [{{name: ann, scopes: [a, b]}}]
"""


class Setting:
    """Keys of a configuration, and what workers were sent."""

    def __init__(self, tmp_path: Path) -> None:
        self.directory = tmp_path / "state"
        self.sent: list[channel.Message] = []
        workers = Workers()
        workers.send = self._sent  # type: ignore[method-assign]
        self.keys = ApiKeys(workers, Runtime(tmp_path), None)

    def _sent(self, message: channel.Message, *, but: str = "") -> None:
        assert not but
        self.sent.append(message)

    async def follow(self, auth: str = "{auth: {api_key: {}}}") -> None:
        await self.keys.follow(load_text(TEXT.format(directory=self.directory, auth=auth), "portico.yaml", {}))

    def fail(self) -> None:
        """Have the disk fail."""
        for file in self.directory.iterdir():
            file.unlink()
        self.directory.rmdir()


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Callable[[Setting], Awaitable[Any]]], Any]:
    async def played(story: Callable[[Setting], Awaitable[Any]]) -> Any:
        setting = Setting(tmp_path)
        await setting.follow()
        try:
            return await story(setting)
        finally:
            await setting.keys.close()

    return lambda story: asyncio.run(played(story))


def test_a_key_that_cannot_be_stored_is_not_made(play: Any) -> None:
    async def story(setting: Setting) -> None:
        keys = setting.keys
        record, _, outcome = await keys.create("ann", None, None, "")
        assert outcome == (None, [], True)
        setting.fail()
        del setting.sent[:]
        with pytest.raises(UnavailableError, match="cannot be written"):
            await keys.create("ann", None, None, "")
        with pytest.raises(UnavailableError, match="cannot be written"):
            await keys.rotate(record.id, 0, None, None)
        assert keys.records() == [record]
        assert setting.sent == []

    play(story)


def test_a_key_ends_also_where_that_cannot_be_stored(play: Any) -> None:
    async def story(setting: Setting) -> None:
        record, _, _ = await setting.keys.create("ann", ["a"], None, "")
        setting.fail()
        revoked, outcome = await setting.keys.revoke(record.id)
        assert revoked.revoked
        assert not outcome.is_kept
        last = setting.sent[-1]
        assert isinstance(last, channel.NewApiKeys)
        assert [(each.id, each.holds) for each in last.keys] == [(record.id, False)]

    play(story)


def test_a_worker_that_connects_gets_what_holds(play: Any) -> None:
    async def story(setting: Setting) -> None:
        one, other = [(await setting.keys.create("ann", ["a"], 60, ""))[0] for _ in range(2)]
        await setting.keys.revoke(other.id)
        found = setting.keys._all()
        assert found is not None
        assert (found.are_all, [each.id for each in found.keys]) == (True, [one.id])
        await setting.follow("{}")
        assert setting.keys._all() is None, "no route takes keys"
        with pytest.raises(RefusedError, match="no route takes API keys"):
            setting.keys.records()
        await setting.follow()
        assert {each.id for each in setting.keys.records()} == {one.id, other.id}
        assert isinstance(setting.sent[-1], channel.NewApiKeys), "workers go by them again"

    play(story)


@pytest.mark.parametrize("key", ["AAAAAAAA", "", "sha256:00000000"])
def test_a_key_that_there_is_not(key: str, play: Any) -> None:
    async def story(setting: Setting) -> None:
        with pytest.raises(UnknownKeyError):
            await setting.keys.revoke(key)

    play(story)


def test_rotating_never_makes_a_key_hold_for_longer(play: Any) -> None:
    async def story(setting: Setting) -> None:
        record, _, _ = await setting.keys.create("ann", None, 60, "")
        old, new, text, _ = await setting.keys.rotate(record.id, 3600, None, None)
        assert old.expires == record.expires
        assert new.expires - new.created == 60
        assert text.startswith(f"portico_{new.id}_")

    play(story)
