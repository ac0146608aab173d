"""Forwarding on a route whose requests are copied for other services; routes without `mirror` pay nothing for it.

The original comes first, and never waits: a copy is made of what has gone by, once all of it has, and what does not fit
into its bounds is dropped and counted.
"""

from __future__ import annotations

import logging
from random import random
from typing import Any, Final, TypeVar

from portico.core.faults import FAULTS
from portico.core.messages import CHUNKED
from portico.proxy.forward import Forwarding
from portico.proxy.headers.forwarded import passed_trailers
from portico.proxy.mirror import ABORTED, TOO_LARGE, Copy, Mirror
from portico.upstreams.instance import Instance

logger: Final = logging.getLogger("portico.mirror")

AnyForwarding = TypeVar("AnyForwarding", bound=Forwarding)


class Mirroring(Forwarding):
    """Mixed into the forwarding that a route has, below what filters bodies: copies have what the service gets."""

    mirrors: list[Mirror] | None = None
    """Those that get a copy once the body is there; None before the first attempt."""
    copied: list[bytes]
    """The body for them, as far as it has come."""
    copied_size: int

    def connect(self, instance: Instance, only_once: bool, fresh_only: bool = False) -> None:
        if self.mirrors is not None:  # an earlier attempt was made
            super().connect(instance, only_once, fresh_only)
            return
        self.mirrors = []
        if not self.upgrade:
            self._choose_mirrors(self.mirrors)
        super().connect(instance, only_once, fresh_only)
        if self.mirrors and self.body_done:
            self._send_copies(self.mirrors)

    def _choose_mirrors(self, mirrors: list[Mirror]) -> None:
        """By chance, for each request anew; they are `mirrors` as soon as their room is taken."""
        for mirror in self.handling.mirrors:
            if random() < mirror.share and mirror.admits(self.exchange, self.framing):  # noqa: S311
                mirrors.append(mirror)  # noqa: PERF401 - a fault has to find those that have room
        if mirrors:
            self.copied, self.copied_size = [], 0
            for data in self.kept:
                self._collect(mirrors, data)

    def _collect(self, mirrors: list[Mirror], data: bytes) -> None:
        """Keep a piece of the body for those for which the body is not too large."""
        self.copied_size += len(data)
        for mirror in [each for each in mirrors if self.copied_size > each.max_body]:
            mirrors.remove(mirror)
            mirror.release(TOO_LARGE)
        if mirrors:
            self.copied.append(data)
        else:
            self.copied.clear()

    def body_received(self, data: bytes) -> None:
        super().body_received(data)
        if self.mirrors:
            self._collect(self.mirrors, data)

    def body_ended(self) -> None:
        super().body_ended()
        if self.mirrors:
            self._send_copies(self.mirrors)

    def _send_copies(self, mirrors: list[Mirror]) -> None:
        """Send the copies; what goes wrong with them concerns no client."""
        try:
            content, allowed = b"".join(self.copied), self.handling.trailers
            trailers = passed_trailers(self.stream.trailers, allowed) if allowed else ()
            while mirrors:
                copy = self.new_copy(mirrors[-1])
                copy.begin(self.handling.compose, content, chunked=self.framing == CHUNKED, trailers=trailers)
                mirrors.pop()  # from here on its room is the copy's to give back
            self.copied = []
        except FAULTS:
            logger.exception("a request was not copied", extra={"request_id": self.exchange.request_id})

    def new_copy(self, mirror: Mirror) -> Copy:
        """A copy, which has not begun."""
        return Copy(self.exchange, mirror, self.loop)

    def finished(self, failure: str | None) -> None:
        while self.mirrors:
            self.mirrors.pop().release(ABORTED)
        super().finished(failure)


def mirrored(kind: type[AnyForwarding]) -> type[AnyForwarding]:
    """A kind of forwarding that also copies requests for the mirrors of its handling."""
    known: type[AnyForwarding] | None = _MIRRORED.get(kind)
    if known is None:
        known = _MIRRORED[kind] = type(f"Mirrored{kind.__name__}", (kind, Mirroring), {})
    return known


_MIRRORED: Final[dict[type[Forwarding], Any]] = {Forwarding: Mirroring}
