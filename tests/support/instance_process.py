"""An `Instance` as a process of its own, and what can be done to it."""

from __future__ import annotations

import json

from .commands import python
from .process import free_port
from .server import Server


class InstanceProcess(Server):
    """On a free port, which it keeps when it is started again."""

    def __init__(self, name: str = "", cores: frozenset[int] | None = None) -> None:
        port = free_port()
        super().__init__(port, *python("support.instance", port, name), path="/health", cores=cores)
        self.name = name

    def be(self, manner: str) -> None:
        """One of an instance's manners."""
        self.get(f"/-/be/{manner}")

    def count(self) -> int:
        """How many requests have come since it started."""
        return int(self.get("/-/count")[1])

    def others(self) -> int:
        """How many connections there are beside the one that asks."""
        return int(json.loads(self.get("/open")[1])["open"])
