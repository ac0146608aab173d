"""What workers have to know about an instance that registered itself."""

from __future__ import annotations

import msgspec


class Found(msgspec.Struct, frozen=True):
    """An instance of a service, as the registry has it; `version` is the one that it declares.

    A `backup` gets requests only while no other is there.
    """

    url: str
    weight: int = 1
    version: str | None = None
    backup: bool = False
