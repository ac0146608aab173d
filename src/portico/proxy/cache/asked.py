"""What caching reads of one request's fields."""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import blake2b
from typing import Final

from portico.core.caches import remembered
from portico.core.fields import METHOD_OVERRIDES, plain_name
from portico.core.messages import Fields, RequestHead
from portico.proxy.cache.directives import NOTHING, Directives, request_directives
from portico.proxy.cache.structured import NotStructuredError, parse_dictionary

_READ: Final = frozenset(
    {
        *(b"accept-encoding", b"authorization", b"cache-control", b"cookie", b"incremental", b"pragma"),
        *(b"range", b"if-range", b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since"),
        *METHOD_OVERRIDES,
    }
)
_HARMLESS: Final = frozenset({b"accept-encoding", b"authorization", b"cookie"})
"""Those of them that a request may have and be plain."""
_SECRETS: Final = frozenset({b"authorization", b"cookie"})
"""Fields whose values are not kept with what is stored, but a digest."""
ABSENT: Final = b"\0"
"""The value of a field that is not there."""
ONLY_IDENTITY: Final = frozenset({b"identity"})
"""What a request accepts that has no Accept-Encoding: it may take any coding, but does not say so."""


class Asked:
    """What the fields of a request ask of a cache. It never changes, so fields that repeat need it once.

    Values are None where there is no such field.
    """

    # fmt: off
    __slots__ = (
        "authorization", "codings", "cookie", "directives", "fields", "hop_by_hop", "if_match", "if_modified_since",
        "if_none_match", "if_range", "if_unmodified_since", "is_incremental", "is_plain", "overrides_method", "range",
        "asker", "asker_for", "key_end", "key_for", "key_part", "key_start", "memo_by", "names_cookies",
        "_language", "_values",
    )
    # fmt: on

    fields: Fields
    hop_by_hop: frozenset[bytes]
    is_plain: bool
    """Whether it asks for nothing but the resource: no directive, condition or range is to be looked at."""
    directives: Directives
    authorization: bytes | None
    cookie: bytes | None
    codings: frozenset[bytes]
    """The content codings that it accepts, lower-cased, `identity` among them unless it is excluded; `*` for any, and
    then `!gzip` for one that is not."""
    range: bytes | None
    if_range: bytes | None
    if_match: bytes | None
    if_none_match: bytes | None
    if_modified_since: bytes | None
    if_unmodified_since: bytes | None
    is_incremental: bool
    """`Incremental: ?1` (RFC 10036): the response is neither held nor shared with others while it comes."""
    overrides_method: bool
    """Whether services may take it for one with another method (`X-HTTP-Method-Override`): it is passed on."""
    key_part: bytes
    """What it adds to keys, by the rules in `memo_by`: see `keys.py`."""
    names_cookies: bool
    """Whether that names every one of its cookies."""
    memo_by: object
    key_start: bytes
    """What the key of a GET begins with, for the cache in `key_for`: see `cache.py`."""
    key_end: bytes
    """What comes behind its target."""
    key_for: object
    asker: bytes
    """Who asks, where the rest is as in `asker_for`: see `variants.py`."""
    asker_for: object

    def __init__(self, fields: Fields, hop_by_hop: frozenset[bytes]) -> None:
        self.fields = fields
        self.hop_by_hop = hop_by_hop
        self.memo_by = self.key_for = self.asker_for = None
        self._values: dict[bytes, bytes] = {}
        self._language: bytes | None = b""
        present = _READ.intersection(fields.names)
        self.is_plain = present <= _HARMLESS
        has_codings = b"accept-encoding" in present and b"accept-encoding" not in hop_by_hop
        self.codings = _codings(fields.get(b"accept-encoding")) if has_codings else ONLY_IDENTITY
        self.authorization = fields.get(b"authorization") if b"authorization" in present else None
        self.cookie = fields.get(b"cookie") if b"cookie" in present else None
        self.overrides_method = not present.isdisjoint(METHOD_OVERRIDES)
        if self.is_plain:
            self.directives, self.is_incremental = NOTHING, False
            self.range = self.if_range = None
            self.if_match = self.if_none_match = self.if_modified_since = self.if_unmodified_since = None
            return
        self.directives = request_directives(fields)
        self.range = fields.get(b"range")
        self.if_range = fields.get(b"if-range")
        self.if_match = fields.get(b"if-match")
        self.if_none_match = fields.get(b"if-none-match")
        self.if_modified_since = fields.get(b"if-modified-since")
        self.if_unmodified_since = fields.get(b"if-unmodified-since")
        self.is_incremental = says_incremental(fields)

    @staticmethod
    def of(request: RequestHead) -> Asked:
        """What a request asks; remembered on its fields."""
        fields = request.fields
        asked = fields.asked
        if asked is None:
            # Not these fields themselves: only a collection of garbage would free what refers to each other.
            asked = fields.asked = Asked(fields.unremembered(), request.hop_by_hop)
        return asked  # type: ignore[no-any-return]

    @property
    def is_conditional(self) -> bool:
        """Whether it has a precondition (RFC 9110, section 13.1) or a range (section 14.2)."""
        return not self.is_plain and not _CONDITIONS.isdisjoint(self.fields.names)

    def value(self, name: bytes) -> bytes:
        """The normalised value of a field as a service sees it, by its lower-cased name: what Vary compares (RFC 9111,
        section 4.1). It is `ABSENT` also where `Connection` takes the field away. Other spellings of the name, which
        some servers take for the same, count too. Of credentials it is a digest.
        """
        value = self._values.get(name)
        if value is None:
            value = self._values[name] = self._value(name)
        return value

    @property
    def language(self) -> bytes | None:
        """The language that it prefers to all others, lower-cased; None where there is none."""
        if self._language == b"":
            ranked = list(_ranked(self.fields.get(b"accept-language") or b""))
            is_clear = ranked and (len(ranked) == 1 or ranked[0][1] > ranked[1][1])
            self._language = ranked[0][0] if is_clear and ranked[0][1] > 0 and ranked[0][0] != b"*" else None
        return self._language

    def _value(self, name: bytes) -> bytes:
        fields, plain = self.fields, plain_name(name)
        if name in self.hop_by_hop:
            return ABSENT
        spellings = {own for own in fields.names if plain_name(own) == plain}
        if len(spellings) > 1 or (spellings and name not in spellings):
            lines = zip(fields.names, fields.lines, strict=True)
            return b"\n".join(sorted(line for own, line in lines if own in spellings))
        value = fields.get(name)
        return ABSENT if value is None else _normal(name, value)


def _normal(name: bytes, value: bytes) -> bytes:
    if name in _SECRETS:
        return blake2b(value, digest_size=16).digest()
    if name == b"accept-language":
        return b",".join(tag + _quality(weight) for tag, weight in _ranked(value))
    return _COMMA.sub(b",", value) if name in _LISTS and b'"' not in value else value


def says_incremental(fields: Fields) -> bool:
    """Whether a message is to be passed on as it comes (RFC 10036, section 3): `Incremental: ?1`."""
    if b"incremental" not in fields.names:
        return False
    try:
        return parse_dictionary([b"on=" + b",".join(fields.all(b"incremental"))]).get(b"on") is True
    except NotStructuredError:
        return False


_CONDITIONS: Final = frozenset(
    {b"range", b"if-range", b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since"}
)
_LISTS: Final = frozenset({b"accept", b"accept-charset"})
"""Fields in whose lists white space beside commas means nothing."""
_COMMA: Final = re.compile(rb"[ \t]*,[ \t]*")
_WEIGHT: Final = re.compile(rb"\s*;\s*q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*", re.IGNORECASE)
_ALIASES: Final = {b"x-gzip": b"gzip", b"x-compress": b"compress"}
"""Names that mean the same (RFC 9110, section 8.4.1)."""


def _weighted(value: bytes) -> Iterator[tuple[bytes, float]]:
    """The members of a list with their weights (RFC 9110, section 12.4.2); one whose weight is none counts as 1."""
    for member in value.lower().split(b","):
        name, semicolon, _ = member.partition(b";")
        match = _WEIGHT.fullmatch(member[len(name) :]) if semicolon else None
        if name.strip():
            yield name.strip(), float(match[1]) if match else 1.0


def _ranked(value: bytes) -> list[tuple[bytes, float]]:
    """The members of a list by their weights; those of the same weight in their order, which some servers heed."""
    return sorted(_weighted(value), key=lambda member: -member[1])


def _quality(weight: float) -> bytes:
    return b"" if weight == 1 else b";q=%g" % weight


@remembered(512)
def _codings_known(value: bytes) -> frozenset[bytes]:
    weights = {_ALIASES.get(name, name): weight for name, weight in _weighted(value)}
    accepted = {name for name, weight in weights.items() if weight > 0}
    if weights.get(b"identity", weights.get(b"*", 1.0)) > 0:
        accepted.add(b"identity")
    if b"*" in accepted:
        accepted |= {b"!" + name for name, weight in weights.items() if weight == 0}
    return frozenset(accepted)


def _codings(value: bytes | None) -> frozenset[bytes]:
    """The content codings that Accept-Encoding accepts (RFC 9110, section 12.5.3)."""
    text = value or b""
    return _codings_known(text) if len(text) <= 200 else _codings_known.__wrapped__(text)
