"""The lines of a file: the last ones first, then those that come, also after it was rotated."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO, Final

_PIECE: Final = 64 * 1024
_PAUSE: Final = 0.2
"""Seconds between two looks at a file."""
_LONGEST: Final = 1 << 20
"""Bytes of a line: what is longer is cut."""


def backwards(file: IO[bytes], end: int) -> Iterator[str]:
    """Complete lines of a file before `end`, the last one first, without reading more than is asked for."""
    rest = b""
    while end > 0:
        size = min(_PIECE, end)
        end -= size
        file.seek(end)
        lines = (file.read(size) + rest).split(b"\n")
        rest = lines[0][:_LONGEST]
        yield from (_text(line) for line in reversed(lines[1:]) if line)
    if rest:
        yield _text(rest)


def whole_lines_end(file: IO[bytes]) -> int:
    """Where the last complete line of a file ends: what is behind it is being written."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        size = min(_PIECE, end)
        file.seek(end - size)
        at = file.read(size).rfind(b"\n")
        if at >= 0:
            return end - size + at + 1
        end -= size
    return 0


def coming(path: Path, file: IO[bytes]) -> Generator[str, None, None]:
    """Lines that are written from where the file is on, for ever; one that takes its place is read from its beginning.

    The file is closed with the iterator.
    """
    rest = b""
    try:
        while True:
            *lines, rest = (rest + file.read(_PIECE)).split(b"\n")
            rest = rest[-_LONGEST:]
            yield from (_text(line) for line in lines if line)
            if lines:
                continue
            following = _following(path, file)
            if following is None:
                time.sleep(_PAUSE)
                continue
            *lines, _ = (rest + file.read()).split(b"\n")  # what was written between the last look and the rotation
            yield from (_text(line) for line in lines if line)
            if following is not file:
                file.close()
            file, rest = following, b""
    finally:
        file.close()


def _following(path: Path, file: IO[bytes]) -> IO[bytes] | None:
    """The file that is at the path now where it is another one, or the same where it was emptied; else None."""
    try:
        there, own = path.stat(), os.fstat(file.fileno())
    except FileNotFoundError:
        return None  # between a rotation and the first line of what follows
    if (there.st_dev, there.st_ino) != (own.st_dev, own.st_ino):
        return path.open("rb")
    if own.st_size < file.tell():
        file.seek(0)
        return file
    return None


def _text(line: bytes) -> str:
    return line.decode("utf-8", "backslashreplace").rstrip("\r")
