"""The PROXY protocol, versions 1 and 2: how a TCP load balancer says whose connection it passes on.

The source is HAProxy's `doc/proxy-protocol.txt`; section numbers refer to it.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from portico.core.clients import plain

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
LIMIT: Final = 2048
"""Bytes of a whole header of version 2, its extensions (TLVs) included."""

_LINE_LIMIT: Final = 107  # section 2.1: the longest line that version 1 allows, CRLF included
_PORT: Final = rb"(0|[1-9][0-9]{0,4})"
_LINE: Final = re.compile(
    rb"PROXY (?:UNKNOWN(?: [^\r\n]*)?|TCP([46]) ([0-9A-Fa-f.:]+) ([0-9A-Fa-f.:]+) " + _PORT + b" " + _PORT + b")"
)
_FIXED: Final = 16  # section 2.2: signature, version and command, family and transport, length
_ADDRESSES: Final = {0x00: 0, 0x01: 0, 0x11: 12, 0x21: 36, 0x31: 216}
"""Bytes of the addresses by family and transport: unspecified, TCP over IPv4, over IPv6, a unix stream."""


class HeaderError(Exception):
    """Bytes that are not a header; the message says what is wrong with them."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a connection came from before it was passed on, and the port that it came to."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Header:
    """A whole header of `size` bytes; `origin` None: the balancer speaks for itself, or does not know."""

    size: int
    origin: Origin | None


def parse_header(data: bytes) -> Header | None:
    """The header at the beginning of `data`; None while there is too little of it. Raises HeaderError."""
    if SIGNATURE.startswith(data[: len(SIGNATURE)]):
        return _binary(data)
    if b"PROXY ".startswith(data[:6]):
        return _line(data)
    raise HeaderError("it does not begin with a PROXY header")


def _line(data: bytes) -> Header | None:
    """Version 1 (section 2.1)."""
    end = data.find(b"\r\n", 0, _LINE_LIMIT)
    if end < 0:
        if len(data) >= _LINE_LIMIT:
            raise HeaderError(f"a PROXY line of more than {_LINE_LIMIT} bytes")
        return None
    match = _LINE.fullmatch(data[:end])
    if match is None:
        raise HeaderError("a PROXY line that breaks the grammar of version 1")
    if match[1] is None:
        return Header(end + 2, None)
    version, source, destination = int(match[1]), match[2].decode(), match[3].decode()
    try:
        addresses = [ipaddress.ip_address(text) for text in (source, destination)]
    except ValueError as error:
        raise HeaderError("a PROXY line with an address that is none") from error
    if any(address.version != version for address in addresses):
        raise HeaderError("a PROXY line with an address of another family than it says")
    ports = int(match[4]), int(match[5])
    if max(ports) > 65535:
        raise HeaderError("a PROXY line with a port that is none")
    return Header(end + 2, Origin(str(plain(addresses[0])), ports[1]))


def _binary(data: bytes) -> Header | None:
    """Version 2 (section 2.2); extensions after the addresses are skipped."""
    if len(data) < _FIXED:
        return None
    version, command = divmod(data[12], 16)
    if version != 2 or command > 1:
        raise HeaderError("a PROXY header of an unknown version or command")
    length = int.from_bytes(data[14:16], "big")
    size = _FIXED + length
    if size > LIMIT:
        raise HeaderError(f"a PROXY header of more than {LIMIT} bytes")
    if command == 1 and length < _ADDRESSES.get(data[13], LIMIT):
        raise HeaderError("a PROXY header of an unknown family, or shorter than its addresses")
    if len(data) < size:
        return None
    return Header(size, _origin(data[13], data[_FIXED:size]) if command == 1 else None)


def _origin(family: int, block: bytes) -> Origin | None:
    """Source addresses come first, then destinations, then the ports in the same order."""
    if family == 0x11:
        return Origin(str(ipaddress.IPv4Address(block[:4])), int.from_bytes(block[10:12], "big"))
    if family == 0x21:
        return Origin(str(plain(ipaddress.IPv6Address(block[:16]))), int.from_bytes(block[34:36], "big"))
    return None
