"""What somebody has said about instances, in a file of this gateway: it outlasts restarts."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from portico.config import Config
from portico.core.overrides import Override
from portico.processes.control.state_file import StateFile, state_path

logger: Final = logging.getLogger("portico.control")

_decode: Final = msgspec.json.Decoder(list[Override]).decode


def overrides_path(config: Config, config_path: Path | None) -> Path | None:
    """The file of a configuration; there is none until somebody says something."""
    return state_path(config, config_path, "instances")


def last_overrides(config: Config, config_path: Path | None) -> list[Override]:
    """What was said when a gateway with this configuration ended."""
    path = overrides_path(config, config_path)
    if path is not None:
        with suppress(OSError, msgspec.DecodeError):  # the control process says so
            return _decode(path.read_bytes())
    return []


class OverrideFile:
    """The file at `path`, or at `other` where that cannot be used: then it lasts as long as this gateway runs."""

    def __init__(self, path: Path | None, other: Path) -> None:
        self._file = StateFile(path, other, "what is said about instances is")

    @property
    def is_kept(self) -> bool:
        """Whether it outlasts the gateway."""
        return not self._file.problem

    def load(self) -> list[Override]:
        """What was said. What cannot be read is reported, and nothing was said then."""
        try:
            return _decode(self._file.path.read_bytes())
        except FileNotFoundError:
            return []
        except (OSError, msgspec.DecodeError) as error:
            extra = {"file": str(self._file.path), "reason": str(error)}
            logger.error("what was said about instances cannot be read: drained ones get requests", extra=extra)
            return []

    def store(self, overrides: Sequence[Override]) -> bool:
        """Replace what is there as a whole or not at all. Whether it outlasts the gateway."""
        try:
            self._file.store(msgspec.json.encode(overrides) if overrides else b"", safely=True)
        except OSError as error:
            extra = {"file": str(self._file.path), "reason": error.strerror or str(error)}
            logger.error("what is said about instances cannot be stored: a restart would undo it", extra=extra)
            return False
        return self.is_kept

    def close(self) -> None:
        """Let another process have it."""
        self._file.close()
