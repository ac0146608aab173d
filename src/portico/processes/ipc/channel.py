"""Messages between the control process and the workers: frames of MessagePack on a unix socket."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final, TypeAlias

import msgspec

from portico.core.found import Found
from portico.core.overrides import Override
from portico.observe.event_feed import Event
from portico.observe.record_filter import RecordFilter
from portico.policies.auth.key_table import ApiKey
from portico.policies.auth.revoked import Revocation
from portico.proxy.cache.purges import Purge

_FRAME_LIMIT: Final = 1 << 30


class Hello(msgspec.Struct, tag=True):
    """A worker introduces itself; `worker` is unique among all that ever ran under this supervisor."""

    worker: str


class Report(msgspec.Struct, tag=True):
    """A worker's totals so far, as `Metrics.dump` gives them; `answers` numbers the `Collect` that asked, or is 0.

    `breakers` among them may be None: as in the last report.
    """

    metrics: bytes
    answers: int = 0


class Collect(msgspec.Struct, tag=True):
    """The control process wants a `Report` now."""

    number: int


class NewSnapshot(msgspec.Struct, tag=True):
    """A configuration to use, dumped, with the health of instances that have had another one.

    With the first one a worker is sent all instances that are registered, by service; `Discovered` brings what changes.
    `weights` are those of its canaries.
    """

    generation: int
    config: bytes
    health: list[tuple[str, str, bool]]
    found: dict[str, list[Found]] | None = None
    weights: dict[str, dict[str, float]] = {}


class Prepare(msgspec.Struct, tag=True):
    """A configuration that may be used next: have its users' policies loaded and opened."""

    config: bytes


class Prepared(msgspec.Struct, tag=True):
    """A worker is ready to use that configuration, or reports in `problem` why it cannot."""

    problem: str = ""


class Abandon(msgspec.Struct, tag=True):
    """The configuration that was prepared will not be used."""


class Adopted(msgspec.Struct, tag=True):
    """A worker uses this configuration from now on, or reports in `problem` why it does not."""

    generation: int
    problem: str = ""


class HealthChange(msgspec.Struct, tag=True):
    """Instances that came up or went down: upstream, URL, healthy."""

    states: list[tuple[str, str, bool]]


class Ejected(msgspec.Struct, tag=True):
    """A worker's breaker of an instance opened: notify it of the next active check that begins now and passes.

    With `after_failure` a check has to fail before that: checks that always pass do not see what is wrong.
    """

    upstream: str
    url: str
    after_failure: bool


class CheckPassed(msgspec.Struct, tag=True):
    """The active check that this worker asked for with `Ejected` has passed."""

    upstream: str
    url: str


class Discovered(msgspec.Struct, tag=True):
    """What is registered of a service now at these URLs; where that is nothing, the instance has gone."""

    service: str
    changed: dict[str, list[Found]]


class Weights(msgspec.Struct, tag=True):
    """How the requests of each route with a canary are shared out now: per cent by service, by the route's name."""

    weights: dict[str, dict[str, float]]


class NewOverrides(msgspec.Struct, tag=True):
    """All that somebody has said about instances. With a `number`, `Learnt` confirms it."""

    overrides: list[Override]
    number: int = 0


class NewPurges(msgspec.Struct, tag=True):
    """Purges to apply from now on; from a worker, that has applied them: for all others.

    With a `number`, `Purged` answers once that is done.
    """

    purges: list[Purge]
    number: int = 0


class Purged(msgspec.Struct, tag=True):
    """The purges of that number apply and `entries` went: in a worker, or in all but `late` ones, as control says."""

    number: int
    entries: int = 0
    late: int = 0


class Inspect(msgspec.Struct, tag=True):
    """What has the worker stored for a URL, in the spelling of purges, and for a request with these field lines?"""

    number: int
    url: str
    method: str
    lines: list[str]


class Inspected(msgspec.Struct, tag=True):
    """What was asked for, as JSON: what is stored, or in `problem` why there is no such request; or all limits."""

    number: int
    report: bytes


class ShowLimits(msgspec.Struct, tag=True):
    """What is left of each limit? `Inspected` answers: of the keys of which least is left, or of one key.

    For limits in Redis it says the numbers of these `consumers`, too, where they have their own.
    """

    number: int
    most: int
    key: str | None = None
    consumers: list[str] = []


class ResetLimit(msgspec.Struct, tag=True):
    """Make a key of a limit whole again; `Learnt` confirms it."""

    number: int
    limit: str
    key: str


class Explain(msgspec.Struct, tag=True):
    """What would become of this request? The fields are those of `Question`; at most so many other routes are named."""

    number: int
    method: str
    url: str
    headers: list[tuple[str, str]] = []
    body: bytes = b""
    client_ip: str = "127.0.0.1"
    listener: str | None = None
    most: int = 10


class Explained(msgspec.Struct, tag=True):
    """An `Explanation` as JSON, or in `problem` why there can be no such request, or, with `is_busy`, none now."""

    number: int
    explanation: bytes
    problem: str = ""
    is_busy: bool = False


class SharedSwept(msgspec.Struct, tag=True):
    """Nothing is left in the store that gateways share that purges before that time, by the clock, would take."""

    before: float


class NewKeys(msgspec.Struct, tag=True):
    """What an issuer of tokens publishes at that address; with an empty document it could not be fetched.

    `as_of` is when it was asked, by the monotonic clock, which is the same in all processes: who wanted keys since then
    has no answer yet.
    """

    address: str
    issuer: str
    document: bytes
    as_of: float


class KeysWanted(msgspec.Struct, tag=True):
    """A token names a key that is none of those that a worker knows: fetch them anew, and answer with `NewKeys`."""

    address: str
    issuer: str


class NewDocument(msgspec.Struct, tag=True):
    """The OpenAPI document of a service, or of a version of it, as JSON: policies of its routes read it."""

    service: str
    version: str | None
    document: bytes


class NewApiKeys(msgspec.Struct, tag=True):
    """API keys that hold, or hold no more: all there are, or those that have changed.

    With a `number`, `Learnt` confirms it.
    """

    keys: list[ApiKey]
    are_all: bool = False
    number: int = 0


class NewRevocations(msgspec.Struct, tag=True):
    """Tokens of the gateway's own that hold no more, beside those that did not before.

    With a `number`, `Learnt` confirms it.
    """

    revocations: list[Revocation]
    number: int = 0


class Learnt(msgspec.Struct, tag=True):
    """A worker goes by the keys, revocations, challenges, overrides or wishes of that number, or has reset a limit."""

    number: int


class KeysUsed(msgspec.Struct, tag=True):
    """When API keys were last used, in seconds since the epoch, by their ids: since a worker said so last."""

    used: dict[str, int]


class NewChallenges(msgspec.Struct, tag=True):
    """All that authorities have to get when they ask whether a name is ours, by token (RFC 8555, section 8.3).

    With a `number`, `Learnt` confirms it.
    """

    answers: dict[str, str]
    number: int = 0


class Watch(msgspec.Struct, tag=True):
    """What somebody watches from now on: records that pass `filters`, by their numbers, and `counts` of all.

    By default nothing. With a `number`, `Learnt` confirms it.
    """

    filters: dict[int, RecordFilter] = {}
    counts: bool = False
    number: int = 0

    def __bool__(self) -> bool:
        return bool(self.filters) or self.counts


class Watched(msgspec.Struct, tag=True):
    """What a worker has had lately of what is watched.

    `tails` are records as lines of JSON, and how many were left out, by the number of the filter. `counts` are those
    of exchanges by route, consumer, path and client address, of the last second.
    """

    tails: dict[int, tuple[list[bytes], int]] = {}
    counts: dict[str, dict[str, int]] | None = None


class Happened(msgspec.Struct, tag=True):
    """A worker has logged an event; before it there were some that are `left_out`."""

    event: Event
    left_out: int = 0


Message: TypeAlias = (
    Hello
    | Report
    | Collect
    | Prepare
    | Prepared
    | Abandon
    | NewSnapshot
    | Adopted
    | HealthChange
    | Ejected
    | CheckPassed
    | Discovered
    | Weights
    | NewOverrides
    | NewPurges
    | Purged
    | SharedSwept
    | Inspect
    | ShowLimits
    | ResetLimit
    | Inspected
    | Explain
    | Explained
    | NewKeys
    | KeysWanted
    | NewDocument
    | NewApiKeys
    | NewRevocations
    | Learnt
    | KeysUsed
    | NewChallenges
    | Watch
    | Watched
    | Happened
)

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Message).decode


def send(writer: asyncio.StreamWriter, message: Message) -> None:
    """Queue a message; that a peer is gone is noticed by the reader."""
    frame = _encode(message)
    with contextlib.suppress(RuntimeError):  # what uvloop raises once it has closed the socket
        writer.write(len(frame).to_bytes(4, "big") + frame)


async def receive(reader: asyncio.StreamReader) -> Message | None:
    """The next message; None when the peer has gone. Raises ValueError for what is not a message."""
    try:
        size = int.from_bytes(await reader.readexactly(4), "big")
        if size > _FRAME_LIMIT:
            raise ValueError("a frame of the channel is too large")
        message: Message = _decode(await reader.readexactly(size))
        return message
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    except msgspec.DecodeError as error:
        raise ValueError(f"not a message of the channel: {error}") from error
