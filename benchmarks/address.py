"""Where a server listens, and how to speak to it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Address:
    """A port of the loopback interface; `is_secure` where it speaks TLS."""

    port: int
    is_secure: bool = False

    @property
    def url(self) -> str:
        """Without a path."""
        return f"http{'s' * self.is_secure}://127.0.0.1:{self.port}"
