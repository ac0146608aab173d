"""Two Redis servers behind an address that stays, of which one takes over from the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from support.commands import python
from support.process import Job
from support.redis_process import SlowWay
from support.redis_servers import RedisServer, master_and_replica


@dataclass
class RedisPair:
    """`way` is the address; open connections stay with the server that they were made to."""

    master: RedisServer
    replica: RedisServer
    way: SlowWay

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.way.port}"

    def fail_over(self) -> None:
        """The replica becomes the master, and has lost everything; new connections are to it."""
        self.replica.ask("REPLICAOF", "NO", "ONE")
        self.replica.ask("FLUSHALL")
        self.master.ask("REPLICAOF", "127.0.0.1", self.replica.port)
        self.way.to = self.replica.port

    def registered(self) -> int:
        """How many instances are registered at the server that took over."""
        return len(self.replica.ask("KEYS", "service:chaos:*"))


@contextmanager
def redis_pair(instances: Sequence[int]) -> Iterator[RedisPair]:
    """The pair, with a process that keeps these instances registered."""
    with master_and_replica() as (master, replica), SlowWay(master.port) as way:
        pair = RedisPair(master, replica, way)
        with Job(*python("chaos.registering", pair.url, *instances)):
            yield pair
