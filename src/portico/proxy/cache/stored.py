"""What is kept: one response with what was decided about it (`Stored`), and those of one key (`Resource`)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import Any, Final

from portico.core.errors import PHRASES, STATUS_LINES
from portico.core.fields import RESPONSE_DROP, RESPONSE_NOTED
from portico.core.messages import Fields, ResponseHead
from portico.proxy.cache.asked import Asked

PIECE: Final = 64 << 10
"""Bytes of each piece of a body but the last."""
MOST_VARIANTS: Final = 64
"""Variants of one key, at most: the oldest goes."""


class BodyLostError(Exception):
    """A piece of a body that was stored is not there any more."""


class Body:
    """The content of a stored response, in pieces of `PIECE` bytes; this one is in memory."""

    __slots__ = ("pieces", "size")

    def __init__(self, pieces: Sequence[bytes], size: int) -> None:
        self.pieces = pieces
        self.size = size

    @property
    def count(self) -> int:
        """How many pieces there are."""
        return -(-self.size // PIECE)

    async def piece(self, index: int) -> bytes:
        """One of its pieces. Raises BodyLostError."""
        return self.pieces[index]


NO_BODY: Final = Body((), 0)


def body_of(content: bytes) -> Body:
    """A body in memory, cut into its pieces."""
    size = len(content)
    if size <= PIECE:
        return Body((content,) if content else (), size)
    return Body([content[start : start + PIECE] for start in range(0, size, PIECE)], size)


_NONE: Final[frozenset[bytes]] = frozenset()
_LENGTH: Final = frozenset({b"content-length"})
_WITHOUT_LENGTH: Final = frozenset({204, 304})
"""Statuses without content, and without a length of it (RFC 9110, section 8.6)."""
_OVERHEAD: Final = 1500
"""Bytes of a stored response beside its head and its body: objects, and its place in a table."""
_COPIES: Final = 3
"""Of each field line: as it came, joined to others, and as it is sent with the age."""
_LINE: Final = 100
"""Bytes of a field line and its name beside their text, and of what else is kept of a request."""
_MOST_CODINGS: Final = 64
"""Content codings that requests accepted, remembered of one variant: anybody can make up names."""


@dataclass(slots=True, eq=False, kw_only=True)
class Stored:
    """One stored response. Once it has its body, nothing of it changes but `checked`, `hits` and `memo`: what a 304
    says makes a new one, too.

    `is_open` and `size` follow from the rest.
    """

    head: ResponseHead
    """Its status line and end-to-end fields; `framing` is the length of its body once that is known."""
    body: Body = NO_BODY
    since: float
    """The monotonic moment at which its age was 0 (RFC 9111, section 4.2.3): its age is now - since."""
    lifetime: float
    """Seconds for which it is fresh; 0: it is validated before every use."""
    stale_while_revalidate: float = 0.0
    """Seconds beyond its lifetime."""
    stale_if_error: float = 0.0
    is_immutable: bool = False
    """Whether a client's wish to have it validated does not count while it is fresh (RFC 8246)."""
    revalidates: bool = False
    """Whether it may never be served stale: must-revalidate and what means the same."""
    is_shared: bool = True
    """Whether anybody may have it, also with credentials, and though it answered a request with some (section 3.5)."""
    asker: bytes | None = None
    """Else: who alone may have it; None: whoever has no credentials."""
    vary: tuple[tuple[bytes, bytes], ...] = ()
    """The fields on which it varies, with the `Asked.value` of each in the request that it answered (section 4.1)."""
    codings: frozenset[bytes] | None = None
    """The content codings that requests accepted which it answers; None where it does not vary on Accept-Encoding."""
    coding: frozenset[bytes] = _NONE
    """The content codings it has."""
    language: bytes | None = None
    """Its one Content-Language, where it varies on Accept-Language."""
    is_open: bool = field(init=False)
    """Whether it varies on nothing: whoever may have it gets it."""
    date: float = 0.0
    """When it was made (wall clock): its Date, or when it was received."""
    etag: bytes | None = None
    last_modified: bytes | None = None
    tags: frozenset[bytes] = _NONE
    """What it may be purged by: `tag:NAME` and `group:NAME`."""
    born: float = 0.0
    """When the request that it answered was begun (wall clock): compared with purges."""
    size: int = field(init=False)
    """Bytes in memory, all in."""
    checked: int = 0
    """The number of the last purge that it was compared with; like `memo` it may change."""
    hits: int = 0
    """How often it was found since the store looked last: what is found often is kept."""
    memo: Any = None
    """Whatever the flow keeps with it, such as field lines of this second."""

    def __post_init__(self) -> None:
        self.is_open = not self.vary and self.codings is None
        self._measure()

    def _measure(self) -> None:
        lines = self.head.fields.lines
        asked = [*(self.codings or ()), *(name + value for name, value in self.vary)]
        head = _COPIES * sum(map(len, lines)) + sum(map(len, asked)) + _LINE * (len(lines) + len(asked))
        self.size = _OVERHEAD + head + self.body.size

    def matches(self, asked: Asked, asker: bytes | None) -> bool:
        """Whether it answers a request: the asker may have it, and what it varies on is the same (section 4.1)."""
        if not (self.is_shared or self.asker == asker):
            return False
        if self.is_open:
            return True
        if self.codings is not None and not accepts(asked.codings, self.coding, self.codings):
            return False
        return all(asked.value(name) == value or self._is_preferred(name, asked) for name, value in self.vary)

    def _is_preferred(self, name: bytes, asked: Asked) -> bool:
        """Whether it is in the very language that a request prefers, whatever else that accepts: the service has it."""
        return name == b"accept-language" and self.language is not None and self.language == asked.language

    def with_body(self, body: Body) -> Stored:
        """This one, complete with its body, and with the length of that."""
        head = self.head
        if head.framing != body.size or (b"content-length" not in head.fields.names and head.status != 204):
            self.head = derived_head(head, framing=body.size)
        self.body = body
        self._measure()
        return self

    def made_stale(self, now: float) -> Stored:
        """The same, but fresh no longer than until `now`: what a soft purge makes of it."""
        return replace(self, lifetime=max(0.0, min(self.lifetime, now - self.since)), memo=None)


def accepts(accepted: frozenset[bytes], coding: frozenset[bytes], answered: frozenset[bytes]) -> bool:
    """Whether a response in a `coding`, by which others were answered that accept `answered`, answers this request.

    The service prefers that coding to all others that it was offered: so it would choose it from any part of them.
    """
    is_any = b"*" in accepted
    if not all(each in accepted or (is_any and b"!" + each not in accepted) for each in coding):
        return False
    return accepted - coding <= answered


def joined(codings: frozenset[bytes], earlier: frozenset[bytes]) -> frozenset[bytes]:
    """What requests accepted that a response answers, and the one before it did; the latter as far as there is room."""
    both = codings | earlier
    return both if len(both) <= _MOST_CODINGS else codings


class Resource:
    """What is stored under one key: its variants, the newest first."""

    __slots__ = ("key", "service", "size", "url", "variants")

    def __init__(self, key: bytes, url: bytes, service: str, variants: Iterable[Stored] = ()) -> None:
        self.key = key
        self.url = url
        """Scheme, host, path and query, as the first request for it had them: compared with purges."""
        self.service = service
        self.variants: list[Stored] = list(variants)
        self.size = _OVERHEAD + len(key) + len(url) + sum(stored.size for stored in self.variants)
        """Bytes in memory, all in."""

    def find(self, asked: Asked, asker: bytes | None) -> Stored | None:
        """The variant that answers a request, fresh or not; of several the most recent (section 4.1)."""
        for stored in self.variants:
            if (stored.is_shared and stored.is_open) or stored.matches(asked, asker):
                stored.hits += 1
                return stored
        return None

    def put(self, stored: Stored) -> None:
        """Add a variant in place of those that would not be found any more beside it; the size follows."""
        kept = []
        for other in self.variants:
            if not _takes_place(stored, other):
                kept.append(other)
            elif stored.codings is not None and other.codings is not None:
                stored = replace(stored, codings=joined(stored.codings, other.codings), memo=None)
        kept.insert(0, stored)
        del kept[MOST_VARIANTS:]
        self.size += sum(each.size for each in kept) - sum(each.size for each in self.variants)
        self.variants = kept

    def replace(self, old: Stored, new: Stored | None) -> None:
        """Put `new` in the place of `old`, or nothing, if that is still there; the size follows."""
        for index, stored in enumerate(self.variants):
            if stored is old:
                self.variants[index : index + 1] = [] if new is None else [new]
                self.size += (0 if new is None else new.size) - old.size
                return


def _takes_place(new: Stored, old: Stored) -> bool:
    """Whether a new variant answers all requests that an old one does, or is what they get now: the same coding."""
    if not new.is_shared and (old.is_shared or old.asker != new.asker):
        return False
    if new.codings is not None and (old.codings is None or old.coding != new.coding):
        return False
    return set(new.vary) <= set(old.vary)


def derived_head(
    head: ResponseHead,
    *,
    status: int | None = None,
    without: Collection[bytes] = (),
    lines: Sequence[bytes] = (),
    framing: int | None = None,
) -> ResponseHead:
    """A head with another status, without fields of these lower-cased names, or with further lines.

    `framing` is the length of its body, of which the fields say the same. It keeps no field of one hop, which the one
    that was received may have.
    """
    line, phrase = head.line, head.phrase
    if status is None:
        status = head.status
    else:
        line, phrase = STATUS_LINES[status], PHRASES[status].encode()
    fields, drops = head.fields, RESPONSE_DROP.union(head.hop_by_hop, without)
    if framing is not None:
        drops |= _LENGTH
        if status not in _WITHOUT_LENGTH:
            lines = (*lines, b"Content-Length: %d" % framing)
    keeps = [name not in drops for name in fields.names]
    names, kept = list(compress(fields.names, keeps)), list(compress(fields.lines, keeps))
    for own in lines:
        names.append(own.partition(b":")[0].lower())
        kept.append(own)
    return plain_head(status, phrase, line, Fields(names, kept), head.framing if framing is None else framing)


def plain_head(status: int, phrase: bytes, line: bytes, fields: Fields, framing: int) -> ResponseHead:
    """The head of a response without fields of one hop."""
    head = ResponseHead()
    head.status, head.phrase, head.line = status, phrase, line
    head.fields, head.framing = fields, framing
    head.raw = head.passed = b""
    head.noted, head.hop_by_hop = RESPONSE_NOTED.intersection(fields.names), _NONE
    head.keep_alive, head.keep_alive_timeout = True, None
    return head
