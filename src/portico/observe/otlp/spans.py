"""Spans as bytes, by the stable semantic conventions of OpenTelemetry for HTTP.

What does not differ from request to request is made once: of a span, most of its attributes.
"""

from __future__ import annotations

import re
import struct
from typing import Final

from portico.core.caches import remembered
from portico.observe.log_fields import masked
from portico.observe.otlp.protobuf import Attribute, Value, attributes, number, part, text_of, varint

SERVER: Final = 2
CLIENT: Final = 3
"""Kinds of spans."""
_ERROR: Final = 2
_ATTRIBUTES: Final = 9
_LONGEST: Final = 1024
"""Bytes of an attribute that a client chooses; what follows is cut off."""
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "QUERY"})
"""Methods that stand for themselves; others are `_OTHER`, so that clients cannot make names of spans."""
_IDS: Final = struct.Struct("<2s16s2s8s2s8scQcQ2sI")
_ROOT_IDS: Final = struct.Struct("<2s16s2s8scQcQ2sI")
_HAS_REMOTE: Final = 0x100
_IS_REMOTE: Final = 0x200
_URL_PATH: Final = Attribute(_ATTRIBUTES, "url.path")
_URL_QUERY: Final = Attribute(_ATTRIBUTES, "url.query")
_URL_FULL: Final = Attribute(_ATTRIBUTES, "url.full")
_REQUEST_ID: Final = Attribute(_ATTRIBUTES, "portico.request_id")
_SHORT: Final = Attribute.SHORT
_SHORT_PATHS, _SHORT_QUERIES, _SHORT_URLS = _URL_PATH.beginnings, _URL_QUERY.beginnings, _URL_FULL.beginnings
_USUAL: Final = 2048
_BEGINNINGS: Final = [b"\x12" + varint(size) for size in range(_USUAL)]
"""What stands before a span of so many bytes."""
_NOT_PRINTABLE: Final = re.compile(rb"[^ -~]")


def ids(
    trace_id: bytes, span_id: bytes, parent: bytes, start: int, end: int, flags: int, *, is_remote: bool = False
) -> bytes:
    """The fields that name a span: 16, 8 and 8 bytes (none for a root), and its times in nanoseconds."""
    said = flags | _HAS_REMOTE | (_IS_REMOTE if is_remote else 0)
    if not parent:
        return _ROOT_IDS.pack(b"\n\x10", trace_id, b"\x12\x08", span_id, b"9", start, b"A", end, b"\x85\x01", said)
    return _IDS.pack(
        b"\n\x10", trace_id, b"\x12\x08", span_id, b'"\x08', parent, b"9", start, b"A", end, b"\x85\x01", said
    )


def trace_state(states: tuple[bytes, ...]) -> bytes:
    """The field with what `tracestate` says; nothing where that is more than a collector should be given."""
    text = b",".join(states)
    return part(3, text) if text and len(text) <= _LONGEST and text.isascii() else b""


def whole(pieces: list[bytes]) -> bytes:
    """A span as a field of its scope."""
    span = b"".join(pieces)
    size = len(span)
    return b"".join((_BEGINNINGS[size] if size < _USUAL else b"\x12" + varint(size), span))


def server_part(
    method: str,
    http_route: str | None,
    route: str | None,
    service: str,
    status: int,
    reason: str | None,
    is_failed: bool,
    protocol: str,
    scheme: str,
    cache: str | None,
    version: str | None,
) -> bytes:
    """What server spans of exchanges that went alike have in common: name, kind, attributes and status.

    `status` is 0 where no response was sent. A refusal for which the client is to blame is no error of the server.
    """
    known = method if method in METHODS else "_OTHER"
    word = known if known != "_OTHER" else "HTTP"
    error = reason or str(status) if is_failed else None
    values: dict[str, Value | None] = {
        "http.request.method": known,
        "http.request.method_original": method if known != method else None,
        "http.route": http_route,
        "http.response.status_code": status or None,
        "url.scheme": scheme,
        "network.protocol.name": "http",
        "network.protocol.version": protocol or None,
        "error.type": error,
        "portico.service": service,
        "portico.route": route,
        "portico.version": version,
        "portico.cache": cache,
        "portico.reason": reason,
    }
    name = word if http_route is None else f"{word} {http_route}"
    return part(5, text_of(name)) + number(6, SERVER) + attributes(_ATTRIBUTES, values) + _status(is_failed)


def client_part(
    method: str,
    host: str,
    port: int,
    peer: str,
    service: str,
    status: int,
    error: str | None,
    resend: int,
    role: str,
) -> bytes:
    """The same for spans of tries at one instance. `role` is what else a try was: a hedge, a copy for a mirror."""
    known = method if method in METHODS else "_OTHER"
    if error is None and status >= 400:
        error = str(status)
    values: dict[str, Value | None] = {
        "http.request.method": known,
        "http.request.method_original": method if known != method else None,
        "server.address": host,
        "server.port": port or None,
        "network.peer.address": peer or None,
        "network.peer.port": port if peer and port else None,
        "network.transport": "unix" if not port else None,
        "network.protocol.name": "http",
        "network.protocol.version": "1.1" if status else None,
        "http.response.status_code": status or None,
        "http.request.resend_count": resend or None,
        "error.type": error if error != CANCELLED else None,
        "portico.service": service,
        "portico.role": role or None,
        "portico.cancelled": True if error == CANCELLED else None,
    }
    name = known if known != "_OTHER" else "HTTP"
    is_failed = error is not None and error != CANCELLED
    return part(5, text_of(name)) + number(6, CLIENT) + attributes(_ATTRIBUTES, values) + _status(is_failed)


CANCELLED: Final = "cancelled"
"""Stands for an error where a try was given up before its response: another was faster, or the client left."""


def _status(is_failed: bool) -> bytes:
    return part(15, number(3, _ERROR)) if is_failed else b""


# ---- what clients choose


def url_path(path: str) -> bytes:
    """The path as it was sent."""
    text = path.encode("utf-8", "replace")
    size = len(text)
    return _SHORT_PATHS[size] + text if size < _SHORT else _URL_PATH.of(_cut(text))


def plain_query(query: bytes) -> bytes:
    """A query with its question mark in UTF-8; values of parameters are masked whose names say that they are secret."""
    return masked(query.decode("latin-1")).encode()


def url_query(plain: bytes) -> bytes:
    """What `plain_query` gives, as an attribute."""
    size = len(plain) - 1
    return _SHORT_QUERIES[size] + plain[1:] if size < _SHORT else _URL_QUERY.of(_cut(plain[1:]))


def url_full(origin: bytes, target: bytes, plain: bytes) -> bytes:
    """The URL that a service was sent; `plain` is what `plain_query` gives."""
    if not target.isascii():
        target = _NOT_PRINTABLE.sub(b"?", target)
    text = b"".join((origin, target, plain))
    size = len(text)
    return _SHORT_URLS[size] + text if size < _SHORT else _URL_FULL.of(_cut(text))


@remembered(1024)
def origin_of(authority: str, is_tls: bool) -> bytes:
    """The URL of an instance without a path."""
    return f"{'https' if is_tls else 'http'}://{authority}".encode()


def request_id(text: str) -> bytes:
    """The id of the request, where it is not that of its trace."""
    return _REQUEST_ID.of(text_of(text))


def ends_part(client: str, peer: str, host: bytes, port: int, secure: bool, agent: bytes) -> bytes:
    """Who asked whom: the client, and whom the connection is to, for a proxy may stand between the two.

    `host` is what was asked for; with it goes the port behind it, or that of its scheme, else `port`, that of the
    socket. `agent` is the line of the field, or empty.
    """
    text = _text(host)
    name, bracket, rest = text.partition("]") if text.startswith("[") else text.partition(":")
    digits = rest.removeprefix(":") if bracket == "]" else rest
    named = int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 5 else 0
    usual = port if not host else 443 if secure else 80
    values: dict[str, Value | None] = {
        "client.address": client,
        "network.peer.address": peer,
        "server.address": name.strip("[") or None,
        "server.port": named or usual,
        "user_agent.original": _text(agent.partition(b":")[2].strip()) or None,
    }
    return attributes(_ATTRIBUTES, values)


def _text(value: bytes) -> str:
    """The text of a field: UTF-8, or else Latin-1, as fields are read that are not ASCII."""
    cut = value[:_LONGEST]
    try:
        return cut.decode()
    except UnicodeDecodeError:
        return cut.decode("latin-1")


def _cut(text: bytes) -> bytes:
    return text if len(text) <= _LONGEST else text[:_LONGEST].decode("utf-8", "ignore").encode()
