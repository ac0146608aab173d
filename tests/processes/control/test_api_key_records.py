"""What is kept of API keys: what ends one sooner always wins, and a file that fails is said."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.processes.control.api_key_records import ApiKeyFile, KeyRecord, merged

RECORD = KeyRecord("AAAAAAAA", "ab" * 32, "ann", 1_800_000_000, ("read",), "a note")
ENDS = st.builds(
    lambda expires, revoked: msgspec.structs.replace(RECORD, expires=expires, revoked=revoked),
    st.integers(0, 3),
    st.integers(0, 3),
)


@given(st.lists(ENDS, min_size=1, max_size=4))
def test_the_order_in_which_changes_are_heard_of_does_not_matter(heard: list[KeyRecord]) -> None:
    outcomes = set()
    for order in permutations(heard):
        known = order[0]
        for each in (*order[1:], *order):
            known = merged(known, each)
        outcomes.add((known.expires, known.revoked))
    (only,) = outcomes
    times = [[time for time in ends if time] for ends in zip(*((e.expires, e.revoked) for e in heard), strict=True)]
    assert only == tuple(min(each, default=0) for each in times)


@pytest.mark.parametrize(
    ("ends", "now", "holds"),
    [
        ({}, 9, True),
        ({"expires": 10}, 9.9, True),
        ({"expires": 10}, 10, False),
        ({"revoked": 5}, 1, False),
        ({"revoked": 5, "expires": 10}, 7, False),
    ],
)
def test_when_a_key_holds(ends: dict[str, int], now: float, holds: bool) -> None:
    record = msgspec.structs.replace(RECORD, **ends)
    assert record.holds(now) is holds
    for_workers = record.for_workers()
    assert (for_workers.holds, for_workers.expires) == (not record.revoked, record.expires)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_what_is_stored_is_there_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "deep" / "a.keys.json"
    file = ApiKeyFile(path, tmp_path / "other")
    assert file.is_lasting
    assert file.load() is None
    assert file.store([RECORD], {"AAAAAAAA": 5}) == ""
    file.close()
    assert path.stat().st_mode & 0o077 == 0, "nobody else reads it"
    again = ApiKeyFile(path, tmp_path / "other")
    kept = again.load()
    assert kept is not None
    assert (kept.keys, kept.used) == ([RECORD], {"AAAAAAAA": 5})
    again.close()
    assert said(caplog) == []


def test_two_gateways_with_one_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = [ApiKeyFile(tmp_path / "a", tmp_path / "b") for _ in range(2)]
    assert [file.is_lasting for file in files] == [True, False]
    assert files[1].store([RECORD], {}) == ""
    assert files[0].load() is None
    assert [text[:41] for text in said(caplog)] == ["API keys that are made are not kept over "]
    for file in files:
        file.close()


@pytest.mark.parametrize("content", ["{", '{"keys": [{"id": "AAAAAAAA"}]}', "[]"])
def test_what_cannot_be_read_is_not_taken_for_no_keys(
    content: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a").write_text(content)
    file = ApiKeyFile(tmp_path / "a", tmp_path / "b")
    with pytest.raises(ValueError, match="a cannot be read: "):
        file.load()
    assert said(caplog) == ["the API keys cannot be read"]
    assert (tmp_path / "a").read_text() == content
    file.close()


def test_a_disk_that_fails_is_reported_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory = tmp_path / "gone"
    file = ApiKeyFile(directory / "a", tmp_path / "b")
    (directory / "a.lock").unlink()
    directory.rmdir()
    problems = {file.store([RECORD], {}) for _ in range(3)}
    assert problems == {f"{directory / 'a'} cannot be written: No such file or directory"}
    assert said(caplog) == ["the API keys cannot be stored"]
    file.close()
