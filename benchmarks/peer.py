"""What a gateway is to the benchmark: how it is found, how it is configured, what it must do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from support.site import Site

POLICIES = "policies"
PLAIN = "plain"
BULK = "bulk"  # as plain, tuned for large bodies
ROUTES = "routes"  # as plain, with as many routes as the site says
PATTERNS = "patterns"  # the same by regular expressions, each with a capture that the service gets
TLS = "tls"  # as plain, over TLS
SHARED = "shared limit"  # as policies, with the limit in Redis
WEBSOCKET = "websocket"  # as plain, and switching to WebSocket
CACHE = "cache"  # as plain, with a cache
COMPRESS = "compress"  # as plain, and compressing
TOKENS = "tokens"  # as plain, and verifying tokens
PARTS = "parts"  # as plain, with one part more that the peer's name says, or none
TRACED = "traced"  # as policies, with spans
WATCHED = "watched"  # as policies, with an admin API at a port that the file names
CACHED_POLICIES = "cached policies"  # as policies, with a cache behind them
WITH_POLICIES = (POLICIES, SHARED, TRACED, WATCHED, CACHED_POLICIES)


class Duty(Enum):
    """What is put to the test before a peer is measured; that it passes on unaltered is asked of all."""

    REUSE = auto()  # keeps its connections to the service
    DESCRIBE = auto()  # sends the service the request's id and the client's address
    VERIFY = auto()  # refuses a token with a wrong signature
    NAME = auto()  # sends the service the consumer of the token
    SHOW = auto()  # sends the client what is left of its limit
    COMPRESS = auto()  # sends a large document compressed to whom it may
    MARK = auto()  # sends the service a field of its own
    CACHE = auto()  # answers from its cache what the service lets it


DUTIES_OF_POLICIES = frozenset({Duty.REUSE, Duty.DESCRIBE, Duty.VERIFY, Duty.NAME, Duty.SHOW})
DUTIES_OF_TOKENS = frozenset({Duty.REUSE, Duty.VERIFY, Duty.NAME})


@dataclass(frozen=True)
class Peer:
    """One gateway in one stack.

    A scenario names a stack and is played with the peers that have it. `find` gives the version, or None where the
    peer is not installed; `install` says how to get it. `configure` writes the files and gives the command, which must
    stay in the foreground. `ready` is a path that answers 200 once the peer serves. That it does its `duties` and
    writes JSON lines to the file `access_log` is put to the test before measuring. A `slow` one is measured in one
    round by one connection: of many, most requests would be under way when the time is up, paid for and not counted.
    """

    name: str
    stack: str
    find: Callable[[], str | None]
    install: str
    configure: Callable[[Site], list[str]]
    ready: str = "/api/bench/ready"
    duties: frozenset[Duty] = frozenset({Duty.REUSE})
    access_log: str = ""
    slow: bool = False

    @property
    def label(self) -> str:
        """`nginx` with policies, `nginx plain` without."""
        return (
            self.name
            if self.stack in (POLICIES, SHARED, TRACED, WATCHED, CACHED_POLICIES, PARTS)
            else f"{self.name} {self.stack}"
        )
