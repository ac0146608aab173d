"""What is JSON (RFC 8259), and where in it a value ends.

A text is checked once, by msgspec's decoder, which builds nothing of it. What finds the parts of a text relies on that:
it reads valid JSON only, and need not tell the brackets of objects from those of arrays. It reads the *shape* of a
text: the same in length, with nothing in its strings that looks like the end of one or like a bracket.

No group that may fail half-way is repeated possessively: before 3.11.5, which Debian 12 does not have, Python's `re`
goes on from where such a group failed, instead of where it began (gh-106052). Atomic groups in a greedy repetition keep
as little memory, and no pattern has a second way to match: all of them take linear time.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from itertools import accumulate
from typing import Final

import msgspec

from portico.core.json_text.errors import JsonEditError

LEVELS: Final = 500
"""How deep values may be nested. msgspec takes at least these within Python's own limit of recursion."""
SPACE: Final = b" \t\n\r"
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

_WS: Final = rb"[ \t\n\r]*+"
_BETWEEN: Final = rb"[^\[\]{}]*+"
_LEVELS_AT_ONCE: Final = 10
_MANY: Final = rb"{0,200000}"
"""How often something is repeated that takes memory each time, some 60 bytes."""
_STRINGS_AT_ONCE: Final = 200_000


def _value() -> bytes:
    """A value of a shape in which not too many others are nested; one that is nested deeper does not match."""
    container = rb"[\[{]" + _BETWEEN + rb"[\]}]"
    for _ in range(_LEVELS_AT_ONCE):
        container = rb"[\[{]" + _BETWEEN + rb"(?:(?>" + container + _BETWEEN + rb"))" + _MANY + rb"[\]}]"
    return rb'(?:"[^"]*+"|[-+.0-9A-Za-z]++|' + container + rb")"


_VALUE: Final = _value()

match_space: Final = re.compile(_WS).match
match_name: Final = re.compile(rb"(" + _WS + rb"[{,]" + _WS + rb')("[^"]*+")(' + _WS + rb":" + _WS + rb")").match
"""A member up to its value: the bracket or comma, its name, and the colon, with the white space around them."""
match_comma: Final = re.compile(_WS + rb"[\[,]" + _WS).match
"""The bracket or comma before an element, with the white space around it."""
match_element: Final = re.compile(_WS + rb"[\[,]" + _WS + _VALUE).match
"""The same with the element, unless that is nested very deep."""

_match_value: Final = re.compile(_VALUE).match
_brackets: Final = re.compile(rb"([\[{]++)|[\]}]++").finditer
_SURROGATE: Final = re.compile(rb"(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.")
_ALL_BUT_MARKS: Final = bytes(set(range(256)) - set(b'[]{}"'))
_WITHOUT_BRACKETS: Final = bytes.maketrans(b"[]{}", b"....")
_SHORT_ESCAPES: Final = dict(zip('"\\/\b\f\n\r\t', b"../bfnrt", strict=True))
"""What is behind the backslash in a shape."""
_DOWN: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}

_skip: Final = msgspec.json.Decoder(msgspec.Raw).decode


@lru_cache(1000)
def members_but(names: frozenset[bytes]) -> re.Pattern[bytes]:
    """Matches, in a shape, the members of an object up to one that may have one of these names.

    One whose value is nested very deep may end it as well. It takes a millisecond to compile, and rules for the same
    names come again and again.
    """
    named = rb"|".join(_spellings(name) for name in sorted(names))
    name = rb'"(?!(?:' + named + rb')")[^"]*+"'
    return re.compile(rb"(?:(?>" + _WS + rb"[{,]" + _WS + name + _WS + rb":" + _WS + _VALUE + rb"))" + _MANY)


def _spellings(name: bytes) -> bytes:
    """Matches a name in a shape however it is written, with escapes or without."""
    return b"".join(map(_spellings_of, name.decode("utf-8", "surrogatepass")))


def _spellings_of(character: str) -> bytes:
    plain = re.escape(character.encode("utf-8", "surrogatepass").translate(_WITHOUT_BRACKETS))
    units = character.encode("utf-16-be", "surrogatepass")
    escaped = b"".join(rb"\\u(?i:%02x%02x)" % (units[at], units[at + 1]) for at in range(0, len(units), 2))
    short = rb"|\\[%c]" % _SHORT_ESCAPES[character] if character in _SHORT_ESCAPES else b""
    return rb"(?:" + plain + rb"|" + escaped + short + rb")"


def check_json(text: bytes, levels: int = LEVELS) -> None:
    """Raise JsonEditError for what is no JSON in UTF-8 (RFC 8259), or nested deeper than `levels`."""
    check_syntax(text)
    if may_be_deep(text, levels):
        check_depth(shape_of(text), levels)


def check_syntax(text: bytes) -> None:
    """Raise JsonEditError for what is no JSON in UTF-8 (RFC 8259)."""
    try:
        if not text.isascii():
            text.decode()
        _skip(text)
    except UnicodeDecodeError:
        raise JsonEditError("it is not in UTF-8") from None
    except RecursionError:
        raise _too_deep(LEVELS) from None
    except msgspec.DecodeError:
        _check_without_surrogates(text)


def _check_without_surrogates(text: bytes) -> None:
    r"""`"\ud800"` is JSON, although no text (RFC 8259, section 8.2): JavaScript writes it; msgspec refuses it."""
    try:
        _skip(_SURROGATE.sub(lambda escape: rb"\u0000" if escape[1] else escape[0], text))
    except RecursionError:
        raise _too_deep(LEVELS) from None
    except msgspec.DecodeError:
        raise JsonEditError("it is no JSON") from None


def may_be_deep(text: bytes, levels: int = LEVELS) -> bool:
    """Whether a text has as many brackets as it needs to be nested deeper."""
    return text.count(b"[") + text.count(b"{") > levels


def check_depth(shape: bytes, levels: int = LEVELS) -> None:
    """Raise JsonEditError for a valid text, by its shape, that is nested deeper than `levels`."""
    brackets = left = shape.translate(None, _ALL_BUT_MARKS + b'"')
    for _ in range(levels // 2):
        shorter = left.replace(b"[]", b"").replace(b"{}", b"")  # one level or two
        if not shorter:
            return
        if len(left) - len(shorter) < len(brackets) // 100:
            break
        left = shorter
    if max(accumulate(map(_DOWN.__getitem__, brackets)), default=0) > levels:
        raise _too_deep(levels)


def _too_deep(levels: int) -> JsonEditError:
    return JsonEditError(f"it is nested more than {levels} levels deep")


def shape_of(text: bytes) -> bytes:
    """What the patterns here read in place of a valid text: its strings have no quotes and no brackets in them.

    What has a backslash in the text has one in the shape.
    """
    shape = text.replace(rb"\\", rb"\.").replace(rb"\"", rb"\.") if b"\\" in text else text
    if b'"' in shape.translate(None, _ALL_BUT_MARKS).replace(b'""', b""):  # a bracket stands between two quotes
        shape = _without_brackets(shape)
    return shape


def _without_brackets(shape: bytes) -> bytes:
    """The same without the brackets that are in strings, of which so many are looked at once as memory allows."""
    done: list[bytes] = []
    rest = shape
    while rest:
        *parts, rest = rest.split(b'"', 2 * _STRINGS_AT_ONCE)
        if not parts:
            return b"".join((*done, rest))
        parts[1::2] = b'"'.join(parts[1::2]).translate(_WITHOUT_BRACKETS).split(b'"')
        done += (b'"'.join(parts), b'"')
    return b"".join(done)


def value_end(shape: bytes, at: int) -> int:
    """The index behind the value that begins at `at`."""
    if value := _match_value(shape, at):
        return value.end()
    depth = 0
    for bracket in _brackets(shape, at):
        count = bracket.end() - bracket.start()
        if bracket.lastindex:
            depth += count
        elif count < depth:
            depth -= count
        else:
            return bracket.start() + depth
    raise AssertionError("the text was checked")


def name_of(key: bytes) -> bytes:
    """What a string of JSON says, in UTF-8, in which a surrogate without its other half is like any character."""
    if b"\\" not in key:
        return key[1:-1]
    name: str = json.loads(key.decode())
    return name.encode("utf-8", "surrogatepass")
