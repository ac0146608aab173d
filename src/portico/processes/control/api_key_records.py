"""What is kept of API keys, and the file of this gateway in which it is: never a key, only its hash."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import msgspec

from portico.policies.auth.key_table import ApiKey
from portico.processes.control.state_file import StateFile

logger: Final = logging.getLogger("portico.keys")


KEPT_FOR: Final = 366 * 86_400
"""Seconds for which what has ended is kept: a gateway that was away may believe in it until it hears of its end."""
_BELIEVED_FOR: Final = 300 * 86_400
"""Seconds after which a file that nobody wrote meanwhile is not believed where there are other gateways."""
_Id: TypeAlias = Annotated[str, msgspec.Meta(pattern="^[0-9A-Za-z]+$")]
_Digest: TypeAlias = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class KeyRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One key. Times are whole seconds since the epoch, and 0 is never; `digest` is its SHA-256 in hexadecimal.

    All but `expires` and `revoked` stays as it was made, and these two only ever come sooner. So it does not matter in
    which order gateways learn of changes, or how late: see `merged`.
    """

    id: _Id
    digest: _Digest
    consumer: str
    created: int
    scopes: tuple[str, ...] | None = None
    note: str = ""
    expires: int = 0
    revoked: int = 0

    def holds(self, now: float) -> bool:
        """Whether it is accepted at this time, as far as it goes by the key."""
        return not self.revoked and not (self.expires and self.expires <= now)

    def is_over(self, now: float) -> bool:
        """Whether it ended so long ago that nobody has to know of it any more."""
        ended = _sooner(self.expires, self.revoked)
        return bool(ended) and ended + KEPT_FOR <= now

    def for_workers(self) -> ApiKey:
        """What workers have to know of it."""
        digest = bytes.fromhex(self.digest)
        return ApiKey(self.id, digest, self.consumer, self.scopes, self.expires, holds=not self.revoked)


def merged(one: KeyRecord, other: KeyRecord) -> KeyRecord:
    """What is known of a key of which two have heard different things: whatever ends it sooner."""
    expires, revoked = _sooner(one.expires, other.expires), _sooner(one.revoked, other.revoked)
    if (one.expires, one.revoked) == (expires, revoked):
        return one
    return msgspec.structs.replace(one, expires=expires, revoked=revoked)


def _sooner(one: int, other: int) -> int:
    return min(one, other) if one and other else one or other


class Kept(msgspec.Struct, frozen=True):
    """The content of the file: all keys, and when they were last used, by their ids."""

    keys: list[KeyRecord] = []
    used: dict[str, int] = {}


_decode: Final = msgspec.json.Decoder(Kept).decode


class ApiKeyFile:
    """The file at `path`. Where that cannot be used, it is at `other`, which lasts as long as this gateway runs."""

    def __init__(self, path: Path | None, other: Path) -> None:
        self._file = StateFile(path, other, "API keys that are made are")
        self._is_failing = False

    @property
    def is_lasting(self) -> bool:
        """Whether what is there outlasts this gateway."""
        return not self._file.problem

    def load(self, *, is_shared: bool = False) -> Kept | None:
        """What is there; None where there is no file. Raises ValueError where it cannot be read.

        With `is_shared` a file so old that the end of its keys may be forgotten by others counts as none.
        """
        path = self._file.path
        try:
            if is_shared and time.time() - path.stat().st_mtime > _BELIEVED_FOR:
                logger.warning("API keys of an old file are not used: those in Redis are", extra={"file": str(path)})
                return None
            return _decode(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            problem = f"{self._file.path} cannot be read: {error}"
            logger.error("the API keys cannot be read", extra={"file": str(self._file.path), "reason": str(error)})
            raise ValueError(problem) from error

    def store(self, keys: Iterable[KeyRecord], used: Mapping[str, int]) -> str:
        """Replace what is there. What is wrong, if anything."""
        kept = Kept(list(keys), dict(used))
        try:
            self._file.store(msgspec.json.encode(kept) if kept.keys or kept.used else b"", safely=True)
        except OSError as error:
            problem = f"{self._file.path} cannot be written: {error.strerror or error}"
            if not self._is_failing:
                logger.error("the API keys cannot be stored", extra={"reason": problem})
            self._is_failing = True
            return problem
        self._is_failing = False
        return ""

    def close(self) -> None:
        """Let another process have it."""
        self._file.close()
