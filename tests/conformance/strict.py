"""A second reading of HTTP/1.1, byte by byte and without mercy: it shares no line with `portico.wire`.

What a gateway sends has to pass here. Where two parsers agree on every byte, there is no room for smuggling.
"""

from __future__ import annotations

from dataclasses import dataclass, field

CONTROLS = bytes([*range(9), *range(10, 32), 127])
TOKEN = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
BODILESS = (204, 304)


class NotStrictError(Exception):
    """Bytes that two parsers could read in two ways."""


@dataclass
class Head:
    """A start line and fields, as they came."""

    start: list[str]
    fields: list[tuple[str, str]]
    body: bytes = b""
    chunked: bool = False
    trailers: list[tuple[str, str]] = field(default_factory=list)

    @property
    def method(self) -> str:
        return self.start[0]

    @property
    def target(self) -> str:
        return self.start[1]

    @property
    def status(self) -> int:
        return int(self.start[1])

    def all(self, name: str) -> list[str]:
        return [value for own, value in self.fields if own.lower() == name]


def take_request(data: bytes) -> tuple[Head, bytes] | None:
    """The first request and what is behind it; None while it is not complete. Raises NotStrictError."""
    found = _take_head(data)
    if found is None:
        return None
    head, rest = found
    method, target, version = head.start if len(head.start) == 3 else ("", "", "")
    _demand(method != "" and not method.encode("latin-1").strip(TOKEN), "the method is no token")
    _demand(target != "" and all("!" <= character <= "~" for character in target), "the target is not plain ASCII")
    _demand(version in ("HTTP/1.1", "HTTP/1.0"), "the version is neither HTTP/1.1 nor HTTP/1.0")
    hosts = len(head.all("host"))
    _demand(hosts == 1 or (hosts == 0 and version == "HTTP/1.0"), "there is not exactly one Host")
    return _take_body(head, rest)


def take_response(data: bytes, method: str, ended: bool) -> tuple[Head, bytes] | None:
    """The first response to a request of this method; `ended`: nothing comes behind `data`."""
    found = _take_head(data)
    if found is None:
        return None
    head, rest = found
    _demand(head.start[0] in ("HTTP/1.1", "HTTP/1.0"), "the status line has another version")
    _demand(len(head.start) > 1 and len(head.start[1]) == 3, "the status has not three digits")
    _number(head.start[1], "0123456789", 10)
    if head.status < 200 or head.status in BODILESS or method == "HEAD":
        return head, rest
    if not head.all("content-length") and not head.all("transfer-encoding"):
        head.body = rest
        return (head, b"") if ended else None
    return _take_body(head, rest)


def _take_head(data: bytes) -> tuple[Head, bytes] | None:
    block, end, rest = data.partition(b"\r\n\r\n")
    lines = block.split(b"\r\n")
    for line in lines:
        if not end and line is lines[-1]:
            line = line.removesuffix(b"\r")
        _demand(not any(byte in CONTROLS for byte in line), "a control byte, a bare CR or a bare LF")
    if not end:
        return None
    return Head(lines[0].decode("latin-1").split(" "), [_field(line) for line in lines[1:]]), rest


def _field(line: bytes) -> tuple[str, str]:
    name, colon, value = line.partition(b":")
    _demand(colon == b":" and name != b"" and not name.strip(TOKEN), f"no field line: {line!r}")
    return name.decode(), value.decode("latin-1").strip(" \t")


def _take_body(head: Head, rest: bytes) -> tuple[Head, bytes] | None:
    codings, lengths = head.all("transfer-encoding"), head.all("content-length")
    _demand(len(codings) + len(lengths) < 2, "more than one field gives the body's length")
    if codings:
        _demand(codings[0].lower() == "chunked", f"a transfer coding other than chunked: {codings[0]!r}")
        head.chunked = True
        return _take_chunks(head, rest)
    length = _number(lengths[0], "0123456789", 10) if lengths else 0
    if len(rest) < length:
        return None
    head.body = rest[:length]
    return head, rest[length:]


def _take_chunks(head: Head, rest: bytes) -> tuple[Head, bytes] | None:
    while True:
        line, end, rest = rest.partition(b"\r\n")
        if not end:
            return None
        size = _number(line.decode("latin-1"), "0123456789abcdefABCDEF", 16)
        if size == 0:
            break
        if len(rest) < size + 2:
            return None
        _demand(rest[size : size + 2] == b"\r\n", "chunk data without its CRLF")
        head.body += rest[:size]
        rest = rest[size + 2 :]
    while True:
        line, end, rest = rest.partition(b"\r\n")
        if not end:
            return None
        if not line:
            return head, rest
        _demand(not any(byte in CONTROLS for byte in line), "a control byte in a trailer")
        head.trailers.append(_field(line))


def _number(text: str, digits: str, base: int) -> int:
    _demand(text != "" and all(character in digits for character in text), f"no length: {text!r}")
    _demand(int(text, base) < 1 << 63, f"a length beyond 63 bits: {text!r}")
    return int(text, base)


def _demand(condition: bool, otherwise: str) -> None:
    if not condition:
        raise NotStrictError(otherwise)
