"""Where what is observed is sent to."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Collector:
    """Where one signal goes. `url` is complete; `tls` verifies the collector where that is `https`."""

    signal: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    gzip: bool = False
    timeout: float = 10.0
    """Seconds for one request."""
    delay: float = 1.0
    """Seconds that something waits for more, at most."""
    most_waiting: int = 32 << 20
    """Bytes that wait to be sent."""
    tls: Callable[[], ssl.SSLContext] | None = None
    files: tuple[str, ...] = ()
    """What `tls` is made of: collectors are equal where their files are."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Collector) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self.url)

    @property
    def _key(self) -> tuple[object, ...]:
        headers = tuple(self.headers.items())
        return self.signal, self.url, headers, self.gzip, self.timeout, self.delay, self.most_waiting, self.files
