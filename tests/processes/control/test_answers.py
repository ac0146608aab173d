"""Bodies of answers to the control process: bounded whatever their coding."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator

import brotli
import httpx
import pytest

from portico.processes.control.answers import TooLargeError, whole_body

MOST = 1000
ZEROS = bytes(64 << 20)


class Pieces(httpx.AsyncByteStream):
    def __init__(self, *pieces: bytes) -> None:
        self.pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for each in self.pieces:
            yield each


def body(coding: str, *pieces: bytes) -> bytes:
    answer = httpx.Response(200, headers={"Content-Encoding": coding}, stream=Pieces(*pieces))
    return asyncio.run(whole_body(answer, MOST))


def test_a_body_comes_as_it_was_before_it_was_coded() -> None:
    assert body("identity", b"a", b"b") == b"ab"
    assert body("br", brotli.compress(b"ab")) == b"ab"
    assert body("br, gzip", gzip.compress(brotli.compress(b"ab"))) == b"ab"


@pytest.mark.parametrize(
    ("coding", "pieces"),
    [
        ("", (b"a" * 600, b"a" * 600)),
        ("br", (brotli.compress(ZEROS, quality=1),)),
        ("gzip", (gzip.compress(b"a" * 1001),)),
        ("gzip, gzip", (gzip.compress(gzip.compress(ZEROS, 1)),)),
    ],
)
def test_no_coding_makes_more_of_it_than_may_be(coding: str, pieces: tuple[bytes, ...]) -> None:
    with pytest.raises(TooLargeError):
        body(coding, *pieces)


@pytest.mark.parametrize("coding", ["br", "compress", "gzip, gzip, gzip, gzip, gzip"])
def test_what_cannot_be_undone_is_an_error_of_the_answer(coding: str) -> None:
    with pytest.raises(httpx.DecodingError):
        body(coding, b"no such coding")
