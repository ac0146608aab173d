"""Revoked tokens in the control process: kept, forgotten, bounded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from portico.policies.auth.revoked import Revocation
from portico.processes.control.tokens import revocations as module
from portico.processes.control.tokens.revocation_file import RevocationFile
from portico.processes.control.tokens.revocations import Revocations
from portico.processes.control.workers import Workers

NOW = int(time.time())
LATER = NOW + 1000
LIFE = 300


def play(scene: Callable[[Revocations, Workers], Awaitable[None]], path: Path | None) -> None:
    async def played() -> None:
        workers = Workers()
        own = Revocations(workers)
        await own.open(path, None, "", LIFE)
        try:
            await scene(own, workers)
        finally:
            await own.close()

    asyncio.run(played())


def known(workers: Workers) -> list[Revocation]:
    message = workers.revocations()
    assert message is not None
    return message.revocations


def test_they_outlast_the_process_until_they_are_over(tmp_path: Path) -> None:
    path = tmp_path / "state" / "revoked.sqlite"

    async def first(own: Revocations, workers: Workers) -> None:
        assert (await own.revoke_token("j", LATER)).is_kept
        await own.revoke_token("over", NOW - 1)
        await own.revoke_sign_in("s")

    async def second(own: Revocations, workers: Workers) -> None:
        assert {each.name for each in known(workers)} == {"j", "s"}

    play(first, path)
    assert {each.stat().st_mode & 0o777 for each in path.parent.iterdir()} == {0o600}
    play(second, path)


def test_another_place_gets_what_is_known(tmp_path: Path) -> None:
    async def scene(own: Revocations, workers: Workers) -> None:
        await own.revoke_token("j", LATER)
        await own.open(tmp_path / "other.sqlite", None, "", LIFE)

    play(scene, tmp_path / "one.sqlite")
    file = RevocationFile(tmp_path / "other.sqlite")
    assert file.load() == [Revocation("j", LATER)]
    file.close()


def test_one_that_cannot_be_kept_is_in_force_all_the_same(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()

    async def scene(own: Revocations, workers: Workers) -> None:
        assert not (await own.revoke_token("j", LATER)).is_kept
        assert known(workers) == [Revocation("j", LATER)]

    play(scene, tmp_path / "file" / "revoked.sqlite")
    assert "is not kept over a restart" in caplog.text


def has_room(own: Revocations, pages: int) -> None:
    """Have its file hold no more than so many pages: SQLite says then that the disk is full."""
    assert own._file is not None
    own._file._database.execute(f"pragma max_page_count = {pages}")


def test_what_a_full_disk_did_not_take_is_kept_once_there_is_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "revoked.sqlite"

    async def scene(own: Revocations, workers: Workers) -> None:
        has_room(own, 1)
        assert not (await own.revoke_token("j" * 10_000, LATER)).is_kept
        assert "a restart would undo it" in caplog.text
        own._prune()
        has_room(own, 1000)
        own._prune()

    play(scene, path)
    file = RevocationFile(path)
    assert [len(each.name) for each in file.load()] == [10_000]
    file.close()


def test_what_is_over_keeps_nobody_from_reading_the_rest(tmp_path: Path) -> None:
    file = RevocationFile(tmp_path / "revoked.sqlite")
    file.store([Revocation("over", NOW - 1), Revocation("j", LATER)])
    file._database.execute("pragma query_only = on")  # as where the disk is full: nothing can be written, deletions too
    assert file.load() == [Revocation("j", LATER)]
    file.close()


def test_who_revokes_too_many_one_by_one_loses_them_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SINGLE", 3)

    async def scene(own: Revocations, workers: Workers) -> None:
        for number in range(6):
            await own.revoke_token(f"bob-{number}", LATER, "bob")
            await own.revoke_token(f"admin-{number}", LATER)
        names = sorted(each.name for each in known(workers))
        assert names == [*(f"admin-{number}" for number in range(6)), "bob", "bob-0", "bob-1", "bob-2"]
        ended = own.find("bob")
        assert ended is not None
        assert ended.before >= NOW

    play(scene, None)


def test_a_sign_in_is_revoked_until_its_last_token_has_ended(tmp_path: Path) -> None:
    """Also where tokens had a longer life before, in a process that is not there any more."""
    path = tmp_path / "revoked.sqlite"

    async def scene(own: Revocations, workers: Workers) -> None:
        await own.open(path, None, "", 10 * LIFE)
        await own.revoke_sign_in("long")
        await own.open(path, None, "", LIFE)
        await own.revoke_sign_in("short")

    async def afterwards(own: Revocations, workers: Workers) -> None:
        await own.revoke_sign_in("later")
        ends = [each.until for each in known(workers)]
        assert len(ends) == 3
        assert min(ends) >= began + 10 * LIFE
        assert max(ends) <= time.time() + 10 * LIFE + 60

    began = int(time.time())
    play(scene, path)
    play(afterwards, path)
