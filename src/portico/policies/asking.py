"""Policies that ask a service about requests: where that is, and what clients get where it does not answer."""

from __future__ import annotations

import logging
import time
from math import inf
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from portico.core.errors import Refusal
from portico.core.questions import UnansweredError
from portico.core.settings import Duration, NotEmpty, Settings

logger: Final = logging.getLogger("portico.auth")

LONGEST: Final = 25.0
"""Seconds that an answer may take: less than what any policy has for its verdict."""
_SOON: Final = (b"Retry-After: 5",)
_QUIET: Final = 60.0
"""Seconds between two events about one service."""


def _address(text: str) -> str:
    hint = "expected an address such as http://auth:9000/check"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(hint) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or "@" in parts.netloc:
        raise ValueError(hint)
    if "#" in text or not all("!" <= character <= "~" for character in text):
        raise ValueError(f"{hint}: without a fragment, and in ASCII, with all else percent-encoded")
    return text


class AskedSettings(Settings):
    """A service that is asked: `url` is where, `timeout` how long it has for all of its answer.

    `ca` is a file of authorities that replaces the system's, for https.
    """

    url: Annotated[str, AfterValidator(_address)]
    """Where the service is asked."""
    timeout: Annotated[Duration, Field(le=LONGEST)] = 5.0
    """How long it has for all of its answer."""
    ca: Annotated[Path | None, NotEmpty("write the file of the authorities, or leave ca out to trust the system's")] = (
        None
    )
    """A file of authorities that replaces the system's, for https; it is read when the configuration is."""

    @property
    def target(self) -> bytes:
        """What a request line has of the address."""
        parts = urlsplit(self.url)
        return (parts.path or "/").encode() + (f"?{parts.query}".encode() if parts.query else b"")


class Outages:
    """What clients and operators are told where a service gives no answer: one event at once, then one a minute."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._count = 0
        self._reported_at = float("-inf")

    def peek(self) -> Outages:
        """One that reports nothing."""
        peeked = Outages(self._url)
        peeked._reported_at = inf
        return peeked

    def refusal(self, error: UnansweredError, request_id: str = "") -> Refusal:
        """Nobody is let in on the word of a service that does not say it."""
        self._count += 1
        now = time.monotonic()
        if now - self._reported_at >= _QUIET:
            extra = {"url": self._url.partition("?")[0], "reason": str(error), "refused": self._count}
            if request_id:
                extra["request_id"] = request_id
            logger.error("a service that decides who may come in gave no answer", extra=extra)
            self._reported_at, self._count = now, 0
        return Refusal("auth_unavailable", "whether this request may pass could not be found out", _SOON)
