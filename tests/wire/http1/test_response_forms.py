"""Response heads read by their form: which are, and what is found in them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from portico.core.errors import MessageError
from portico.core.fields import RESPONSE_NOTED, RESPONSE_RULES
from portico.core.messages import ResponseHead
from portico.proxy.compose import response_lines
from portico.wire.http1.grammar import parse_response_head
from portico.wire.http1.response_forms import ResponseForm, ResponseForms

NOTED = RESPONSE_NOTED | RESPONSE_RULES
RAW = (
    b"HTTP/1.1 200 OK\r\nDate: now\r\nETag: a\r\nConnection: keep-alive\r\nContent-Length: 12\r\nX-Request-ID: 1\r\n"
    b"Vary: a\r\nVary: b\r\n\r\n"
)


def parsed(raw: bytes) -> ResponseHead:
    """Read field by field. Raises MessageError."""
    return parse_response_head(raw[:-4], 100, NOTED, bodiless=False)


def found(head: ResponseHead) -> list[object]:
    """All that can be found in a head, and what goes on of it."""
    fields = head.fields
    plain = [getattr(head, name) for name in ResponseHead.__slots__ if name not in ("fields", "passed")]
    exchange: Any = SimpleNamespace(response_drop=None, response_lines=[])
    before = head.passed
    lines = response_lines(cast(Any, exchange), head) if b"set-cookie" not in fields.names else []
    assert before in (b"", head.passed), "what is composed of it is what its form says"
    return [plain, fields.names, fields.lines, [fields.all(name) for name in fields.names], lines, head.passed]


@pytest.mark.parametrize(
    "raw",
    [
        RAW,
        RAW.replace(b"200 OK", b"404 Not Found"),
        RAW.replace(b"200 OK", b"304 Not Modified"),
        RAW.replace(b"200 OK", b"204 No Content"),
        RAW.replace(b"200 OK", b"200 Very well"),
        RAW.replace(b"HTTP/1.1", b"HTTP/1.0"),
        RAW.replace(b"Date: now\r\n", b""),
        RAW.replace(b"ETag: a", b"Set-Cookie: a=b"),
        RAW.replace(b"keep-alive", b"close"),
        RAW.replace(b"keep-alive", b"x-own"),
        RAW.replace(b"Content-Length: 12", b"Transfer-Encoding: chunked"),
        RAW.replace(b"Content-Length: 12", b"Keep-Alive: timeout=5"),
    ],
)
def test_it_finds_what_is_found_field_by_field(raw: bytes) -> None:
    form = ResponseForm(parsed(raw))
    for other in (raw, raw.replace(b"now", b"later").replace(b"h: 12", b"h: 7").replace(b"ETag: a", b"ETag:")):
        head = form.read(other)
        assert head is not None
        assert found(head) == found(parsed(other))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"200 OK", b"201 OK"),
        (b"HTTP/1.1", b"HTTP/1,1"),
        (b"keep-alive", b"close"),
        (b"ETag", b"Etag"),
        (b"h: 12", b"h: x"),
        (b"h: 12", b"h: 1, 1"),
        (b"h: 12", b"h: 1234567890123456789"),
        (b"ETag: a\r\n", b"ETag: a\r\nETag: a\r\n"),
        (b"ETag: a\r\n", b"ETag: a\n"),
        (b"ETag: a\r\n", b"ETag: a\r\n b\r\n"),
        (b"ETag: a\r\n", b"ETag: a\r\n\r\n"),
    ],
)
def test_others_are_not_of_the_form(old: bytes, new: bytes) -> None:
    assert ResponseForm(parsed(RAW)).read(RAW.replace(old, new, 1)) is None


def test_no_byte_passes_in_a_place_in_which_none_may_be() -> None:
    """Each byte at each place: what the form takes is what is read field by field."""
    form, taken = ResponseForm(parsed(RAW)), 0
    for place in range(len(RAW)):
        for byte in (*range(0x21), ord(":"), ord("~"), 0x7F, 0x80, 0xFF):
            other = RAW[:place] + bytes((byte,)) + RAW[place + 1 :]
            head = form.read(other)
            if head is not None:
                taken += 1
                assert found(head) == found(parsed(other))
    assert taken > 100


def test_forms_are_made_of_what_comes_often_and_are_of_what_is_noted() -> None:
    forms = ResponseForms(often=3, pause=0.0)
    for _ in range(3):
        assert forms.read(RAW, NOTED) is None
        forms.learn(parsed(RAW), NOTED)
    assert forms.read(RAW.replace(b"now", b"later"), NOTED) is not None
    assert forms.read(RAW, RESPONSE_RULES) is None


def test_a_length_that_is_written_unusually_makes_no_form() -> None:
    forms, raw = ResponseForms(often=1, pause=0.0), RAW.replace(b"h: 12", b"h:  12")
    with pytest.raises(MessageError):
        parsed(raw.replace(b"12", b"x"))
    forms.learn(parsed(raw), NOTED)
    assert forms.read(raw, NOTED) is None
