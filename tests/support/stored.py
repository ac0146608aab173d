"""Stored responses and requests for them, for tests of stores."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from portico.core.errors import PHRASES, STATUS_LINES
from portico.core.messages import Fields
from portico.proxy.cache.asked import Asked
from portico.proxy.cache.stored import Resource, Stored, body_of, plain_head


def asked(*lines: bytes) -> Asked:
    """What a request with these field lines asks."""
    return Asked(_fields(lines), frozenset())


def response(body: bytes = b"hello", *lines: bytes, status: int = 200, **parts: Any) -> Stored:
    """A stored response with these field lines beside its length, fresh for a minute."""
    fields = _fields((*lines, b"Content-Length: %d" % len(body)))
    head = plain_head(status, PHRASES[status].encode(), STATUS_LINES[status], fields, len(body))
    known = {"since": time.monotonic(), "lifetime": 60.0, "born": time.time(), "date": time.time()}
    return Stored(head=head, body=body_of(body), **{**known, **parts})


def resource(name: str = "a", *variants: Stored) -> Resource:
    """That of the path `/name`."""
    return Resource(key_of(name), b"http://localhost/%b" % name.encode(), "items", variants)


def key_of(name: str) -> bytes:
    """Its key."""
    return b"items http://localhost/%b" % name.encode()


def content(stored: Stored) -> bytes:
    """The body, where it is all there."""
    body = b"".join(stored.body.pieces)
    assert len(body) == stored.body.size
    return body


def lines_of(stored: Stored) -> Sequence[bytes]:
    """Its field lines."""
    return stored.head.fields.lines


def _fields(lines: Sequence[bytes]) -> Fields:
    return Fields([line.partition(b":")[0].lower() for line in lines], list(lines))
