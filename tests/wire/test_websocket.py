"""What a gateway has to know of WebSockets: an honest handshake, and where one frame ends and the next begins."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.wire.websocket import GOING_AWAY, RESTART, Frames, accepts, close_frame, masked_close_frame
from support import frames
from support.frames import CLOSE, TEXT, closing, decode, encode

from .world import splits

KEY, ACCEPT = frames.KEY.encode(), frames.ACCEPT.encode()


@pytest.mark.parametrize(
    ("key", "accept", "honest"),
    [
        (KEY, ACCEPT, True),
        (KEY, ACCEPT.lower(), False),
        (KEY, ACCEPT[:-1], False),
        (KEY, None, False),
        (KEY, b"", False),
        (None, ACCEPT, False),
        (None, None, False),
        (b"", ACCEPT, False),
        (b"c2hvcnQ=", ACCEPT, False),
        (b"no base64 at all, my dear", ACCEPT, False),
        (KEY.rstrip(b"="), ACCEPT, False),
    ],
)
def test_a_handshake(key: bytes | None, accept: bytes | None, honest: bool) -> None:
    assert accepts(key, accept) == honest


@pytest.mark.parametrize("code", [GOING_AWAY, RESTART])
def test_close_frame(code: int) -> None:
    assert close_frame(code) == closing(code, mask=b"")
    frame = decode(masked_close_frame(code))
    assert (frame.opcode, frame.code, frame.masked) == (CLOSE, code, True)


SIZES = st.sampled_from([0, 1, 2, 5, 124, 125, 126, 127, 300, 65535, 65536])
FRAMES = st.builds(
    lambda opcode, size, fin, rsv, mask: encode(opcode, b"\x88" * size, fin=fin, rsv=rsv, mask=mask),
    opcode=st.integers(0, 15).filter(lambda opcode: opcode != CLOSE),
    size=SIZES,
    fin=st.booleans(),
    rsv=st.integers(0, 7),
    mask=st.sampled_from([b"", b"\x88\x00\x88\x00"]),
)


@given(st.lists(FRAMES, max_size=6), st.data())
def test_boundaries_are_where_frames_end(sent: list[bytes], data: st.DataObject) -> None:
    """However the bytes are cut."""
    stream = b"".join(sent)
    boundaries = {sum(map(len, sent[:count])) for count in range(len(sent) + 1)}
    cuts = sorted({*data.draw(st.lists(st.integers(0, len(stream)), max_size=8)), 0, len(stream)})
    frames = Frames()
    for start, end in pairwise(cuts):
        assert frames.feed(stream[start:end]) == end - start
        assert frames.is_between == (end in boundaries)
        assert not frames.closed


@given(st.lists(FRAMES, min_size=1, max_size=4), st.data())
def test_to_the_boundary_and_no_further(sent: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(sent)
    position = data.draw(st.integers(0, len(stream)))
    expected = next(end for count in range(len(sent) + 1) if (end := sum(map(len, sent[:count]))) >= position)
    frames = Frames()
    frames.feed(stream[:position])
    assert frames.feed(stream[position:], to_boundary=True) == expected - position
    assert frames.is_between


@pytest.mark.parametrize("mask", [b"", b"mask"])
def test_every_split_of_short_frames(mask: bytes) -> None:
    stream = encode(TEXT, b"x" * 130, mask=mask) + encode(9, mask=mask) + closing(1000, b"done", mask=mask)
    for pieces in splits(stream):
        frames = Frames()
        for piece in pieces:
            frames.feed(piece)
        assert frames.is_between
        assert frames.closed


def test_nothing_counts_behind_a_close_frame() -> None:
    frames = Frames()
    frames.feed(closing(1000) + b"\x82\x7f")
    assert frames.closed
    assert frames.is_between
    frames.feed(b"garbage")
    assert frames.is_between


def test_an_unfinished_close_frame_is_under_way() -> None:
    frames = Frames()
    frames.feed(closing(1000)[:-1])
    assert frames.closed
    assert not frames.is_between
