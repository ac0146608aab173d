"""HTTP messages as the gateway represents them: field lines in order, and the heads of requests and responses."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Sequence
from itertools import compress
from operator import not_
from re import Match
from typing import Any, Final, Self

from portico.core.fields import REWRITTEN

CHUNKED: Final = -1
"""Body framing: chunked transfer coding. A framing of 0 or more is the body's length in bytes."""
UNTIL_CLOSE: Final = -2
"""Body framing: the body ends with the connection; only responses may do that."""
TUNNEL: Final = -3
"""Body framing of a 101: both sides now speak another protocol, whose bytes pass unchanged."""

WITHOUT_LENGTH: Final = (101, 204)
"""Statuses of responses that may not have a Content-Length (RFC 9110, section 8.6)."""

IDEMPOTENT: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"QUERY", b"PUT", b"DELETE"})
"""Methods that may be sent again after a failure (RFC 9110, section 9.2.2; RFC 10008, section 2)."""


class Fields:
    """The field lines of a head, in order.

    `lines` holds them as received without CRLF (`b"Accept: */*"`), `names` their lower-cased names at the same indexes:
    two flat lists that C code fills, so that a request costs no Python call per field. Requests share lists of names.
    """

    # fmt: off
    __slots__ = (
        "_lines", "asked", "edited", "edited_by", "identified_by", "identity", "line_end", "match", "names", "passed",
        "passed_by", "shape", "trace", "version", "version_by",
    )
    # fmt: on

    passed: bytes
    """The lines that are passed on, joined, cached by whatever built them: fields that repeat are one object."""
    line_end: bytes
    """How a request line before them ends, and the Host field, cached with them."""
    identity: Any
    """The consumer's identity, cached in the same way."""
    version: str
    edited: Fields

    def __init__(
        self,
        names: list[bytes],
        lines: list[bytes] | None,
        shape: Shape | None = None,
        match: Match[bytes] | None = None,
    ) -> None:
        """Where a `match` found the fields, at the places that `shape` has of them, `lines` are cut when needed."""
        self.names = names
        self._lines = lines
        self.shape = shape
        self.match = match
        self.passed_by: object = None
        """The object that built what is passed on."""
        self.identified_by: object = None
        """The object that found their identity."""
        self.asked: Any = None
        """What they ask of a cache, cached in the same way."""
        self.trace: Any = None
        """What they say of a trace, cached in the same way, alone in a tuple."""
        self.version_by: object = None
        """What chose the `version` of a service that they ask for, cached in the same way."""
        self.edited_by: object = None
        """The edit that made `edited` of them, cached in the same way."""

    def unremembered(self) -> Fields:
        """The same fields, without what is cached with these."""
        return Fields(self.names, self._lines, self.shape, self.match)

    @property
    def lines(self) -> list[bytes]:
        """All of them."""
        lines = self._lines
        if lines is None:
            assert self.match is not None
            assert self.shape is not None
            lines = self._lines = list(map(self.match.group, self.shape.places))
        return lines

    def once(self, name: bytes) -> bytes | None:
        """The line of a lower-case `name` that comes once; None where there is none, or there are several."""
        match = self.match
        if match is not None:
            place = self.shape.place_of.get(name)  # type: ignore[union-attr]
            return match[place] if place else None
        names = self.names
        return self.lines[names.index(name)] if names.count(name) == 1 else None

    def has(self, name: bytes) -> bool:
        """Whether there is a field of a lower-case `name`."""
        return name in (self.names if self.match is None else self.shape.place_of)  # type: ignore[union-attr]

    def get(self, name: bytes) -> bytes | None:
        """The value of a lower-case `name`, without surrounding white space; None where there is none.

        Several lines are one value, joined in order (RFC 9110, section 5.3; cookies as in RFC 6265, section 5.4). A
        service may read it so, or one line alone: where much depends on a single value, more lines are to be refused.
        """
        line = self.once(name)
        if line is not None:
            return line[len(name) + 1 :].strip()
        if not self.has(name):
            return None
        return (b"; " if name == b"cookie" else b", ").join(self.all(name))

    def all(self, name: bytes) -> list[bytes]:
        """Every value of a lower-case `name`, in order."""
        line, start = self.once(name), len(name) + 1
        if line is not None:
            return [line[start:].strip()]
        if not self.has(name):
            return []
        return [line[start:].strip() for own, line in zip(self.names, self.lines, strict=True) if own == name]

    def tokens(self, name: bytes) -> list[bytes]:
        """The members of a comma-separated list field, lower-cased, empty ones left out (RFC 9110, section 5.6.1)."""
        members = b",".join(self.all(name)).lower().split(b",")
        return [token for member in members if (token := member.strip(b" \t"))]

    def unnoted(self, without: Collection[bytes] = ()) -> list[bytes]:
        """The lines of a request that neither the wire nor the handler acts on, less some names, as a new list."""
        assert self.shape is not None
        if without:
            names = compress(self.names, self.shape.unnoted)
            return [line for name, line in zip(names, self.unnoted(), strict=True) if name not in without]
        return list(compress(self.lines, self.shape.unnoted))

    def passing(self) -> bytes:
        """The same without exception, each line with its CRLF."""
        match, shape = self.match, self.shape
        assert shape is not None
        if match is None:
            return b"\r\n".join((*compress(self.lines, shape.unnoted), b""))
        return b"".join(shape.runs(match))

    def changed(self, drops: Callable[[bytes], bool], lines: Sequence[bytes]) -> Fields:
        """Those of a request without the lines whose lower-cased names `drops` takes, and with others, which pass."""
        assert self.shape is not None
        kept = [*map(not_, map(drops, self.names))]
        names = [*compress(self.names, kept), *(line.partition(b":")[0].lower() for line in lines)]
        changed = Fields(names, [*compress(self.lines, kept), *lines])
        changed.shape = self.shape.changed([*compress(self.shape.unnoted, kept), *(True for _ in lines)])
        return changed

    def without(self, names: Collection[bytes]) -> list[bytes]:
        """The lines whose names are not among `names`, as a new list."""
        return [line for name, line in zip(self.names, self.lines) if name not in names]  # noqa: B905 - equal by construction


class IfAbsent(bytes):
    """A field line for responses of services that send no field of that name themselves."""

    name: bytes
    """In lower case."""

    def __new__(cls, line: bytes) -> Self:
        made = super().__new__(cls, line)
        made.name = line.partition(b":")[0].lower()
        return made


def where_absent(lines: Iterable[bytes], names: Container[bytes]) -> list[bytes]:
    """The lines, less those that are `IfAbsent` and whose names are among `names`."""
    return [line for line in lines if type(line) is not IfAbsent or line.name not in names]


class Shape:
    """What the names of a request's fields decide, by index, for all requests with the same names.

    `unnoted` says which lines neither the wire nor the handler acts on: those that `passes` takes, or without it, those
    of names that are not `noted`.
    """

    __slots__ = ("place_of", "places", "reported", "runs", "unnoted")

    place_of: dict[bytes, int]
    """By its name, where a match has a line; 0 for those that come more than once. It is set, like the other two, for
    heads that are read by one."""
    places: tuple[int, ...]
    """Where it has each line."""
    runs: Callable[[Match[bytes]], tuple[bytes, ...]]
    """Finds in it the lines that are not acted on, in order, with the CRLF of each: those in a row are one piece."""

    def __init__(
        self, names: list[bytes], noted: frozenset[bytes], passes: Callable[[bytes], bool] | None = None
    ) -> None:
        self.unnoted = [name not in noted for name in names] if passes is None else list(map(passes, names))
        self.reported: list[bool] | None = None
        """Which of the other lines a trusted proxy may report, once the handler has worked it out."""

    def changed(self, unnoted: list[bool]) -> Shape:
        """The shape of fields that are not as the client sent them, of which these lines are passed on."""
        changed = Shape.__new__(Shape)
        changed.unnoted, changed.reported = unnoted, None
        return changed


class Known:
    """What a handler remembers of requests with one host and method; `by` is the object that does, None at first."""

    __slots__ = ("by", "matches")

    matches: Any

    def __init__(self) -> None:
        self.by: object = None


class RequestHead:
    """A request's head that passed every rule of RFC 9112.

    It is to be read while its exchange lasts: after that it may become the head of the next one on its connection.
    """

    # fmt: off
    __slots__ = (
        "expects_continue", "fields", "framing", "hop_by_hop", "host", "keep_alive", "known", "method", "method_name",
        "noted", "received", "tail", "target", "version",
    )
    # fmt: on

    tail: bytes
    """All of it after the target, as received: to check whether the next request's is the same."""
    method: bytes
    method_name: str
    """The same as text."""
    target: bytes
    """Origin-form (`/path?query`) or `*`; an absolute-form target was split into this and `host`."""
    version: int
    """10 or 11."""
    fields: Fields
    noted: frozenset[bytes]
    """Those of its field names that the wire or the handler acts on."""
    host: bytes
    framing: int
    """`CHUNKED`, or the body's length; 0 for none."""
    keep_alive: bool
    expects_continue: bool
    known: Known
    """What is remembered of those with this host and method."""
    hop_by_hop: frozenset[bytes]
    """Further field names that `Connection` declares as meant for this hop only."""
    received: RequestHead
    """The head as its client sent it, where this one is a copy; see `as_received`."""

    def with_fields(self, fields: Fields) -> RequestHead:
        """A copy with other fields, to be sent on. It has nothing that only the wire reads."""
        changed = RequestHead()
        changed.received = getattr(self, "received", self)
        changed.fields = fields
        changed.framing = self.framing
        changed.method = self.method
        changed.method_name = self.method_name
        changed.target = self.target
        changed.version = self.version
        changed.host = self.host
        changed.noted = self.noted
        changed.hop_by_hop = self.hop_by_hop
        return changed

    def changed(
        self, *, fields: Fields | None = None, method: bytes | None = None, framing: int | None = None
    ) -> RequestHead:
        """The same with another method or another length of its content, too."""
        changed = self.with_fields(self.fields if fields is None else fields)
        if method is not None:
            changed.method, changed.method_name = method, method.decode()
        if framing is not None:
            changed.framing = framing
        return changed


def as_received(request: RequestHead) -> RequestHead:
    """A request's head as its client sent it, whatever was changed of it since."""
    received: RequestHead = getattr(request, "received", request)
    return received


def offered_upgrades(request: RequestHead) -> tuple[bytes, ...]:
    """The protocols that a request offers to switch to, lower-cased, most wanted first (RFC 9110, section 7.8).

    None where it has content: what follows would be in doubt.
    """
    fields = request.fields
    if request.version == 10 or request.framing or b"upgrade" not in fields.tokens(b"connection"):
        return ()
    return tuple(fields.tokens(b"upgrade"))


class ResponseHead:
    """A response's head that passed every rule of RFC 9112; one that came twice in the same bytes is one object."""

    # fmt: off
    __slots__ = (
        "fields", "framing", "hop_by_hop", "keep_alive", "keep_alive_timeout", "line", "noted", "passed", "phrase",
        "raw", "status",
    )
    # fmt: on

    status: int
    phrase: bytes
    raw: bytes
    """All of it as received, with the empty line at its end."""
    line: bytes
    """The status line as Portico writes it."""
    passed: bytes
    """The same with the field lines that are passed on, cached by whatever built it; empty before that."""
    fields: Fields
    noted: frozenset[bytes]
    """As in a request's head."""
    framing: int
    """`CHUNKED`, `UNTIL_CLOSE`, `TUNNEL`, or the body's length; 0 for none."""
    keep_alive: bool
    keep_alive_timeout: float | None
    """Seconds that the sender says it keeps an idle connection (`Keep-Alive: timeout=5`)."""
    hop_by_hop: frozenset[bytes]


def passes_unchanged(head: ResponseHead) -> bool:
    """Whether the lines of a response pass on as they are, but for those in `RESPONSE_DROP`, whoever gets them."""
    is_free = not head.hop_by_hop and head.status not in WITHOUT_LENGTH and head.noted.isdisjoint(REWRITTEN)
    return is_free and b"date" in head.fields.names
