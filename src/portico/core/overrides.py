"""What somebody has said about an instance over the admin API, in place of what is configured."""

from __future__ import annotations

import msgspec


class Override(msgspec.Struct, frozen=True):
    """An instance, by its upstream key and its URL, and what holds for it until somebody enables it again.

    One that is drained gets no new exchange, not even of those that belong to it; those under way end. `weight` stands
    in place of the one that is written, if it is not None. `at` is in seconds since the epoch, `by` who has said it.
    """

    key: str
    url: str
    is_drained: bool = False
    weight: int | None = None
    at: float = 0.0
    by: str = ""

    @property
    def identity(self) -> tuple[str, str]:
        """The key and the URL."""
        return self.key, self.url
