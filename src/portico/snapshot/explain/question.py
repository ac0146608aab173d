"""The request that is asked about, read by what reads the requests of clients."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Question:
    """A request as somebody describes it.

    `url` is a path, or a URL whose host becomes the Host field and whose scheme says whether there is TLS. `headers`
    are names and values in order. Without a `listener` it is the one that the URL names, else the first.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = field(default=b"", repr=False)
    client_ip: str = "127.0.0.1"
    listener: str | None = None
