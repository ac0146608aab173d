"""What was done, said on the page that is loaded next."""

from __future__ import annotations

import time
from typing import Final, NamedTuple

_LIFE: Final = 60.0
_MOST: Final = 200


class Flash(NamedTuple):
    """A sentence for one session; it is shown once."""

    text: str
    is_warning: bool
    until: float


class Flashes:
    """The sentences that wait to be shown, by session: the newest of each."""

    def __init__(self) -> None:
        self._waiting: dict[str, Flash] = {}

    def put(self, session: str, text: str, *, is_warning: bool) -> None:
        """To be shown soon, or never."""
        now = time.monotonic()
        kept = [(key, flash) for key, flash in self._waiting.items() if flash.until > now]
        self._waiting = dict(kept[-_MOST:])
        self._waiting[session] = Flash(text, is_warning, now + _LIFE)

    def take(self, session: str) -> Flash | None:
        """That of a session, if there is one."""
        flash = self._waiting.pop(session, None)
        return flash if flash is not None and flash.until > time.monotonic() else None
