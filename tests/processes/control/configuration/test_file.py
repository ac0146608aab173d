"""The file is replaced as a whole, as it is owned and wherever links lead, or not at all."""

from __future__ import annotations

import errno
import os
import resource
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from portico.processes.control.configuration.errors import RefusedError
from portico.processes.control.configuration.file import ConfigurationFile


def anything(_: str | None) -> bool:
    return True


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "portico.yaml"
    path.write_text("old\n")
    return path


def refused(path: Path, text: str = "new\n") -> RefusedError:
    before = path.read_bytes() if path.exists() else None
    with pytest.raises(RefusedError) as error:
        ConfigurationFile(path).replace(text, anything)
    assert (path.read_bytes() if path.exists() else None) == before
    assert not [each.name for each in path.resolve().parent.glob(".*portico-new")]
    return error.value


def test_mode_and_owner_stay(path: Path) -> None:
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 1234, 2345)
    before = path.stat()
    ConfigurationFile(path).replace("new\n", anything)
    after = path.stat()
    assert path.read_text() == "new\n"
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert [each.name for each in path.parent.iterdir()] == ["portico.yaml"]


def test_links_stay_links(path: Path, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "one.yaml").symlink_to("../two.yaml")
    (tmp_path / "two.yaml").symlink_to(path)
    ConfigurationFile(tmp_path / "etc" / "one.yaml").replace("new\n", anything)
    assert (tmp_path / "etc" / "one.yaml").is_symlink()
    assert not path.is_symlink()
    assert path.read_text() == "new\n"


def test_what_comes_from_a_config_map_is_changed_there(tmp_path: Path) -> None:
    (tmp_path / "..2026_11_30").mkdir()
    (tmp_path / "..2026_11_30" / "portico.yaml").write_text("old\n")
    (tmp_path / "..data").symlink_to("..2026_11_30")
    (tmp_path / "portico.yaml").symlink_to("..data/portico.yaml")
    error = refused(tmp_path / "portico.yaml")
    assert (error.status, "ConfigMap" in error.detail) == (409, True)


def test_a_read_only_file_is_left_alone_also_by_root(path: Path) -> None:
    path.chmod(0o444)
    error = refused(path)
    assert (error.status, "read-only" in error.detail) == (409, True)


def test_what_is_no_regular_file_or_gone_is_no_place_for_one(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RefusedError, match="no regular file"):
        ConfigurationFile(tmp_path / "pipe").check()
    with pytest.raises(RefusedError, match="there is no file"):
        ConfigurationFile(tmp_path / "nothing").check()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(RefusedError) as error:
        ConfigurationFile(tmp_path / "loop").check()
    assert error.value.status == 409


def test_what_a_killed_gateway_has_left_is_no_obstacle(path: Path) -> None:
    (path.parent / ".portico.yaml.portico-new").write_text("half")
    ConfigurationFile(path).replace("new\n", anything)
    assert [each.name for each in path.parent.iterdir()] == ["portico.yaml"]


@contextmanager
def no_room(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_it_as_it_was(path: Path) -> None:
    with no_room(4096):
        error = refused(path, "x" * 10_000)
    assert (error.status, "no room" in error.detail) == (507, True)


@pytest.mark.parametrize(("number", "said"), [(errno.EBUSY, "mount its directory"), (errno.EROFS, "Read-only")])
def test_what_cannot_be_replaced_says_what_to_do(
    path: Path, number: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is mounted by itself cannot be renamed over: mounts need rights that tests do not have."""

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "replace", fail)
    error = refused(path)
    assert (error.status, said in error.detail) == (409, True)


def test_of_two_who_have_seen_the_same_one_comes_through(path: Path) -> None:
    results: list[str] = []

    def write(text: str) -> None:
        try:
            ConfigurationFile(path).replace(text, lambda found: found == "old\n")
        except RefusedError as error:
            results.append(str(error.status))
        else:
            results.append(text)

    threads = [threading.Thread(target=write, args=(f"{number}\n",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results.count("412") == 7
    assert path.read_text() in results


def test_a_file_that_is_no_text_any_more_is_not_what_was_seen(path: Path) -> None:
    path.write_bytes(b"\xff\xfe")
    assert ConfigurationFile(path).text() is None
    with pytest.raises(RefusedError) as error:
        ConfigurationFile(path).replace("new\n", lambda found: found == "old\n")
    assert error.value.status == 412
    assert stat.S_ISREG(path.stat().st_mode)
