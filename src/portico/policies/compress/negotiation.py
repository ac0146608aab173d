"""Which content coding a client gets, by its `Accept-Encoding` (RFC 9110, section 12.5.3)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from portico.core.caches import remembered

_ELEMENT: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9a-z]+)[ \t]*(?:;[ \t]*q=([0-9.]+)[ \t]*)?")
_WEIGHT: Final = re.compile(rb"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
_SYNONYMS: Final = {b"x-gzip": b"gzip", b"x-compress": b"compress"}
_IDENTITY: Final = b"identity"


class Choice(NamedTuple):
    """What a client gets."""

    coding: bytes | None
    """None: no coding is applied."""
    refuses_identity: bool = False
    """Whether it does not want a response without any."""


NOTHING: Final = Choice(None)


_REMEMBERED_SIZE: Final = 128


def choose(accepted: bytes | None, offered: Sequence[bytes]) -> Choice:
    """The coding, of those offered, that an `Accept-Encoding` likes best; of equal ones the first offered.

    A client that names none gets none. One that weighs identity higher than all that are offered gets that.
    """
    if not accepted:
        return NOTHING
    return _remembered(accepted, offered) if len(accepted) <= _REMEMBERED_SIZE else _choose(accepted, offered)


def _choose(accepted: bytes, offered: Sequence[bytes]) -> Choice:
    weights = weights_of(accepted)
    others = weights.get(b"*", 0.0)
    own = weights.get(_IDENTITY)
    refuses = own == 0.0 if own is not None else b"*" in weights and others == 0.0
    ranked = [(weights.get(coding, others), -index) for index, coding in enumerate(offered)]
    best, index = max(ranked)
    if best == 0.0 or (own is not None and own > best):
        return Choice(None, refuses)
    return Choice(offered[-index], refuses)


_remembered: Final = remembered(512)(_choose)


def weights_of(accepted: bytes) -> Mapping[bytes, float]:
    """The weight of each coding that is named, and of `*`; what is none of the grammar is left out."""
    weights: dict[bytes, float] = {}
    for element in accepted.lower().split(b","):
        match = _ELEMENT.fullmatch(element.strip(b" \t"))
        if match is None or (match[2] is not None and not _WEIGHT.fullmatch(match[2])):
            continue
        name = _SYNONYMS.get(match[1], match[1])
        weights[name] = 1.0 if match[2] is None else float(match[2])
    return weights
