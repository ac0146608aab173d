"""Files in which a gateway keeps what outlasts its processes: one for each configuration and each kind of state."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from portico.config import Config
from portico.core.replacing import replace_file

logger: Final = logging.getLogger("portico.control")

NO_HOME: Final = "this user has no home"


def state_directory(written: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Where state is kept: as written, where systemd says, or where programs of this user keep theirs (the XDG base
    directories). None where this user has no home.
    """
    if written is not None:
        return written
    if given := environ.get("STATE_DIRECTORY"):
        return Path(given.partition(":")[0])
    if base := environ.get("XDG_STATE_HOME"):
        return Path(base) / "portico"
    with suppress(RuntimeError):
        return Path.home() / ".local" / "state" / "portico"
    return None


def state_path(config: Config, config_path: Path | None, kind: str) -> Path | None:
    """The file of a configuration for state of this kind: several gateways may share the directory.

    None: there is no place.
    """
    directory = state_directory(config.gateway.state_dir, os.environ)
    return None if directory is None else path_within(directory, config_path, kind)


def path_within(directory: Path, config_path: Path | None, kind: str) -> Path:
    """The same in that directory."""
    path = config_path.absolute() if config_path is not None else Path("demo")
    return directory / f"{path.stem}-{hashlib.sha256(bytes(path)).hexdigest()[:12]}.{kind}.json"


def is_there(path: Path | None, other: Path) -> bool:
    """Whether something is kept at one of both; where that cannot be seen, there is nothing."""
    for each in (path, other):
        with suppress(OSError):
            if each is not None and each.exists():
                return True
    return False


def warn_not_kept(what: str, path: Path | None, problem: str) -> None:
    """Say that something ends with this gateway, and what to do about it; `what` is the sentence's beginning."""
    message = f"{what} not kept over a restart of the gateway: name a directory in gateway.state_dir"
    logger.warning(message, extra={"file": str(path or ""), "reason": problem})


class StateFile:
    """The file at `path`, which no other process has meanwhile. Where that cannot be used, it is at `other`.

    `problem` then says why, and so does a warning that `what` is or are not kept; what is at `other` lasts as long as
    this gateway runs. Without `what` there is no warning: it is state that can be had again.
    """

    def __init__(self, path: Path | None, other: Path, what: str = "") -> None:
        self._lock: int | None = None
        self.path = other
        self.problem = NO_HOME if path is None else self._open(path)
        if self.problem and what:
            warn_not_kept(what, path, self.problem)

    def _open(self, path: Path) -> str:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.close()
            is_taken = isinstance(error, BlockingIOError)
            return "another gateway with the same configuration uses it" if is_taken else error.strerror or str(error)
        self.path = path
        return ""

    def store(self, data: bytes, *, safely: bool) -> None:
        """Replace what is there as a whole or not at all; `safely` also where the machine loses its power.

        Empty data removes the file. Raises OSError.
        """
        if not data:
            self.path.unlink(missing_ok=True)
            return  # what remains is the lock
        replace_file(self.path, data, safely=safely)

    def close(self) -> None:
        """Let another process have it."""
        if self._lock is not None:
            with suppress(OSError):
                os.close(self._lock)
        self._lock = None
