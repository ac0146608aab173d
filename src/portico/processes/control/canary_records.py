"""Where canaries are, in a file of this gateway: what is known of them outlasts its processes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from portico.config import Config
from portico.processes.control.canary import Decision, canary_of, canary_splits
from portico.processes.control.canary_counts import Sides
from portico.processes.control.state_file import StateFile, state_path

logger: Final = logging.getLogger("portico.canary")


class Record(msgspec.Struct, frozen=True):
    """A decision, and what this gateway counted since its step began.

    `is_unsent`: it was made while Redis was away, and other gateways do not know of it.
    """

    decision: Decision
    counted: Sides = Sides()
    is_unsent: bool = False


_decode: Final = msgspec.json.Decoder(dict[str, Record]).decode


def records_file(config: Config, config_path: Path | None) -> Path | None:
    """The file of a configuration. One without canaries has one only where an earlier one has left it."""
    return state_path(config, config_path, "canaries")


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
        self._file = StateFile(path, other, "what becomes of canaries is")
        self._is_failing = False

    @property
    def path(self) -> Path:
        """Where they are."""
        return self._file.path

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
        try:
            self._file.store(msgspec.json.encode(records) if records else b"", safely=safely)
        except OSError as error:
            if not self._is_failing:
                extra = {"file": str(self.path), "reason": error.strerror or str(error)}
                logger.error("what becomes of canaries cannot be stored: a restart would undo it", extra=extra)
            self._is_failing = True
        else:
            self._is_failing = False

    def close(self) -> None:
        """Let another process have it."""
        self._file.close()
