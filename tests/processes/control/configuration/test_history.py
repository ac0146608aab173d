"""The history on disk: bounded, and readable whatever became of single files."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from portico.processes.control.configuration.history import Entry, History, Resolved, read_entries
from portico.processes.control.configuration.last_good import history_directories, last_good


def entry(number: int, text: str = "services: {}\n", state: str = "applied") -> Entry:
    return Entry(
        number=number,
        when=1.0,
        action="apply",
        who="ada",
        user="",
        why="",
        state=state,
        generation=number,
        tags=[f'"{number}"'],
        summary="",
        changes=[],
        total=0,
        files={},
        text=text,
        included={},
    )


def filled(directory: Path, count: int = 3) -> History:
    history = History(directory)
    for number in range(1, count + 1):
        history.store(entry(number), keep=50, size=1 << 20)
    return history


def numbers(history: History) -> list[int]:
    return [each.number for each in history.entries()]


def test_entries_outlast_the_process_and_are_for_its_user_alone(tmp_path: Path) -> None:
    directory = tmp_path / "state" / "history"
    filled(directory)
    again = History(directory)
    assert numbers(again) == [3, 2, 1]
    assert again.tagged(frozenset(('"2"',))) == entry(2)
    assert again.find(4) is None
    assert again.key == History(directory).key
    modes = {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    assert (modes, stat.S_IMODE(directory.stat().st_mode)) == ({0o600}, 0o700)


def test_it_is_bounded_by_number_and_by_size_and_numbers_do_not_come_again(tmp_path: Path) -> None:
    history = filled(tmp_path, 9)
    history.store(entry(10), keep=4, size=1 << 20)
    assert numbers(history) == [10, 9, 8, 7]
    history.store(entry(11, "#" * 5000), keep=4, size=4000)
    assert numbers(history) == [11, 10], "the newest two always stay"
    assert numbers(History(tmp_path)) == [11, 10]
    history.remove(11)
    assert history.next_number() == 12


@pytest.mark.parametrize("wrong", [b"", b'{"number": 2', b"\0" * 4096, b"[]", b'{"number": 7}', b"\xff\xfe{}"])
def test_a_file_that_is_cut_off_or_corrupt_is_left_out_and_left_alone(tmp_path: Path, wrong: bytes) -> None:
    filled(tmp_path)
    damaged = tmp_path / "00000003.json"
    damaged.write_bytes(wrong)
    history = History(tmp_path)
    assert numbers(history) == [2, 1]
    assert history.unreadable == ["00000003.json"]
    history.store(entry(history.next_number()), keep=50, size=1 << 20)
    assert numbers(history) == [4, 2, 1]
    assert damaged.read_bytes() == wrong
    assert [each.number for each in read_entries(tmp_path)] == [1, 2, 4]


def test_a_file_under_the_name_of_another_is_none(tmp_path: Path) -> None:
    filled(tmp_path)
    (tmp_path / "00000009.json").write_bytes((tmp_path / "00000001.json").read_bytes())
    assert numbers(History(tmp_path)) == [3, 2, 1]


def test_what_a_killed_process_has_left_is_no_entry(tmp_path: Path) -> None:
    filled(tmp_path)
    (tmp_path / "00000004.new").write_bytes(b"half")
    (tmp_path / "key").write_bytes(b"short")
    history = History(tmp_path)
    assert numbers(history) == [3, 2, 1]
    assert len(history.key) == 32


def test_a_directory_that_cannot_be_written_has_no_entry_more(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    history = History(tmp_path / "file" / "history")
    with pytest.raises(OSError, match="directory"):
        history.store(entry(1), keep=2, size=1 << 20)
    assert (history.entries(), history.next_number()) == ([], 1)
    with pytest.raises(OSError, match="directory"):
        history.store_resolved(Resolved("1", {}))
    assert history.resolved() is None


@pytest.mark.parametrize(
    "text",
    [
        "gateway:\n  state_dir: {}\nservices: [\n",
        "gateway: {{state_dir: '{}', port: 0\n",
        'gateway: {{"state_dir": "{}"',
        "\tstate_dir: ${{STATE:-{}}}  # there\n\0",
    ],
)
def test_a_broken_file_still_says_where_its_history_is(tmp_path: Path, text: str) -> None:
    file = tmp_path / "portico.yaml"
    file.write_text(text.format(tmp_path / "state"))
    first, default = history_directories(file, {"XDG_STATE_HOME": "/elsewhere"})
    assert (first.parent, default.parent) == (tmp_path / "state", Path("/elsewhere/portico"))
    assert first.name == default.name


def test_the_last_good_one_is_the_newest_that_can_be_read_now(tmp_path: Path) -> None:
    file = tmp_path / "portico.yaml"
    file.write_text("services: [")
    environ = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    (directory,) = history_directories(file, environ)
    history = History(directory)
    good = "services: {a: {url: 'http://localhost:1'}}\n"
    for number, (text, state) in enumerate(
        [(good, "applied"), (good.replace("a:", "b:"), "applied"), ("services: [", "applied"), (good, "refused")], 1
    ):
        history.store(entry(number, text, state), keep=50, size=1 << 20)
    assert [(each.number, [*config.services]) for each, config in last_good(file, environ)] == [(2, ["b"]), (1, ["a"])]
    assert file.read_text() == "services: ["
