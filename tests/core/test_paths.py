"""Paths: what counts as the same, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.core.errors import MessageError
from portico.core.paths import readings, segments_of, split_target


@pytest.mark.parametrize(
    ("path", "segments"),
    [
        (b"/", [b""]),
        (b"/a", [b"a"]),
        (b"/a/b", [b"a", b"b"]),
        (b"/a/", [b"a", b""]),
        (b"//a", [b"", b"a"]),
        (b"/a//b", [b"a", b"", b"b"]),
        (b"/%61pi/%47emini", [b"api", b"Gemini"]),
        (b"/%7euser/%2Dx%5Fy", [b"~user", b"-x_y"]),
        (b"/a%2fb", [b"a%2Fb"]),
        (b"/a%2Fb", [b"a%2Fb"]),
        (b"/caf%c3%A9", [b"caf%C3%A9"]),
        (b"/%2561", [b"%2561"]),
        (b"/a;v=1/b", [b"a;v=1", b"b"]),
        (b"/A", [b"A"]),
        (b"/...", [b"..."]),
        (b"/.well-known/x", [b".well-known", b"x"]),
        (b"/a..b/c.", [b"a..b", b"c."]),
        (b"/..a", [b"..a"]),
        (b"/%2ehidden", [b".hidden"]),
    ],
)
def test_segments(path: bytes, segments: list[bytes]) -> None:
    assert segments_of(path) == tuple(segments)


@pytest.mark.parametrize(
    "path",
    [
        *(b"/.", b"/..", b"/./", b"/../", b"/a/..", b"/a/../b", b"/a/./b", b"/../../etc/passwd"),
        *(b"/%2e", b"/%2E%2e", b"/.%2e/", b"/a/%2e%2E/b"),
        *(b"/a\\..\\b", b"/..\\b", b"/a%5c..%5Cb", b"/a%2f..%2Fb", b"/a%2f..", b"/%2e%2e%2fb", b"/a/..%2fb"),
        *(b"/..;/a", b"/..;x=1/a", b"/.;/a", b"/a/%2e%2e;x/b", b"/..%3B/a", b"/a/..%3bx=1", b"/a%2F..%3B"),
        *(b"/%00", b"/a%00", b"/a%00.txt", b"/a/%00/b"),
        *(b"/a#b", b"/#", b"/%", b"/a%", b"/%2", b"/%zz", b"/%2g/x", b"/%%61", b"/%u0041", b"/% 41"),
    ],
)
def test_refused(path: bytes) -> None:
    with pytest.raises(MessageError) as caught:
        segments_of(path)
    assert caught.value.reason == "malformed_request"


@given(
    st.lists(st.text("abcXYZ019-_~", min_size=1, max_size=6), min_size=1, max_size=5),
    st.lists(st.sampled_from(["plain", "%{:02x}", "%{:02X}"]), min_size=1, max_size=8),
)
def test_an_encoded_letter_is_the_letter(names: list[str], ways: list[str]) -> None:
    plain = "/" + "/".join(names)
    encoded = "".join(
        each if each == "/" or (way := ways[index % len(ways)]) == "plain" else way.format(ord(each))
        for index, each in enumerate(plain)
    )
    assert segments_of(encoded.encode()) == segments_of(plain.encode()) == tuple(name.encode() for name in names)


@given(st.text("ab/.%25eE2fFcC;\\", max_size=14).map(lambda text: "/" + text))
def test_what_passes_has_no_way_up_even_decoded_once_more(path: str) -> None:
    try:
        segments = segments_of(path.encode())
    except MessageError:
        return
    assert segments_of(b"/" + b"/".join(segments)) == segments
    for segment in segments:
        assert segment.partition(b";")[0] not in (b".", b"..")


@pytest.mark.parametrize(
    ("path", "others"),
    [
        (b"/a/b", []),
        (b"/a%2Fb", [b"/a/b"]),
        (b"/a%3Ab", [b"/a:b"]),
        (b"/a%252Fb", [b"/a%2Fb", b"/a/b"]),
        (b"/a//b/", [b"/a/b/"]),
        (b"//", [b"/"]),
        (b"/a\\b", [b"/a/b"]),
        (b"/a;v=1/b", [b"/a/b"]),
        (b"/a;v=%2Fb", [b"/a", b"/a/b", b"/a;v=/b"]),
        (b"/a%3Bv/b", [b"/a;v/b", b"/a/b"]),
        (b"/a%3Fb/c", [b"/a?b/c", b"/a"]),
        (b"/a%23", [b"/a#", b"/a"]),
        (b"/a%20b%20/c%0A", [b"/a b /c\n", b"/a b/c"]),
        (b"/a%0Ab%09/c", [b"/a\nb\t/c", b"/ab/c"]),
        (b"/100%25", [b"/100%"]),
        (b"/%E9", [b"/\xe9"]),
    ],
)
def test_readings(path: bytes, others: list[bytes]) -> None:
    segments = segments_of(path)
    assert readings(segments) == {tuple(other[1:].split(b"/")) for other in others}


@pytest.mark.parametrize(
    ("path", "others"),
    [
        (b"/a%2Fb", []),
        (b"/a%2fb%3Ac", [b"/a%2Fb:c"]),
        (b"/a%252Fb", [b"/a%2Fb"]),
        (b"/a%252fb", [b"/a%2fb", b"/a%2Fb"]),
        (b"/a%5Cb", [b"/a\\b", b"/a/b"]),
    ],
)
def test_readings_where_encoded_slashes_are_data(path: bytes, others: list[bytes]) -> None:
    found = readings(segments_of(path), encoded_slashes=True)
    assert found == {tuple(other[1:].split(b"/")) for other in others}


@pytest.mark.parametrize("slashes", [False, True])
@pytest.mark.parametrize(
    "path", [b"/a/%252e%252e/b", b"/a%2F%252e./b", b"/..%20", b"/..%3Fb", b"/.%253Bx", b"/..%255C"]
)
def test_readings_that_lead_upwards_are_refused(path: bytes, slashes: bool) -> None:
    with pytest.raises(MessageError, match="a dot segment"):
        readings(segments_of(path), slashes)


@given(st.text("ab/.%25eE2fFcC3B;\\ ", max_size=14).map(lambda text: "/" + text.replace(" ", "%20")))
def test_no_reading_has_a_way_up(path: str) -> None:
    try:
        found = readings(segments_of(path.encode()))
    except MessageError:
        return
    for segments in found:
        assert not {b".", b".."} & {segment.partition(b";")[0].rstrip() for segment in segments}
        assert b"" not in segments[:-1]


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/a", b"/a", b""),
        (b"/a?", b"/a", b"?"),
        (b"/a?b=c?d", b"/a", b"?b=c?d"),
        (b"/?/../x", b"/", b"?/../x"),
        (b"*", b"*", b""),
    ],
)
def test_split_target(target: bytes, path: bytes, query: bytes) -> None:
    assert split_target(target) == (path, query)


def test_a_long_path_has_few_readings() -> None:
    """All that services may do to it would take a worker tens of milliseconds."""
    long = b"/" + b"x" * 5000
    assert readings(segments_of(long + b"%20y")) == {(b"x" * 5000 + b" y",)}
    with pytest.raises(MessageError, match="4096"):
        readings(segments_of(long + b";y"))
