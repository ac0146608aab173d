"""API keys: how they look, and what is kept of one.

A key is `portico_ID_SECRET`, 55 characters: 8 letters and digits that name it and are no secret, 32 that are random
(190 bits, so that no key can be guessed from its plain hash), and the CRC-32 of all that in 6 more. By its form and its
checksum a program that scans code for leaked keys knows one from what merely looks like it.
"""

from __future__ import annotations

import re
import secrets
from hashlib import sha256
from typing import Final, NamedTuple
from zlib import crc32

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_START: Final = "portico_"
_ID: Final = 8
_RANDOM: Final = 32
_CHECKSUM: Final = 6
"""Digits of base 62 that hold any CRC-32."""

PATTERN: Final = rf"{_START}([0-9A-Za-z]{{{_ID}}})_[0-9A-Za-z]{{{_RANDOM + _CHECKSUM}}}"
"""The form of a key; its id is the group."""
_key: Final = re.compile(PATTERN).fullmatch
_named: Final = re.compile(rf"(?:{_START})?([0-9A-Za-z]{{{_ID}}})(?:_\w*)?", re.ASCII).fullmatch


class NewKey(NamedTuple):
    """A key that has just been made, and its id. Only its holder may keep the text."""

    id: str
    text: str


def new_key() -> NewKey:
    """A key that nobody else has."""
    name = _random(_ID)
    text = f"{_START}{name}_{_random(_RANDOM)}"
    return NewKey(name, text + _checksum(text))


def digest_of(key: bytes) -> bytes:
    """What is kept of a key: its SHA-256."""
    return sha256(key).digest()


def shown(identifier: str) -> str:
    """The beginning of a key, as lists show it."""
    return f"{_START}{identifier}"


def filed_name(digest: bytes) -> str:
    """What names a key of which only the hash is known, as a file of configuration has it."""
    return f"sha256:{digest.hex()[:8]}"


def named_by(text: str) -> str | None:
    """The id in what names a key: the id itself, the beginning of the key, or all of it. None: it is none of these."""
    found = _named(text)
    return found[1] if found else None


def is_mistyped(key: str) -> bool:
    """Whether this was meant to be a key of the form above and is none: it is cut, or its checksum is not right."""
    return key.startswith(_START) and (not _key(key) or _checksum(key[:-_CHECKSUM]) != key[-_CHECKSUM:])


def _random(length: int) -> str:
    return "".join(secrets.choice(_DIGITS) for _ in range(length))


def _checksum(text: str) -> str:
    number, digits = crc32(text.encode()), ""
    for _ in range(_CHECKSUM):
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits
