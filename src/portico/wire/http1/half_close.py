"""A client that has closed its side of the connection while its answer is not complete: it still reads, or is gone.

The end of its side looks the same in both cases, and the loop no longer watches the socket. So it is looked at now and
then: before its response it is probed, amid its response it has to let that progress.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from portico.core.exchange import Stream
from portico.wire.writing import is_broken

FIRST_LOOK: Final = 0.05
"""Seconds from the end of the client's side, or from the beginning of a later request, until it is first looked at."""
_GRACE: Final = 1.0
"""Seconds without progress after which it is taken to be gone rather than listening."""
_CANCEL_GRACE: Final = 0.05
"""The same for a client that closed its side in the middle of its response, as one that cancels it does."""
_PROBE_STEPS: Final = (0.02, 0.1, 0.5, 4.0)
"""Seconds from probing a client that may be gone to each look for its reset, and until it is probed again."""


class Answering(Stream, Protocol):
    """The connection, with the exchange that runs on it."""

    transport: asyncio.Transport

    def takes_interim(self) -> bool:
        """Whether an interim response may be sent now."""


class HalfClose:
    """What is known of such a client in one exchange.

    `grace` is in seconds: without progress for as long, a response that has begun is aborted.
    """

    __slots__ = ("_bytes_out", "_step", "grace")

    def __init__(self) -> None:
        self.grace = _GRACE
        self._bytes_out = -1
        """How far the response was when it was last looked at; -1 before that."""
        self._step = 0
        """The index in `_PROBE_STEPS`."""

    def begin(self, connection: Answering) -> float:
        """The client has just closed its side: seconds until it is to be looked at."""
        if connection.takes_interim():
            return FIRST_LOOK
        self._bytes_out = connection.bytes_out
        if connection.response_started:
            self.grace = _CANCEL_GRACE
        return self.grace

    def is_gone(self, connection: Answering) -> bool:
        """Whether it is known to be gone, or taken to be."""
        if connection.takes_interim():
            return self._step > 0 and is_broken(connection.transport)
        return self._bytes_out == connection.bytes_out

    def wait(self, connection: Answering) -> float:
        """Go on with it, with a probe if it is time for one: seconds until it is to be looked at again.

        A client that is gone answers a probe with a reset. An interim response may be sent at any time and has no
        effect (RFC 9110, section 15.2).
        """
        if not connection.takes_interim():
            self._bytes_out = connection.bytes_out
            return self.grace
        if self._step == 0:
            connection.send_interim(100, b"Continue", [])
        seconds = _PROBE_STEPS[self._step]
        self._step = (self._step + 1) % len(_PROBE_STEPS)
        return seconds
