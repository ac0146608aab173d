"""A form that a page sent."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request

LARGEST: Final = 16 << 20
"""Bytes of a form of who is signed in: a configuration of 10,000 routes fits."""
SMALL: Final = 16 << 10
"""Bytes of one of anybody's."""
_FIELDS: Final = 200
_DIGITS: Final = 18
_KIND: Final = "application/x-www-form-urlencoded"


class FormError(ValueError):
    """It is no form of ours."""


def whole_number(text: str) -> int | None:
    """What somebody wrote, if it is a whole number of a size that anything here may have."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _DIGITS else None


class Form(dict[str, str]):
    """The fields by name; of one that is there twice the last."""

    def text(self, name: str) -> str:
        """A field without white space at its ends, "" if it is not there."""
        return self.get(name, "").strip()


async def read_form(request: Request, most: int = LARGEST) -> Form:
    """The form, if it has no more than `most` bytes. Raises FormError."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _KIND:
        raise FormError(f"expected a form: Content-Type: {_KIND}")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > most:
            raise FormError(f"this form has {most:,} bytes at most")
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=_FIELDS, errors="strict")
    except ValueError:
        raise FormError("the form is not UTF-8, percent-encoded, or has too many fields") from None
    return Form(pairs)
