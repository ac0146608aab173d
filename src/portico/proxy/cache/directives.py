"""Cache-Control, and the fields like it that are addressed to this cache alone (RFC 9111, section 5.2; RFC 9213)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from portico.core.caches import remembered
from portico.core.messages import Fields
from portico.proxy.cache.structured import NotStructuredError, Value, parse_dictionary

MOST_SECONDS: Final = 1 << 31
"""What a greater number of seconds counts as (RFC 9111, section 1.2.2)."""


@dataclass(frozen=True, slots=True)
class Directives:
    """What a response, or a request, says of its caching; seconds are None where it does not say.

    A value that is none (`max-age=abc`) counts as 0: stale (RFC 9111, section 4.2.1).
    """

    is_targeted: bool = False
    """Whether it was addressed to this cache: then Cache-Control and Expires do not count (RFC 9213, section 2.2)."""
    max_age: int | None = None
    s_maxage: int | None = None
    no_store: bool = False
    no_cache: bool = False
    no_cache_fields: frozenset[bytes] = frozenset()
    """Lower-cased names of fields that may not be reused without validation."""
    private: bool = False
    private_fields: frozenset[bytes] = frozenset()
    """Lower-cased names of fields that no shared cache stores."""
    public: bool = False
    must_revalidate: bool = False
    proxy_revalidate: bool = False
    must_understand: bool = False
    immutable: bool = False
    stale_while_revalidate: int | None = None
    stale_if_error: int | None = None
    # of requests
    max_stale: int | None = None
    min_fresh: int | None = None
    only_if_cached: bool = False


NOTHING: Final = Directives()
"""Where nothing is said."""


def response_directives(fields: Fields, targets: Sequence[bytes] = ()) -> Directives:
    """What a response says to this cache, whose fields are `targets`, lower-cased, the most specific first.

    Pragma, which means nothing in responses (RFC 9111, section 5.4), is taken at its word where nothing else is said.
    """
    names = fields.names
    for target in targets:
        if target in names:
            said = _targeted(tuple(fields.all(target)))
            if said is not None:
                return said
    if b"cache-control" in names:
        return _directives(tuple(fields.all(b"cache-control")))
    return _by_pragma(fields) if b"pragma" in names and b"expires" not in names else NOTHING


def request_directives(fields: Fields) -> Directives:
    """What a request says to caches. Pragma counts where there is no Cache-Control (RFC 9111, section 5.4)."""
    names = fields.names
    if b"cache-control" in names:
        return _directives(tuple(fields.all(b"cache-control")))
    return _by_pragma(fields) if b"pragma" in names else NOTHING


def _by_pragma(fields: Fields) -> Directives:
    return _NO_CACHE if b"no-cache" in fields.tokens(b"pragma") else NOTHING


def _directives(lines: tuple[bytes, ...]) -> Directives:
    return _known_directives(lines) if sum(map(len, lines)) <= _REMEMBERED_SIZE else _parsed(lines)


def _parsed(lines: tuple[bytes, ...]) -> Directives:
    """Cache-Control as it is written (section 5.2), also where it breaks the rules: the most restrictive reading."""
    found: dict[bytes, list[bytes | None]] = {}
    for line in lines:
        for member in _MEMBER.findall(line):
            name, equals, value = member.strip().partition(b"=")
            found.setdefault(name.strip().lower(), []).append(_argument(name, value) if equals else None)
    return _of(found)


def _argument(name: bytes, value: bytes) -> bytes:
    """What is behind the equals sign, without quotes; a single one where white space makes it wrong."""
    if value.startswith(b'"') and value.endswith(b'"') and len(value) > 1:
        return _ESCAPED.sub(rb"\1", value[1:-1])
    return value if name == name.rstrip() and value == value.lstrip() else _WRONG


def _targeted(lines: tuple[bytes, ...]) -> Directives | None:
    """A field that is meant for this cache (RFC 9213, section 2.1); None where it is none, or empty, and is ignored.

    A value of a wrong type is not taken for what it might mean: a number is a number, all else is a word alone.
    """
    try:
        members = parse_dictionary(lines)
    except NotStructuredError:
        return None
    if not members:
        return None
    found: dict[bytes, list[bytes | None]] = {}
    for name, value in members.items():
        if value is not False:
            found[name] = [_as_argument(name, value)]
    return replace(_of(found), is_targeted=True)


def _as_argument(name: bytes, value: Value) -> bytes | None:
    if value is True:
        return None
    if isinstance(value, int) and name in _SECONDS and value >= 0:
        return b"%d" % value
    return value.encode() if isinstance(value, str) and name in _WITH_FIELDS else _WRONG


def _of(found: Mapping[bytes, list[bytes | None]]) -> Directives:
    said: dict[str, Any] = {name: True for word, name in _FLAGS.items() if word in found}
    said |= {name: True for word, name in _PERMISSIONS.items() if None in found.get(word, ())}
    said |= {name: _seconds(found[word]) for word, name in _SECONDS.items() if word in found}
    for word, (name, names) in _WITH_FIELDS.items():
        if word in found:
            listed = [_field_names(argument) for argument in found[word]]
            said[name] = not all(listed)
            said[names] = frozenset().union(*listed)
    if None in found.get(b"max-stale", ()):
        said["max_stale"] = MOST_SECONDS
    return Directives(**said)


def _seconds(arguments: list[bytes | None]) -> int:
    """A number of seconds (section 1.2.2): the least of several, 0 for what is none (section 4.2.1)."""
    return min(_number(argument) for argument in arguments)


def _number(argument: bytes | None) -> int:
    if argument is None or not argument.isdigit():
        return 0
    digits = argument.lstrip(b"0")
    return min(int(digits or b"0"), MOST_SECONDS) if len(digits) <= 10 else MOST_SECONDS


def _field_names(argument: bytes | None) -> frozenset[bytes]:
    """The fields that `private` or `no-cache` is about; none where it is about the whole response."""
    names = [name.strip().lower() for name in (argument or b"").split(b",")]
    return frozenset(names) if all(map(_TOKEN.fullmatch, names)) else frozenset()


_MEMBER: Final = re.compile(rb'(?:"(?:[^"\\]|\\.)*"|[^,])+')
"""One directive: commas in a quoted string do not end it; a quote that is never closed is a character like others."""
_ESCAPED: Final = re.compile(rb"\\(.)")
_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_WRONG: Final = b'"'
_REMEMBERED_SIZE: Final = 256
_FLAGS: Final = {
    b"no-store": "no_store",
    b"must-revalidate": "must_revalidate",
    b"proxy-revalidate": "proxy_revalidate",
    b"must-understand": "must_understand",
    b"only-if-cached": "only_if_cached",
}
"""Directives without an argument, which restrict: they hold with one, too."""
_PERMISSIONS: Final = {b"public": "public", b"immutable": "immutable"}
"""Directives without an argument, which allow: with one, they are something else."""
_SECONDS: Final = {
    b"max-age": "max_age",
    b"s-maxage": "s_maxage",
    b"stale-while-revalidate": "stale_while_revalidate",
    b"stale-if-error": "stale_if_error",
    b"max-stale": "max_stale",
    b"min-fresh": "min_fresh",
}
_WITH_FIELDS: Final = {b"private": ("private", "private_fields"), b"no-cache": ("no_cache", "no_cache_fields")}
_NO_CACHE: Final = Directives(no_cache=True)
_known_directives: Final = remembered(512)(_parsed)
