"""DNS messages (RFC 1035, section 4): one question, and the records of an answer."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final, Literal, TypeAlias

RecordType: TypeAlias = Literal["A", "AAAA", "SRV"]

_NUMBERS: Final[dict[RecordType, int]] = {"A": 1, "AAAA": 28, "SRV": 33}
_IN: Final = 1
_HEADER: Final = struct.Struct(">HHHHHH")
_RECORD: Final = struct.Struct(">HHIH")
_SRV: Final = struct.Struct(">HHH")
_QUESTION: Final = struct.Struct(">HH")
_RECURSION_DESIRED, _RESPONSE, _TRUNCATED, _CODE = 0x0100, 0x8000, 0x0200, 0x000F
_POINTER: Final = 0xC0
_LONGEST_LABEL: Final = 63
_MOST_POINTERS: Final = 32
_NO_ERROR, _NO_SUCH_NAME = 0, 3
_CODES: Final = {1: "FORMERR", 2: "SERVFAIL", 4: "NOTIMP", 5: "REFUSED"}


class MessageError(Exception):
    """What came is no answer to the question, or one that says that the server failed."""


@dataclass(frozen=True, slots=True)
class Record:
    """An address, or the target of a SRV record (RFC 2782) with its port; `ttl` in seconds."""

    host: str
    ttl: int
    port: int = 0
    priority: int = 0
    weight: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """The records; none where there is no such name, or no record of the type. One that is truncated is none."""

    records: tuple[Record, ...]
    is_truncated: bool = False


def question(number: int, name: str, kind: RecordType) -> bytes:
    """A question for a resolver, with this number. Raises ValueError for what is no name."""
    return _HEADER.pack(number, _RECURSION_DESIRED, 1, 0, 0, 0) + _encoded(name) + _QUESTION.pack(_NUMBERS[kind], _IN)


def answer_to(asked: bytes, message: bytes, kind: RecordType) -> Answer:
    """The answer to a question. Raises MessageError."""
    try:
        return _answer_to(asked, message, kind)
    except (struct.error, IndexError, ValueError):
        raise MessageError("the answer is cut short or malformed") from None


def _answer_to(asked: bytes, message: bytes, kind: RecordType) -> Answer:
    number, flags, questions, answers, *_ = _HEADER.unpack_from(message)
    echoed = message[_HEADER.size : len(asked)].lower()
    if number != _HEADER.unpack_from(asked)[0] or not flags & _RESPONSE or echoed != asked[_HEADER.size :].lower():
        raise MessageError("the answer is one to another question")
    if questions != 1 or (code := flags & _CODE) not in (_NO_ERROR, _NO_SUCH_NAME):
        raise MessageError(f"the server says {_CODES.get(flags & _CODE, flags & _CODE)}")
    if flags & _TRUNCATED:
        return Answer((), is_truncated=True)
    records, at = [], len(asked)
    for _ in range(answers if code == _NO_ERROR else 0):
        _, at = _name(message, at)
        type_number, group, ttl, length = _RECORD.unpack_from(message, at)
        at += _RECORD.size
        if at + length > len(message):
            raise ValueError
        if (type_number, group) == (_NUMBERS[kind], _IN):
            records.append(_record(message, at, length, kind, ttl if ttl < 1 << 31 else 0))
        at += length
    return Answer(tuple(records))


def _record(message: bytes, at: int, length: int, kind: RecordType, ttl: int) -> Record:
    data = message[at : at + length]
    if kind == "A":
        return Record(str(IPv4Address(data)), ttl)
    if kind == "AAAA":
        return Record(str(IPv6Address(data)), ttl)
    priority, weight, port = _SRV.unpack_from(data)
    target, _ = _name(message, at + _SRV.size)
    return Record(target, ttl, port, priority, weight)


def _encoded(name: str) -> bytes:
    labels = name.rstrip(".").encode("ascii").split(b".")
    if any(not 0 < len(label) <= _LONGEST_LABEL for label in labels):
        raise ValueError(f"{name!r} is no name")
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def _name(message: bytes, at: int) -> tuple[str, int]:
    """The name that begins at `at`, without its last dot, and where it ends; pointers lead to an earlier one."""
    labels: list[bytes] = []
    end = 0
    pointers = 0
    while length := message[at]:
        if length & _POINTER == _POINTER:
            pointers += 1
            if pointers > _MOST_POINTERS:
                raise ValueError
            end = end or at + 2
            at = (length & ~_POINTER) << 8 | message[at + 1]
            continue
        if length > _LONGEST_LABEL or at + 1 + length >= len(message):
            raise ValueError
        labels.append(message[at + 1 : at + 1 + length])
        at += 1 + length
    return b".".join(labels).decode("ascii"), end or at + 1
