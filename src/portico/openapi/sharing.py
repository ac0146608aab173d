"""Components of several documents under one roof: equal ones once, and those apart that only share a name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from portico.openapi.objects import COMPONENTS
from portico.openapi.references import Name, referred

Place: TypeAlias = tuple[int, Name]
"""A component of one of the documents, by its index."""

_encode: Final = msgspec.json.Encoder(order="sorted").encode


def new_names(
    components: Sequence[Mapping[Name, Any]], labels: Sequence[str], taken: Iterable[Name] = ()
) -> dict[Place, str]:
    """What each component is called. `components` are those of each document, and `labels` what sets it apart.

    Those of one name keep it where they are equal, with all that they refer to; else each of them has the label before
    it of the first document that has it so. No name is one that is `taken`.
    """
    kinds = _kinds(components)
    used = set(taken)
    by_name: dict[Name, dict[bytes, list[Place]]] = {}
    for place, kind in kinds.items():
        by_name.setdefault(place[1], {}).setdefault(kind, []).append(place)
    used |= {name for name, alike in by_name.items() if len(alike) == 1}
    names: dict[Place, str] = {}
    for (field, name), alike in by_name.items():
        is_free = len(alike) == 1 and (field, name) not in taken
        for places in alike.values():
            own = name if is_free else _free(used, field, f"{labels[places[0][0]]}_{name}")
            names |= dict.fromkeys(places, own)
    return names


def _free(used: set[Name], field: str, wanted: str) -> str:
    name, number = wanted, 1
    while (field, name) in used:
        number += 1
        name = f"{wanted}_{number}"
    used.add((field, name))
    return name


def _kinds(components: Sequence[Mapping[Name, Any]]) -> dict[Place, bytes]:
    """A digest for each component: two of one name have the same where they, and all they refer to, are equal.

    What refers to itself is compared as automata are: all of one name are taken for equal until something differs.
    """
    kinds: dict[Place, bytes] = {}
    referring: dict[Place, tuple[Place, ...]] = {}
    for index, own in enumerate(components):
        for name, value in own.items():
            kinds[index, name] = _digest(repr(name).encode(), _encode(value))
            found = dict.fromkeys(referred(COMPONENTS[name[0]], value))
            referring[index, name] = tuple((index, other) for other in found if other in own)
    count = len(set(kinds.values()))
    while True:
        kinds = {place: _digest(kinds[place], *(kinds[other] for other in referring[place])) for place in kinds}
        now = len(set(kinds.values()))
        if now == count:
            return kinds
        count = now


def _digest(*parts: bytes) -> bytes:
    return hashlib.blake2b(b"\0".join(parts), digest_size=16).digest()
