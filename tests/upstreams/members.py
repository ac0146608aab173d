"""What stands in for instances, exchanges and time where balancers and breakers are tested."""

from __future__ import annotations

from typing import Any

from policies.exchanges import exchange
from portico.upstreams.latency import Latency

NOBODY: Any = None
"""An exchange that is not looked at."""


class Clock:
    """Stands in for the module `time`."""

    def __init__(self) -> None:
        self.now = 5000.0

    def monotonic(self) -> float:
        return self.now


class Member:
    """An instance as a balancer sees it."""

    def __init__(self, name: str, in_flight: int = 0, latency: Latency | None = None) -> None:
        self.name = name
        self.in_flight = in_flight
        self.latency = latency

    def __repr__(self) -> str:
        return self.name


def members(count: int) -> list[Member]:
    return [Member(f"10.0.0.{number}:80") for number in range(count)]


class FakeDeadlines:
    """Remembers what was set; `pass_` lets one come."""

    def __init__(self) -> None:
        self.set_to: dict[int, float] = {}

    def set(self, item: Any, deadline: float) -> None:
        self.set_to[id(item)] = item.deadline = deadline

    def forget(self, item: Any) -> None:
        self.set_to.pop(id(item), None)


__all__ = ["NOBODY", "Clock", "FakeDeadlines", "Member", "exchange", "members"]
