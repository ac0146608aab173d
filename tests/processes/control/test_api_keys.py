"""API keys in the control process: what happens where they cannot be kept, and what workers are sent."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from portico.config import load_text
from portico.net.redis.connection import connect, connect_sync
from portico.processes.control import api_key_records
from portico.processes.control.api_keys import ApiKeys, RefusedError, UnavailableError, UnknownKeyError
from portico.processes.control.workers import Workers
from portico.processes.ipc import channel
from portico.processes.ipc.runtime import Runtime
from support.redis_servers import RedisServer, cluster

TEXT = """
gateway: {{state_dir: {directory}}}
services: {{s: {{url: http://h, policies: {auth}}}}}
consumers: [{{name: ann, scopes: [a, b]{more}}}]
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

    async def follow(self, auth: str = "{auth: {api_key: {}}}", more: str = "", url: str = "") -> None:
        written = {"directory": self.directory, "auth": auth, "more": f", {more}" if more else ""}
        environ = {"REDIS_URL": url} if url else {}
        await self.keys.follow(load_text(TEXT.format(**written), "portico.yaml", environ))

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


def test_a_key_that_the_file_has_too_is_not_said_to_be_revoked(play: Any, tmp_path: Path) -> None:
    async def story(setting: Setting) -> None:
        record, _, _ = await setting.keys.create("ann", None, None, "")
        await setting.follow("{auth: {api_key: {}}}", f"keys: ['sha256:{record.digest}']")
        with pytest.raises(RefusedError, match="is in the file"):
            await setting.keys.revoke(record.id)
        await setting.follow()
        assert (await setting.keys.revoke(record.id))[0].revoked

    play(story)


def test_what_is_wrong_in_redis_does_not_keep_keys_from_being_shared(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody deleted a key there, and wrote something else in place of another."""

    async def story(url: str) -> None:
        settings = [Setting(tmp_path / name) for name in ("one", "other")]
        for each in settings:
            await each.follow(url=url)
        one, other = (each.keys for each in settings)
        kept, deleted, broken = [(await one.create("ann", None, None, ""))[0] for _ in range(3)]
        async with connect(url, timeout=5.0) as redis:
            records = "portico:{keys}:records"
            await redis.hdel(records, deleted.id)
            await redis.hset(records, broken.id, '{"id": "x", "digest": "../.."}')
            assert other._redis is not None
            await other._exchange(other._redis)
            assert [each.id for each in other.records()] == [kept.id]
            await one.revoke(deleted.id)
            await other._exchange(other._redis)
            assert {each.id: bool(each.revoked) for each in other.records()} == {kept.id: False, deleted.id: True}
            await redis.flushall()
        for keys in (one, other):
            assert keys._redis is not None
            await keys._exchange(keys._redis)
            await keys.close()
        third = Setting(tmp_path / "third")
        await third.follow(url=url)
        assert {each.id for each in third.keys.records()} == {kept.id, deleted.id, broken.id}
        await third.keys.close()

    with RedisServer() as server:
        asyncio.run(story(server.url))
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "something in Redis is no API key"
    ]


@pytest.mark.parametrize("kind", ["a Cluster", "a user of its own"])
def test_other_kinds_of_redis(kind: str, tmp_path: Path) -> None:
    async def story(url: str) -> None:
        settings = [Setting(tmp_path / name) for name in ("one", "other")]
        for each in settings:
            await each.follow(url=url)
        one, other = (each.keys for each in settings)
        record, _, outcome = await one.create("ann", None, None, "")
        assert outcome.shared
        one._note_used({record.id: 5})
        assert (await one.revoke(record.id))[1].shared
        assert other._redis is not None
        await other._exchange(other._redis)
        assert [bool(each.revoked) for each in other.records()] == [True]
        assert await other.all_used() == {record.id: 5}
        assert one._redis is not None
        await one._redis.forget([record.id])
        assert await other.all_used() == {}
        for keys in (one, other):
            await keys.close()

    if kind == "a Cluster":
        with cluster() as nodes:
            asyncio.run(story("redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes)))
        return
    with RedisServer() as server, connect_sync(server.url, timeout=5.0) as redis:
        page = (Path(__file__).parents[3] / "docs" / "redis.md").read_text(encoding="utf-8")
        (rules,) = re.findall(r"Its ACL: `(~portico:{keys}[^`]*)`", page)
        redis.execute_command("ACL", "SETUSER", "keys", "on", ">secret", *rules.split())
        asyncio.run(story(server.url.replace("redis://", "redis://keys:secret@")))


def test_what_ended_long_ago_is_forgotten_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(url: str) -> None:
        settings = [Setting(tmp_path / name) for name in ("one", "other")]
        for each in settings:
            await each.follow(url=url)
        one, other = (each.keys for each in settings)
        kept, ended = [(await one.create("ann", None, None, ""))[0] for _ in range(2)]
        await one.revoke(ended.id)
        await one._forget_old()
        assert len(one.records()) == 2, "it is needed while others may believe in it"
        assert other._redis is not None
        await other._exchange(other._redis)
        monkeypatch.setattr(api_key_records, "KEPT_FOR", -10)
        await one._forget_old()
        await other._exchange(other._redis)
        await other._forget_old()
        for keys in (one, other):
            assert keys._redis is not None
            await keys._exchange(keys._redis)
            assert [each.id for each in keys.records()] == [kept.id]
            await keys.close()
        third = Setting(tmp_path / "third")
        await third.follow(url=url)
        assert [each.id for each in third.keys.records()] == [kept.id]
        await third.keys.close()
        file = next((tmp_path / "one" / "state").glob("*.keys.json"))
        assert [each["id"] for each in json.loads(file.read_bytes())["keys"]] == [kept.id]

    with RedisServer() as server:
        asyncio.run(story(server.url))


def test_an_old_file_is_not_believed_where_there_are_other_gateways(tmp_path: Path) -> None:
    async def story(url: str) -> None:
        one = Setting(tmp_path / "one")
        await one.follow()
        await one.keys.create("ann", None, None, "")
        await one.keys.close()
        file = next(one.directory.glob("*.keys.json"))
        os.utime(file, (0, time.time() - 301 * 86_400))
        await one.follow(url=url)
        assert one.keys.records() == []
        await one.keys.close()
        await one.follow()
        assert len(one.keys.records()) == 1
        await one.keys.close()

    with RedisServer() as server:
        asyncio.run(story(server.url))


def test_rotating_never_makes_a_key_hold_for_longer(play: Any) -> None:
    async def story(setting: Setting) -> None:
        record, _, _ = await setting.keys.create("ann", None, 60, "")
        old, new, text, _ = await setting.keys.rotate(record.id, 3600, None, None)
        assert old.expires == record.expires
        assert new.expires - new.created == 60
        assert text.startswith(f"portico_{new.id}_")

    play(story)
