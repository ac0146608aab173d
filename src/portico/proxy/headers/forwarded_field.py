"""The `Forwarded` field (RFC 7239): what each proxy of the chain reports of the one before it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*+"'
_PAIR = _TOKEN + rb"=(?:" + _TOKEN + rb"|" + _QUOTED + rb")"
_FIELD: Final = re.compile(rb"[ \t,]*+(?:" + _PAIR + rb"(?:[ \t]*+[;,][ \t;,]*+|[ \t]*+\Z))*+")
_PAIRS: Final = re.compile(rb"([ \t;,]*+)(" + _TOKEN + rb")=(" + _TOKEN + rb"|" + _QUOTED + rb")")
_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)
_PLAIN: Final = re.compile(_TOKEN)
_SIZE: Final = 4096
"""The most bytes that are parsed; no chain of proxies is that long."""


@dataclass(slots=True)
class Element:
    """One proxy's report: its client, the scheme and the host; empty where it says nothing."""

    node: bytes = b""
    proto: bytes = b""
    host: bytes = b""


def parse_forwarded(value: bytes) -> list[Element]:
    """The elements of a field value, all lines joined by commas, the nearest proxy's last.

    No elements if it is malformed: which proxy wrote which part is in doubt.
    """
    if len(value) > _SIZE or not _FIELD.fullmatch(value):
        return []
    elements: list[Element] = []
    for before, name, text in _PAIRS.findall(value):
        if not elements or b"," in before:
            elements.append(Element())
        element, content = elements[-1], _unquoted(text)
        match name.lower():
            case b"for":
                element.node = content
            case b"proto":
                element.proto = content.lower()
            case b"host":
                element.host = content
    return elements


def element_text(node: str, proto: bytes, host: bytes) -> bytes:
    """An element of this hop's own: `for=192.0.2.1;proto=https;host=example.com`."""
    shown = f'"[{node}]"' if ":" in node else node
    quoted_host = host if _PLAIN.fullmatch(host) else b'"' + host + b'"'
    return b";".join((b"for=" + shown.encode(), b"proto=" + proto, *([b"host=" + quoted_host] if host else [])))


def _unquoted(text: bytes) -> bytes:
    return _ESCAPED.sub(rb"\1", text[1:-1]) if text.startswith(b'"') else text
