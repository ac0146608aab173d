"""The configuration's file, replaced as a whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from portico.config.problems import ConfigError
from portico.config.reading import read_text
from portico.core.replacing import sync
from portico.processes.control.configuration.errors import RefusedError

_INSTEAD: Final = "change it where it comes from, and reload"
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class ConfigurationFile:
    """The file at `path`, whatever links lead to it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def text(self) -> str | None:
        """What is in it; None where that cannot be read as text."""
        try:
            return read_text(self.path)
        except ConfigError:
            return None

    def check(self) -> Path:
        """The file itself. Raises RefusedError (409) where it cannot be replaced, and says what to do."""
        try:
            real = self.path.resolve(strict=True)
            found = real.stat()
        except FileNotFoundError:
            raise RefusedError(409, f"there is no file {self.path} any more: put one there, and reload") from None
        except (OSError, RuntimeError) as error:  # RuntimeError for links in a circle, before Python 3.13
            reason = error.strerror if isinstance(error, OSError) else error
            raise RefusedError(409, f"{self.path} cannot be replaced: {reason}") from None
        if not stat.S_ISREG(found.st_mode):
            raise RefusedError(409, f"{self.path} is no regular file: {_INSTEAD}")
        if "..data" in _links(self.path):
            message = f"{self.path} comes from a ConfigMap or Secret of Kubernetes: change that, and reload"
            raise RefusedError(409, message)
        if not found.st_mode & 0o222 or not os.access(real, os.W_OK):
            raise RefusedError(409, f"{real} is read-only: make it writable for this user, or {_INSTEAD}")
        if not os.access(real.parent, os.W_OK | os.X_OK):
            message = f"{real.parent} is read-only, so that {real.name} cannot be replaced as a whole: {_INSTEAD}"
            raise RefusedError(409, message)
        return real

    def replace(self, text: str, expected: Callable[[str | None], bool]) -> None:
        """Put `text` in its place, with its owner, group and mode, if what is there now is `expected`.

        Raises RefusedError: 412 where somebody else has changed it meanwhile, 409 where it cannot be replaced, 507
        where there is no room. It is as it was then.
        """
        real = self.check()
        with _locked(real.parent):
            if not expected(self.text()):
                raise RefusedError(412, f"{self.path} has been changed meanwhile by somebody else: look at it again")
            try:
                _replace(real, text.encode())
            except OSError as error:
                raise _refused(real, error) from None


def _links(path: Path) -> set[str]:
    """The names of all that the links on the way to a file go through."""
    names: set[str] = set()
    current = path.absolute()
    for _ in range(40):
        for each in (current, *current.parents):
            if each.is_symlink():
                target = each.readlink()
                names.update(target.parts)
                current = each.parent / target / current.relative_to(each)
                break
        else:
            break
    return names


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Nobody else who asks, such as another gateway with the same file, replaces a file there meanwhile."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # not every file system has locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(real: Path, data: bytes) -> None:
    found = real.stat()
    partial = real.with_name(f".{real.name}.portico-new")
    try:
        partial.unlink(missing_ok=True)  # of a gateway that was killed
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
            if (found.st_uid, found.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(file.fileno(), found.st_uid, found.st_gid)
            _copy_attributes(real, file.fileno())
            os.fchmod(file.fileno(), stat.S_IMODE(found.st_mode))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(real)
    except OSError:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    sync(real.parent)


def _copy_attributes(real: Path, descriptor: int) -> None:
    """Access lists and labels, as far as there are any."""
    if not hasattr(os, "listxattr"):
        return
    with suppress(OSError):
        for name in os.listxattr(real):
            with suppress(OSError):
                os.setxattr(descriptor, name, os.getxattr(real, name))


def _refused(real: Path, error: OSError) -> RefusedError:
    if error.errno in _FULL:
        return RefusedError(507, f"there is no room for {real.name} in {real.parent}: nothing was changed")
    if error.errno == errno.EBUSY:
        message = f"{real} is mounted by itself, and cannot be replaced as a whole: mount its directory, or {_INSTEAD}"
        return RefusedError(409, message)
    if error.errno == errno.EPERM:
        return RefusedError(409, f"this user may not give a file the owner that {real} has: {_INSTEAD}")
    return RefusedError(409, f"{real} cannot be replaced ({error.strerror}): {_INSTEAD}")
