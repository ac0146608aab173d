"""What a client wants of several representations: proactive negotiation by `Accept` (RFC 9110, section 12.5.1)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_ELEMENT: Final = re.compile(rb'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')
_RANGE: Final = re.compile(rb"(\*(?=/\*)|[!#$%&'+\-.^_`|~0-9a-z]+)/(\*|[!#$%&'+\-.^_`|~0-9a-z]+)")
_WEIGHT: Final = re.compile(rb"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")


def preferred(accept: bytes, offered: Sequence[tuple[bytes, ...]]) -> int | None:
    """The index of the representation that `accept` wants most; None where it wants none of them.

    Each is offered by the media types that it may be asked for by, in lower case. Of those that are wanted alike, one
    that is named comes before one that only a wildcard covers, and that before what is offered later. An empty `accept`
    wants the first.
    """
    ranges = ranges_of(accept.lower())
    if not ranges:
        return 0
    ranked = [(*max(_quality(ranges, kind) for kind in kinds), -index) for index, kinds in enumerate(offered)]
    weight, _, index = max(ranked)
    return -index if weight > 0 else None


def _quality(ranges: Sequence[tuple[bytes, bytes, float]], kind: bytes) -> tuple[float, int]:
    """The weight of a media type, by the most specific range that covers it, and how specific that is."""
    main, _, sub = kind.partition(b"/")
    covering = [
        ((own_main != b"*") + (own_sub != b"*"), weight)
        for own_main, own_sub, weight in ranges
        if own_main in (main, b"*") and own_sub in (sub, b"*")
    ]
    if not covering:
        return 0.0, 0
    specific, weight = max(covering)
    return weight, specific


def ranges_of(accept: bytes) -> list[tuple[bytes, bytes, float]]:
    """Main type, subtype and weight of each range of an `accept` in lower case.

    What is none, and what only fits another variant, is left out.
    """
    found = []
    for element in _ELEMENT.findall(accept):
        kind, *parameters = (part.strip() for part in element.split(b";"))
        match = _RANGE.fullmatch(kind)
        pairs = [(name.strip(), value.strip()) for name, _, value in (each.partition(b"=") for each in parameters)]
        weights = [value for name, value in pairs if name == b"q"]
        is_plain = all(name in (b"q", b"charset", b"") for name, _ in pairs)
        if match and is_plain and all(map(_WEIGHT.fullmatch, weights)):
            found.append((match[1], match[2], float(weights[0]) if weights else 1.0))
    return found
