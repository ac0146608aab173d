"""Where canaries are, in a file of this gateway: what is known of them outlasts its processes."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from portico.config import Config
from portico.processes.control.canary import Decision, canary_of, canary_splits
from portico.processes.control.canary_counts import Sides

logger: Final = logging.getLogger("portico.canary")


class Record(msgspec.Struct, frozen=True):
    """A decision, and what this gateway counted since its step began.

    `is_unsent`: it was made while Redis was away, and other gateways do not know of it.
    """

    decision: Decision
    counted: Sides = Sides()
    is_unsent: bool = False


_decode: Final = msgspec.json.Decoder(dict[str, Record]).decode


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


def records_file(config: Config, config_path: Path | None) -> Path | None:
    """The file of a configuration: one for each, as several gateways may share the directory. None: there is no place.

    A configuration without canaries has one only where an earlier one has left it.
    """
    directory = state_directory(config.gateway.state_dir, os.environ)
    if directory is None:
        return None
    path = config_path.absolute() if config_path is not None else Path("demo")
    return directory / f"{path.stem}-{hashlib.sha256(bytes(path)).hexdigest()[:12]}.canaries.json"


def last_weights(config: Config, config_path: Path | None) -> dict[str, dict[str, float]]:
    """How requests were shared out when a gateway with these canaries ended."""
    canaries = {name: canary_of(split) for name, split in canary_splits(config).items()}
    path = records_file(config, config_path)
    if path is None or not canaries:
        return {}
    with suppress(OSError, msgspec.DecodeError):  # the control process says so
        records = _decode(path.read_bytes()).items()
        return {name: each.decision.weights for name, each in records if canaries.get(name) == each.decision.of}
    return {}


class CanaryRecords:
    """The file at `path`. Where that cannot be used, it is at `other`, which lasts as long as this gateway runs."""

    def __init__(self, path: Path | None, other: Path) -> None:
        self._lock: int | None = None
        self._is_failing = False
        self.path = other
        if path is None:
            _warn("", "this user has no home")
        else:
            self._open(path)

    def _open(self, path: Path) -> None:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.close()
            is_taken = isinstance(error, BlockingIOError)
            reason = "another gateway with the same configuration uses it" if is_taken else error.strerror or str(error)
            _warn(str(path), reason)
        else:
            self.path = path

    def load(self) -> dict[str, Record]:
        """The records by route. What cannot be read is reported, and none is known then."""
        try:
            return _decode(self.path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError) as error:
            extra = {"file": str(self.path), "reason": str(error)}
            logger.error("what became of canaries cannot be read: they begin anew", extra=extra)
            return {}

    def store(self, records: Mapping[str, Record], *, safely: bool) -> None:
        """Replace what is there as a whole or not at all; `safely` also where the machine loses its power."""
        partial = self.path.with_suffix(".new")
        try:
            if not records:
                self.path.unlink(missing_ok=True)
                return  # what remains is the lock
            with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(msgspec.json.encode(records))
                if safely:
                    file.flush()
                    os.fsync(file.fileno())
            partial.replace(self.path)
        except OSError as error:
            if not self._is_failing:
                extra = {"file": str(self.path), "reason": error.strerror or str(error)}
                logger.error("what becomes of canaries cannot be stored: a restart would undo it", extra=extra)
            self._is_failing = True
        else:
            self._is_failing = False

    def close(self) -> None:
        """Let another process have it."""
        if self._lock is not None:
            with suppress(OSError):
                os.close(self._lock)
        self._lock = None


def _warn(file: str, reason: str) -> None:
    said = "what becomes of canaries is not kept over a restart of the gateway: name a directory in gateway.state_dir"
    logger.warning(said, extra={"file": file, "reason": reason})
