"""Where the audit log is kept: a file of one JSON object a line, the newest last."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from portico.processes.control.state_file import StateFile

logger: Final = logging.getLogger("portico.audit")


class AuditEntry(msgspec.Struct):
    """What was asked of the admin API, by whom, and what came of it.

    `user` is who the client says that it acts for. Refusals of the same that come soon after each other are one entry,
    and so are those of one address without a right token: `times` says how many they are, `at` when the first came and
    `until` when the last did. Both are in seconds since the epoch.
    """

    at: float
    until: float
    caller: str
    user: str
    client_ip: str
    action: str
    what: str
    status: int
    result: str
    times: int = 1


class AuditFile:
    """The file at `path`, or at `other` where that cannot be used: then the log ends with this gateway."""

    def __init__(self, path: Path | None, other: Path, keep: int) -> None:
        self._file = StateFile(path, other, "the audit log is")
        self._keep = keep
        self._lines = 0
        self._is_failing = False

    def load(self) -> list[AuditEntry]:
        """What was kept, the oldest first; a line that was not written whole is passed over."""
        try:
            lines = [line for line in self._file.path.read_bytes().splitlines() if line]
        except FileNotFoundError:
            return []
        except OSError as error:
            logger.error("the audit log cannot be read", extra={"file": str(self._file.path), "reason": str(error)})
            return []
        self._lines = len(lines)
        return [entry for line in lines if (entry := _read(line)) is not None]

    def append(self, entry: AuditEntry, kept: Sequence[AuditEntry]) -> None:
        """Add one of those that are `kept`; now and then the file is written anew, with these alone."""
        try:
            if self._lines >= 2 * self._keep:
                self._file.store(b"".join(map(_line, kept)), safely=True)
                self._lines = len(kept)
            else:
                self._append(_line(entry))
                self._lines += 1
        except OSError as error:
            if not self._is_failing:
                extra = {"file": str(self._file.path), "reason": error.strerror or str(error)}
                logger.error("the audit log cannot be written: it is in the event log alone", extra=extra)
            self._is_failing = True
        else:
            self._is_failing = False

    def _append(self, line: bytes) -> None:
        """One write. A line that a crash has torn ends where the next one begins."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        with os.fdopen(os.open(self._file.path, flags, 0o600), "wb", buffering=0) as file:
            file.write(line)

    def close(self) -> None:
        """Let another process have it."""
        self._file.close()


def _line(entry: AuditEntry) -> bytes:
    return b"\n" + msgspec.json.encode(entry) + b"\n"


def _read(line: bytes) -> AuditEntry | None:
    try:
        return msgspec.json.decode(line, type=AuditEntry)
    except msgspec.DecodeError:
        return None
