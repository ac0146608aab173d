"""What children report to the supervisor: words on one pipe, to which all of them write."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from typing import Final

SERVING: Final = "serving"
"""The process does its work from now on."""
ALIVE: Final = "alive"
"""Its event loop runs; sent periodically."""
FAILING: Final = "failing"
"""It still serves, but something it needs has failed, which follows: another process is to take over from it."""
RELOADING: Final = "reloading"
RELOADED: Final = "reloaded"
"""A reload is over, whether or not anything was taken over."""

UNUSABLE: Final = 78
"""The exit code of a worker that cannot serve by its configuration (EX_CONFIG of sysexits.h)."""

_BEAT: Final = 1.0
_READ: Final = 65536
_LONGEST: Final = 400
"""Characters of a notice: with four bytes each, and the process id, fewer than PIPE_BUF."""


class Notices:
    """One pipe, made before the first fork. A line is shorter than PIPE_BUF, so lines never mix."""

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()
        os.set_blocking(self.reader, False)
        os.set_blocking(self._writer, False)
        self._partial = b""

    def say(self, word: str, why: str = "") -> None:
        """Notify the supervisor; does not wait for one that no longer reads."""
        line = " ".join(f"{word} {why}".split())[:_LONGEST]
        with contextlib.suppress(OSError):
            os.write(self._writer, b"%d %s\n" % (os.getpid(), line.encode("utf-8", "backslashreplace")))

    def received(self) -> Iterator[tuple[int, str, str]]:
        """What was received since: process id, word, and why it was said, if that was too."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.reader, _READ):
                *lines, self._partial = (self._partial + data).split(b"\n")
                for line in lines:
                    pid, word, *why = line.decode().split(" ", 2)
                    yield int(pid), word, "".join(why)

    def only_say(self) -> None:
        """Close the supervisor's end, in a child."""
        os.close(self.reader)

    async def keep_saying_alive(self, timeout: float) -> None:
        """Report that the loop runs, often enough for a supervisor that takes `timeout` silent seconds for a hang."""
        while True:
            self.say(ALIVE)
            await asyncio.sleep(min(_BEAT, timeout / 4))
