"""The chunked coding by itself: what was encoded comes back, however it is cut."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portico.errors import MessageError
from portico.wire.chunked import LAST_CHUNK, ChunkedDecoder, encode_chunk

some = settings(max_examples=150, deadline=None)


@some
@given(
    st.lists(st.binary(min_size=1, max_size=60), max_size=6),
    st.lists(st.integers(0, 600), max_size=10),
    st.sampled_from([b"", b"A: b\r\n", b"A: b\r\nC:\r\n"]),
    st.binary(max_size=20),
)
def test_what_was_encoded_comes_back(chunks: list[bytes], cuts: list[int], trailers: bytes, rest: bytes) -> None:
    data = b"".join(b"".join(encode_chunk(chunk)) for chunk in chunks) + b"0\r\n" + trailers + b"\r\n"
    decoder = ChunkedDecoder("malformed_request")
    marks = [0, *sorted({cut % len(data) for cut in cuts} - {0}), len(data)]
    pieces = [data[a:b] for a, b in pairwise(marks)]
    pieces[-1] += rest
    content = b""
    for piece in pieces:
        assert not decoder.done
        content += decoder.feed(piece)
    assert decoder.done
    assert (content, decoder.rest) == (b"".join(chunks), rest)


@pytest.mark.parametrize(("data", "encoded"), [(b"a", b"1\r\na\r\n"), (b"x" * 26, b"1a\r\n" + b"x" * 26 + b"\r\n")])
def test_encoding(data: bytes, encoded: bytes) -> None:
    assert b"".join(encode_chunk(data)) == encoded
    assert LAST_CHUNK == b"0\r\n\r\n"


@pytest.mark.parametrize("reason", ["malformed_request", "upstream_malformed"])
def test_an_error_bears_the_reason_that_was_given(reason: str) -> None:
    with pytest.raises(MessageError) as caught:
        ChunkedDecoder(reason).feed(b"nonsense\r\n")
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("data", "accepted"),
    [
        (b"5;" + b"a" * 252 + b"\r\nhello\r\n0\r\n\r\n", True),
        (b"5;" + b"a" * 253 + b"\r\nhello\r\n0\r\n\r\n", False),
        (b"0\r\nA: " + b"b" * 8185 + b"\r\n\r\n", True),
        (b"0\r\nA: " + b"b" * 8186 + b"\r\n\r\n", False),
    ],
)
def test_size_lines_and_trailers_are_bounded_however_they_are_cut(data: bytes, accepted: bool) -> None:
    for size in (1, 7, 100, len(data)):
        decoder = ChunkedDecoder("malformed_request")
        try:
            for start in range(0, len(data), size):
                decoder.feed(data[start : start + size])
        except MessageError:
            assert not accepted
        else:
            assert accepted == decoder.done


@some
@given(st.lists(st.binary(max_size=30), max_size=8))
def test_any_bytes_are_decoded_or_refused(pieces: list[bytes]) -> None:
    decoder = ChunkedDecoder("malformed_request")
    taken = 0
    with suppress(MessageError):
        for piece in pieces:
            if decoder.done:
                break
            taken += len(decoder.feed(piece))
    assert taken <= sum(map(len, pieces))
