"""Files that are rotated, and syslog: no line is lost or cut."""

from __future__ import annotations

import multiprocessing
import re
import socket
from pathlib import Path

import pytest

from portico.observe import log_targets
from portico.observe.log_targets import Rotation, SyslogAddress, syslog_address, target_of

LINE = b'{"n": %05d, "pad": "' + b"x" * 60 + b'"}\n'
MESSAGE = re.compile(rb"<134>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ [!-~]+ portico \d+ access - (.*)")


def lines_of(folder: Path) -> list[bytes]:
    """Those of all files, the oldest first."""
    files = sorted(folder.glob("log*"), key=lambda file: -int(file.suffix[1:] or 0))
    return [line + b"\n" for file in files for line in file.read_bytes().splitlines()]


def test_a_file_is_moved_away_before_it_is_too_large(tmp_path: Path) -> None:
    target = target_of(str(tmp_path / "log"), None, Rotation(1000, 3))
    written = [LINE % number for number in range(100)]
    for line in written:
        target.write(line)
    assert {file.name for file in tmp_path.iterdir()} == {"log", "log.1", "log.2", "log.3"}
    assert all(file.stat().st_size <= 1000 for file in tmp_path.iterdir())
    kept = lines_of(tmp_path)
    assert kept == written[-len(kept) :]


def test_a_batch_that_is_larger_than_a_file_may_be_is_not_cut(tmp_path: Path) -> None:
    target = target_of(str(tmp_path / "log"), None, Rotation(100, 2))
    target.write(LINE * 0 + (LINE % 1) * 9)
    target.write(LINE % 2)
    assert (tmp_path / "log.1").read_bytes() == (LINE % 1) * 9
    assert (tmp_path / "log").read_bytes() == LINE % 2


def test_one_that_somebody_else_has_moved_away_is_opened_anew(tmp_path: Path) -> None:
    target = target_of(str(tmp_path / "log"), None, Rotation(10_000, 2))
    target.write(LINE % 1)
    (tmp_path / "log").rename(tmp_path / "elsewhere")
    target.write(LINE % 2)
    assert (tmp_path / "log").read_bytes() == LINE % 2


def write_some(path: str, lock: str, first: int) -> None:
    target = target_of(path, Path(lock), Rotation(5000, 1000))
    for number in range(first, first + 500):
        target.write(LINE % number)


def test_several_processes_lose_no_line(tmp_path: Path) -> None:
    (folder := tmp_path / "logs").mkdir()
    fork = multiprocessing.get_context("fork")
    arguments = [(str(folder / "log"), str(tmp_path / "lock"), first) for first in (0, 500, 1000)]
    writers = [fork.Process(target=write_some, args=each) for each in arguments]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    assert sorted(lines_of(folder)) == [LINE % number for number in range(1500)]
    assert all(file.stat().st_size <= 5000 for file in folder.iterdir())


def test_syslog_elsewhere() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        target = target_of(f"syslog://127.0.0.1:{server.getsockname()[1]}", None)
        target.write(b"one\ntwo\n" + b"x" * 100_000 + b"\n")
        messages = [MESSAGE.fullmatch(server.recv(70_000)) for _ in range(3)]
        assert [each and each[1] for each in messages] == [b"one", b"two", b"x" * 60_000]
        target.reopen()


def test_syslog_here_that_is_started_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "log")
    monkeypatch.setattr(log_targets, "_LOCAL_SYSLOG", (path,))
    target = target_of("syslog", None)
    with pytest.raises(FileNotFoundError):
        target.write(b"nobody\n")
    for word in (b"first", b"second"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
            server.bind(path)
            server.settimeout(10)
            target.write(word + b"\n")
            found = MESSAGE.fullmatch(server.recv(1000))
            assert found is not None
            assert found[1] == word
        Path(path).unlink()
        with pytest.raises(OSError, match=r"."):
            target.write(b"nobody\n")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("syslog", SyslogAddress()),
        ("syslog://logs.test", SyslogAddress("logs.test")),
        ("syslog://logs.test:1514", SyslogAddress("logs.test", 1514)),
        ("syslog://[::1]:1514", SyslogAddress("::1", 1514)),
        ("/var/log/syslog", None),
        ("stdout", None),
    ],
)
def test_addresses(text: str, address: SyslogAddress | None) -> None:
    assert syslog_address(text) == address


@pytest.mark.parametrize(
    "text", ["syslog:", "syslog://", "syslog://a:0", "syslog://a:70000", "syslog://a/b", "syslog:x"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="expected syslog, or syslog://host:port"):
        syslog_address(text)
