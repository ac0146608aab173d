"""The configurations that were in force, on disk: each with who brought it in, when, why and what it changed."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

import msgspec

from portico.core.replacing import replace_file

logger: Final = logging.getLogger("portico.control")

_ENDING: Final = ".json"
_KEY: Final = "key"
_RESOLVED: Final = "resolved"


class Entry(msgspec.Struct):
    """One of them. `state` is `pending` while it is being applied, then `applied`, `refused` by
    workers, or `abandoned` by a process that was killed.

    `when` is in seconds since 1970, `tags` are what it is known by, `changes` are those to the one before, as
    `portico plan --format json` has them, of which there are `total`. `files` has a digest of each other file that it
    is made of, `release` is Portico's. `text` and `included` hold its secrets: they are for nobody but this process.
    """

    number: int
    when: float
    action: str
    who: str
    user: str
    why: str
    state: str
    generation: int
    tags: list[str]
    summary: str
    changes: list[dict[str, Any]]
    total: int
    files: dict[str, str]
    text: str
    included: dict[str, str]
    release: str = ""


class Resolved(msgspec.Struct):
    """The document in force as a release of Portico understood it: its defaults written out, without secrets."""

    release: str
    tag: str
    document: dict[str, Any]


_decode: Final = msgspec.json.Decoder(Entry).decode


def _files(directory: Path) -> list[Path]:
    try:
        return sorted(path for path in directory.glob(f"*{_ENDING}") if path.stem.isdecimal())
    except OSError:
        return []


def read_entries(directory: Path) -> list[Entry]:
    """The entries of a history that can be read, whoever has it."""
    entries = []
    for path in _files(directory):
        with suppress(OSError, ValueError):
            entries.append(_decode(path.read_bytes()))
    return entries


class History:
    """The entries in a directory, a file each, which is replaced as a whole or not at all.

    At most `keep` of them, and at most `size` bytes together; the newest two always stay.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._entries: dict[int, Entry] = {}
        self._sizes: dict[int, int] = {}
        self._last = 0
        self._lock = threading.Lock()  # those who look need not wait for those who write
        self.unreadable: list[str] = []
        """The names of files that were not understood: they are left alone."""
        self._load()
        self.key = self._read_key()

    def _load(self) -> None:
        for path in _files(self.directory):
            self._last = max(self._last, int(path.stem))
            try:
                data = path.read_bytes()
                entry = _decode(data)
                if entry.number != int(path.stem):
                    raise ValueError("it is another one than its name says")
            except (OSError, ValueError) as error:
                self.unreadable.append(path.name)
                extra = {"file": str(path), "reason": str(error)}
                logger.warning("an entry of the configuration's history cannot be read: it is left out", extra=extra)
                continue
            self._entries[entry.number] = entry
            self._sizes[entry.number] = len(data)

    def _read_key(self) -> bytes:
        """What tags are made with, so that they say nothing about secrets."""
        path = self.directory / _KEY
        with suppress(OSError):
            if len(key := path.read_bytes()) == 32:
                return key
        key = os.urandom(32)
        with suppress(OSError):
            self._replace(path, key)
        return key

    def resolved(self) -> Resolved | None:
        """The one that was stored last."""
        with suppress(OSError, ValueError):
            return msgspec.json.decode((self.directory / _RESOLVED).read_bytes(), type=Resolved)
        return None

    def store_resolved(self, resolved: Resolved) -> None:
        """Replace it. Raises OSError."""
        self._replace(self.directory / _RESOLVED, msgspec.json.encode(resolved))

    def digest(self, *parts: bytes) -> str:
        """What identifies these bytes, and says nothing about them."""
        hashed = hashlib.blake2b(key=self.key, digest_size=12)
        for part in parts:
            hashed.update(b"%d:" % len(part) + part)
        return hashed.hexdigest()

    def entries(self) -> list[Entry]:
        """All of them, the newest first."""
        with self._lock:
            return [self._entries[number] for number in sorted(self._entries, reverse=True)]

    def find(self, number: int) -> Entry | None:
        """The one with that number."""
        return self._entries.get(number)

    def tagged(self, tags: frozenset[str]) -> Entry | None:
        """The newest that is known by one of these tags."""
        return next((entry for entry in self.entries() if not tags.isdisjoint(entry.tags)), None)

    def next_number(self) -> int:
        """The number of the one that comes next; those that were removed do not come again."""
        return self._last + 1

    def store(self, entry: Entry, *, keep: int, size: int) -> None:
        """Add an entry, or replace the one with its number, and remove what is too much. Raises OSError."""
        data = msgspec.json.encode(entry)
        self._replace(self._path(entry.number), data)
        with self._lock:
            self._entries[entry.number] = entry
            self._sizes[entry.number] = len(data)
            self._last = max(self._last, entry.number)
            removed = self._superfluous(keep, size)
        for number in removed:
            with suppress(OSError):
                self.remove(number)

    def remove(self, number: int) -> None:
        """Forget one. Raises OSError."""
        self._path(number).unlink(missing_ok=True)
        with self._lock:
            self._entries.pop(number, None)
            self._sizes.pop(number, None)

    def _superfluous(self, keep: int, size: int) -> list[int]:
        """The numbers of those that are too much."""
        kept = sorted(self._entries, reverse=True)
        totals = accumulate(self._sizes[number] for number in kept)
        return [
            number
            for index, (number, total) in enumerate(zip(kept, totals, strict=True))
            if index >= 2 and (index >= keep or total > size)
        ]

    def _path(self, number: int) -> Path:
        return self.directory / f"{number:08}{_ENDING}"

    def _replace(self, path: Path, data: bytes) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, data, safely=True)
