"""Keys of session tickets that all workers of a gateway share, and that change every day.

A client resumes its session by a ticket that the server encrypted (RFC 5077; RFC 8446, section 4.6.1). OpenSSL makes
the keys with each context, and Python's ssl can neither read nor set them. But a process that is forked has the
contexts of its parent, and OpenSSL looks for the keys in the context that a connection began with, also where its
certificate comes from another. So contexts without certificates are made before the first fork: one a day, for many
days.
"""

from __future__ import annotations

import ssl
import time
from typing import Final

_COUNT: Final = 128
_PERIOD: Final = 86_400.0
"""How many contexts there are, and the seconds for which each is in use. A context takes 18 KiB and 0.2 ms to make."""


class TicketContexts:
    """The contexts for connections of now and of the days to come; made before processes are forked, for all of them.

    `current` is None where a process has outlived the last of them.
    """

    def __init__(self, count: int = _COUNT, period: float = _PERIOD) -> None:
        self._count = count
        self._period = period
        self._began = time.monotonic()  # the same clock in all processes
        self._contexts: dict[int, ssl.SSLContext] = {}
        self.extend()

    def current(self) -> ssl.SSLContext | None:
        """The one for connections that begin now; those before it are dropped, so that old tickets stay secret."""
        number = self._number()
        if number not in self._contexts or next(iter(self._contexts)) != number:
            self._contexts = {each: context for each, context in self._contexts.items() if each >= number}
        return self._contexts.get(number)

    def extend(self) -> None:
        """Make as many as there were at first, for a process that is forked next; drop those before the current one."""
        self.current()
        number = self._number()
        for each in range(number, number + self._count):
            if each not in self._contexts:
                self._contexts[each] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def _number(self) -> int:
        return int((time.monotonic() - self._began) / self._period)
