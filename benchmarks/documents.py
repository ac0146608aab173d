"""Large JSON documents, as services answer with: what compresses like text that people and machines wrote."""

from __future__ import annotations

import json
import random
from typing import Final

_NAMES: Final = (
    "amber",
    "basalt",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "garnet",
    "harbor",
    "indigo",
    "juniper",
    "kestrel",
)


def document(size: int) -> bytes:
    """A list of orders of exactly `size` bytes, the same every time: gzip makes about a fifth of it."""
    chance = random.Random(7)
    rows: list[str] = []
    left = size - 1
    while left > 0:
        rows.append(json.dumps(_order(chance, len(rows)), separators=(",", ":")))
        left -= len(rows[-1]) + 1
    whole = ("[" + ",".join(rows))[: size - 1].encode()
    return _closed(whole, size)


def _closed(text: bytes, size: int) -> bytes:
    """The list with the row that does not fit left out, and white space in its place."""
    text = text[: text.rfind(b"},{") + 1]
    return text + b" " * (size - len(text) - 1) + b"]"


def _order(chance: random.Random, number: int) -> dict[str, object]:
    return {
        "id": 100_000 + number,
        "reference": f"{chance.getrandbits(48):012x}",
        "customer": f"{chance.choice(_NAMES)} {chance.choice(_NAMES)}",
        "price": f"{chance.randrange(100, 99_999) / 100:.2f}",
        "currency": chance.choice(("EUR", "USD", "GBP")),
        "items": [{"sku": f"{chance.choice(_NAMES)}-{chance.randrange(900)}", "count": chance.randrange(1, 9)}],
        "paid": chance.random() < 0.7,
        "updated": f"2026-{chance.randrange(1, 13):02}-{chance.randrange(1, 29):02}T09:{chance.randrange(60):02}:00Z",
    }
