"""Bodies of answers that the control process gets: no more of one than may be, whatever it is coded with.

httpx undoes codings piece by piece without a bound: a kilobyte of brotli becomes a gigabyte.
"""

from __future__ import annotations

import httpx

from portico.core.codings import CodingError, TooLargeError, UnknownCodingError, codings_of, decode


async def whole_body(answer: httpx.Response, most: int) -> bytes:
    """The body, decoded. Raises TooLargeError for more than `most` bytes, and httpx.DecodingError."""
    body = bytearray()
    async for piece in answer.aiter_raw():
        body += piece
        if len(body) > most:
            raise TooLargeError
    codings = codings_of(answer.headers.get("Content-Encoding", "").encode().split(b","))
    try:
        return decode(bytes(body), codings, most)
    except UnknownCodingError as error:
        raise httpx.DecodingError(f"it has a coding that cannot be undone: {error}") from None
    except CodingError as error:
        raise httpx.DecodingError(f"its coding is damaged: {error}") from None


__all__ = ["TooLargeError", "whole_body"]
