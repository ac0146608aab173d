"""The last known documents, in a file of this gateway: a service that is away is documented after a restart, too."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from portico.processes.control.state_file import StateFile

logger: Final = logging.getLogger("portico.openapi")


class Record(msgspec.Struct, frozen=True):
    """A document as it was fetched, as JSON; `fetched` is when, in seconds since the epoch.

    `changed` is when it last became another one, and `breaking` what that broke.
    """

    service: str
    version: str | None
    path: str
    document: msgspec.Raw
    fetched: float
    changed: float = 0.0
    breaking: tuple[str, ...] = ()


_decode: Final = msgspec.json.Decoder(list[Record]).decode


class DocumentFile:
    """The file at `path`. Where that cannot be used, it is at `other`, which lasts as long as this gateway runs."""

    def __init__(self, path: Path | None, other: Path) -> None:
        self._file = StateFile(path, other)
        self._is_failing = False

    def load(self) -> list[Record]:
        """The documents that were known. What cannot be read is reported, and fetched again."""
        try:
            return _decode(self._file.path.read_bytes())
        except FileNotFoundError:
            return []
        except (OSError, msgspec.DecodeError) as error:
            extra = {"file": str(self._file.path), "reason": str(error)}
            logger.warning("the last known documents cannot be read: they are fetched again", extra=extra)
            return []

    def store(self, records: Mapping[object, Record]) -> None:
        """Replace what is there, as a whole or not at all."""
        try:
            self._file.store(msgspec.json.encode([*records.values()]) if records else b"", safely=False)
        except OSError as error:
            if not self._is_failing:
                extra = {"file": str(self._file.path), "reason": error.strerror or str(error)}
                logger.warning("documents cannot be stored: a restart forgets those of services away", extra=extra)
            self._is_failing = True
        else:
            self._is_failing = False

    def close(self) -> None:
        """Let another process have it."""
        self._file.close()
