"""Parts of a stored response (RFC 9110, section 14)."""

from __future__ import annotations

from email.parser import BytesParser
from email.policy import HTTP

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.proxy.cache.ranges import MOST_RANGES, Ranged, parts_of, slices
from portico.proxy.cache.stored import PIECE, Stored
from proxy.cache.messages import asked, content_of, stored, values

FRESH = "Cache-Control: max-age=60"
TEXT = b"0123456789"


def ten(*lines: str) -> Stored:
    return stored(FRESH, "Content-Type: text/plain", *lines, content=TEXT)


def sent(found: Stored, ranged: Ranged) -> bytes:
    """The content of a response to a request for parts."""
    content = b"".join(part.before + content_of(found, part.start, part.stop) for part in ranged.parts) + ranged.after
    assert len(content) == ranged.head.framing
    assert values(ranged.head, "content-length") == [str(len(content))]
    return content


@pytest.mark.parametrize(
    ("asked_for", "start", "stop"),
    [
        ("bytes=0-1", 0, 2),
        ("bytes=0-0", 0, 1),
        ("bytes=1-", 1, 10),
        ("bytes=0-", 0, 10),
        ("bytes=9-9", 9, 10),
        ("bytes=5-100", 5, 10),
        ("bytes=-1", 9, 10),
        ("bytes=-10", 0, 10),
        ("bytes=-100", 0, 10),
        ("BYTES=0-1", 0, 2),
        ("bytes= 0-1 ,", 0, 2),
        ("bytes=0-1, 20-", 0, 2),
        ("bytes=0-4,5-9", 0, 10),
        ("bytes=4-6, 0-5", 0, 7),
        ("bytes=0-0,9-9", 0, 10),  # nearer than the head of a part
    ],
)
def test_one_part(asked_for: str, start: int, stop: int) -> None:
    found = ten('ETag: "a"', "X-A: 1")
    ranged = parts_of(found, asked(f"Range: {asked_for}"))
    assert ranged is not None
    assert ranged.head.status == 206
    assert sent(found, ranged) == TEXT[start:stop]
    assert values(ranged.head, "content-range") == [f"bytes {start}-{stop - 1}/10"]
    assert values(ranged.head, "content-type") == ["text/plain"]
    assert (values(ranged.head, "etag"), values(ranged.head, "x-a")) == (['"a"'], ["1"])
    assert len(values(ranged.head, "date")) == 1


@pytest.mark.parametrize("asked_for", ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=100-, 50-60"])
def test_none_of_them_is_there(asked_for: str) -> None:
    """Section 15.5.17. Nobody is to store it for as long as the whole."""
    found = ten('ETag: "a"', "Last-Modified: Fri, 15 Jan 2027 07:00:00 GMT", "X-A: 1")
    ranged = parts_of(found, asked(f"Range: {asked_for}"))
    assert ranged is not None
    assert (ranged.head.status, sent(found, ranged)) == (416, b"")
    assert values(ranged.head, "content-range") == ["bytes */10"]
    assert set(ranged.head.fields.names) == {b"date", b"x-a", b"content-range", b"content-length"}


@pytest.mark.parametrize(
    "asked_for",
    [
        *("", "bytes", "bytes=", "bytes=,", "bytes=a-b", "bytes=1", "bytes=5-4", "bytes=-", "bytes=0-1-2", "lines=0-1"),
        *("bytes 0-1", "bytes=0-1,x", "bytes=--1", "bytes=0 - 1", "bytes=" + "9" * 30 + "-"),
        "bytes=" + ",".join(f"{number * 2}-{number * 2}" for number in range(MOST_RANGES + 1)),
    ],
)
def test_what_is_no_range_is_ignored(asked_for: str) -> None:
    assert parts_of(ten(), asked(f"Range: {asked_for}")) is None


def test_what_has_no_parts() -> None:
    wanted = asked("Range: bytes=0-1")
    assert parts_of(ten(), asked()) is None
    assert parts_of(ten(), wanted, b"HEAD") is None
    assert parts_of(ten(), wanted, b"QUERY") is None
    assert parts_of(stored(FRESH, status=404, content=TEXT), wanted) is None


def test_nothing_at_all() -> None:
    nothing = stored(FRESH)
    ranged = parts_of(nothing, asked("Range: bytes=0-"))
    assert ranged is not None
    assert (ranged.head.status, values(ranged.head, "content-range")) == (416, ["bytes */0"])
    assert parts_of(nothing, asked("Range: bytes=-5")) is None


MODIFIED = "Fri, 15 Jan 2027 07:00:00 GMT"


@pytest.mark.parametrize(
    ("lines", "if_range", "is_partial"),
    [
        (['ETag: "a"'], '"a"', True),
        (['ETag: "a"'], '"b"', False),
        (['ETag: "a"'], 'W/"a"', False),
        (['ETag: W/"a"'], 'W/"a"', False),
        (['ETag: W/"a"'], '"a"', False),
        ([], '"a"', False),
        (['ETag: "a"'], "a", False),
        ([f"Last-Modified: {MODIFIED}"], MODIFIED, True),
        ([f"Last-Modified: {MODIFIED}"], "Fri, 15 Jan 2027 07:00:01 GMT", False),
        ([f"Last-Modified: {MODIFIED}"], "Friday, 15-Jan-27 07:00:00 GMT", False),
        ([], MODIFIED, False),
        # it may have changed again in the second in which it was sent: section 8.8.2.2
        (["Last-Modified: Fri, 15 Jan 2027 08:00:00 GMT"], "Fri, 15 Jan 2027 08:00:00 GMT", False),
    ],
)
def test_only_of_the_same_representation(lines: list[str], if_range: str, is_partial: bool) -> None:
    """Section 13.1.5."""
    ranged = parts_of(ten(*lines), asked("Range: bytes=0-1", f"If-Range: {if_range}"))
    assert (ranged is not None) is is_partial


LARGE = bytes(number % 251 for number in range(2000))


def multipart(found: Stored, ranged: Ranged) -> list[tuple[str, bytes]]:
    """The parts of a multipart/byteranges, as a client reads them."""
    kind = values(ranged.head, "content-type")[0].encode()
    message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + kind + b"\r\n\r\n" + sent(found, ranged))
    assert message.get_content_type() == "multipart/byteranges"
    assert not message.defects
    found_parts = []
    for part in message.iter_parts():
        payload = part.get_payload(decode=True)
        assert isinstance(payload, bytes)
        found_parts.append((str(part["Content-Range"]), payload))
    return found_parts


def test_several_parts_in_the_order_that_was_asked_for() -> None:
    found = stored(FRESH, "Content-Type: application/x", content=LARGE)
    ranged = parts_of(found, asked("Range: bytes=1000-1009, 0-4, 5000-, -5"))
    assert ranged is not None
    assert ranged.head.status == 206
    assert values(ranged.head, "content-range") == []
    assert sent(found, ranged).count(b"\r\nContent-Type: application/x\r\n") == 3
    assert multipart(found, ranged) == [
        ("bytes 1000-1009/2000", LARGE[1000:1010]),
        ("bytes 0-4/2000", LARGE[:5]),
        ("bytes 1995-1999/2000", LARGE[-5:]),
    ]


def test_what_overlaps_is_sent_once() -> None:
    found = stored(FRESH, content=LARGE)
    ranged = parts_of(found, asked("Range: bytes=0-9, 1000-1999, 1500-, 5-20, 950-960"))
    assert ranged is not None
    assert [(part.start, part.stop) for part in ranged.parts] == [(0, 21), (950, 2000)]


SPAN = st.one_of(
    st.tuples(st.integers(0, 2500), st.integers(0, 2500)).map(lambda span: f"{min(span)}-{max(span)}"),
    st.integers(0, 2500).map(lambda first: f"{first}-"),
    st.integers(0, 2500).map(lambda length: f"-{length}"),
)


@given(st.lists(SPAN, min_size=1, max_size=6), st.integers(0, 2000))
def test_every_byte_that_was_asked_for_comes_once_and_in_its_place(spans: list[str], size: int) -> None:
    found = stored(FRESH, content=LARGE[:size])
    ranged = parts_of(found, asked(f"Range: bytes={','.join(spans)}"))
    if ranged is None:
        assert size == 0
        return
    wanted = set()
    for span in spans:
        first, _, last = span.partition("-")
        low = int(first) if first else max(0, size - int(last))
        wanted |= set(range(low, min(size, int(last) + 1) if first and last else size))
    got = [index for part in ranged.parts for index in range(part.start, part.stop)]
    assert wanted <= set(got)
    assert len(set(got)) == len(got)
    assert (ranged.head.status == 416) is (not wanted)
    content = sent(found, ranged)
    if len(ranged.parts) == 1:
        assert content == LARGE[ranged.parts[0].start : ranged.parts[0].stop]
    elif ranged.parts:
        assert [payload for _, payload in multipart(found, ranged)] == [LARGE[p.start : p.stop] for p in ranged.parts]


@given(st.integers(0, 3 * PIECE), st.integers(0, 3 * PIECE))
def test_slices_of_pieces_are_the_slice_of_the_whole(one: int, other: int) -> None:
    start, stop = sorted((one, other))
    places = list(slices(start, stop))
    assert sum(end - offset for _, offset, end in places) == stop - start
    at = start
    for index, offset, end in places:
        assert 0 <= offset < end <= PIECE
        assert index * PIECE + offset == at
        at += end - offset
