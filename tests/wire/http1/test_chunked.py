"""The chunked coding by itself: what was encoded comes back, however it is cut."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portico.core.errors import MessageError
from portico.wire.http1.chunked import LAST_CHUNK, ChunkedDecoder, encode_chunk, encode_whole, whole_body

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


@some
@given(st.binary(max_size=40_000), st.lists(st.integers(0, 40_000), max_size=4))
def test_a_whole_body_is_what_was_encoded(content: bytes, cuts: list[int]) -> None:
    assert whole_body(b"".join(encode_whole(content))) == content
    marks = [0, *sorted({cut % (len(content) + 1) for cut in cuts} - {0, len(content)}), len(content)]
    chunks = [content[a:b] for a, b in pairwise(marks) if a < b]
    data = b"".join(b"".join(encode_chunk(chunk)) for chunk in chunks) + LAST_CHUNK
    assert whole_body(data) == content
    assert all(whole_body(data[:end]) is None for end in (len(data) - 1, len(data) // 2))


ALPHABET = [b"0", b"1", b"5", b"a", b"\r\n", b"\r", b"\n", b"0\r\n\r\n", b"1\r\na\r\n", b";x=y", b"A: b\r\n", b"hello"]


@settings(max_examples=1500, deadline=None)
@given(st.lists(st.sampled_from(ALPHABET), max_size=8))
def test_what_is_taken_whole_is_what_the_decoder_reads(pieces: list[bytes]) -> None:
    found = whole_body(b"".join(pieces) + LAST_CHUNK)
    if found is not None:
        decoder = ChunkedDecoder("upstream_malformed")
        assert decoder.feed(b"".join(pieces) + LAST_CHUNK) == found
        assert (decoder.done, decoder.rest, decoder.trailers) == (True, b"", ())


def test_very_many_chunks_are_left_to_the_decoder() -> None:
    assert whole_body(b"1\r\na\r\n" * 1000 + LAST_CHUNK) == b"a" * 1000
    assert whole_body(b"1\r\na\r\n" * 2000 + LAST_CHUNK) is None
