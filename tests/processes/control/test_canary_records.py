"""Where canaries are, on disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from portico.config import load_text
from portico.processes.control.canary import begun, commanded
from portico.processes.control.canary_counts import Counts, Sides
from portico.processes.control.canary_records import (
    CanaryRecords,
    Record,
    last_weights,
    records_file,
)
from portico.processes.control.state_file import state_directory

RECORD = Record(begun(("shop", "next", (5.0, 100.0)), 1_800_000_000.0), Sides(Counts(10, 1), Counts(2)))


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(
    ("written", "environ", "expected"),
    [
        ("/here", {"STATE_DIRECTORY": "/there"}, "/here"),
        (None, {"STATE_DIRECTORY": "/var/lib/portico:/other", "XDG_STATE_HOME": "/x"}, "/var/lib/portico"),
        (None, {"XDG_STATE_HOME": "/x"}, "/x/portico"),
        (None, {}, Path.home() / ".local/state/portico"),
    ],
)
def test_the_directory(written: str | None, environ: dict[str, str], expected: str | Path) -> None:
    assert state_directory(Path(written) if written else None, environ) == Path(expected)


def test_what_is_stored_is_there_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "deep" / "a.canaries.json"
    records = CanaryRecords(path, tmp_path / "other")
    assert records.load() == {}
    records.store({"r": RECORD}, safely=True)
    records.close()
    assert path.stat().st_mode & 0o077 == 0, "nobody else reads it"
    again = CanaryRecords(path, tmp_path / "other")
    assert again.load() == {"r": RECORD}
    again.store({}, safely=True)
    assert (again.load(), path.exists()) == ({}, False)
    again.close()
    assert said(caplog) == []


def test_two_gateways_with_one_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = CanaryRecords(tmp_path / "a", tmp_path / "b")
    second = CanaryRecords(tmp_path / "a", tmp_path / "b")
    second.store({"r": RECORD}, safely=False)
    assert first.load() == {}
    assert (tmp_path / "b").exists()
    assert "another gateway with the same configuration uses it" in caplog.records[0].__dict__["reason"]
    first.close()
    second.close()


def test_what_cannot_be_read_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a"
    path.write_text('{"r": {"decision": {"phase": "lost"}}}')
    records = CanaryRecords(path, tmp_path / "b")
    assert records.load() == {}
    records.close()
    assert said(caplog) == ["what became of canaries cannot be read: they begin anew"]


def test_a_disk_that_fails_is_reported_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory = tmp_path / "gone"
    records = CanaryRecords(directory / "a", tmp_path / "b")
    (directory / "a.lock").unlink()
    directory.rmdir()
    for _ in range(3):
        records.store({"r": RECORD}, safely=False)
    assert said(caplog) == ["what becomes of canaries cannot be stored: a restart would undo it"]
    records.close()


def test_a_directory_that_is_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    records = CanaryRecords(tmp_path / "file" / "a", tmp_path / "b")
    records.store({"r": RECORD}, safely=False)
    assert records.load() == {"r": RECORD}
    assert [line[:50] for line in said(caplog)] == ["what becomes of canaries is not kept over a restar"]


def test_weights_for_workers_that_start_first(tmp_path: Path) -> None:
    text = f"""
gateway: {{state_dir: {tmp_path}}}
services: {{shop: {{url: http://h}}, next: {{url: http://i}}}}
routes: [{{name: r, path: /, service: shop, canary: {{to: next, steps: [5, 100]}}}}]
"""
    config, other = (load_text(each, "portico.yaml", {}) for each in (text, text.replace("[5, 100]", "[10, 100]")))
    file = Path(os.path.relpath(__file__))
    path = records_file(config, file)
    assert path == records_file(config, file.absolute())
    assert path != records_file(config, None)
    assert path is not None
    assert last_weights(config, file) == {}
    records = CanaryRecords(path, tmp_path / "other")
    promoted = commanded(RECORD.decision, "promote", "anna", "", 1.0)
    records.store({"r": Record(promoted)}, safely=True)
    records.close()
    assert last_weights(config, file) == {"r": {"shop": 0, "next": 100}}
    assert last_weights(other, file) == {}, "that is another canary"
    path.write_text("{")
    assert last_weights(config, file) == {}
