from __future__ import annotations

import asyncio
import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.wire.peeking import take_header
from portico.wire.proxy_protocol import LIMIT, SIGNATURE, Header, HeaderError, Origin, parse_header

from .world import splits


def binary(family: int, block: bytes, command: int = 0x21) -> bytes:
    """A header of version 2."""
    return SIGNATURE + bytes((command, family)) + len(block).to_bytes(2, "big") + block


def addresses(source: str, destination: str, source_port: int = 40000, port: int = 443) -> bytes:
    packed = ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed
    return packed + source_port.to_bytes(2, "big") + port.to_bytes(2, "big")


IPV4 = addresses("192.0.2.1", "198.51.100.1")
IPV6 = addresses("2001:db8::1", "2001:db8::2")
TLV = b"\x04\x00\x03abc"

HEADERS: list[tuple[bytes, Origin | None]] = [
    (b"PROXY TCP4 192.0.2.1 198.51.100.1 40000 443\r\n", Origin("192.0.2.1", 443)),
    (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", Origin("255.255.255.255", 65535)),
    (b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", Origin("0.0.0.0", 0)),
    (b"PROXY TCP6 2001:DB8:0::1 2001:db8::2 40000 8443\r\n", Origin("2001:db8::1", 8443)),
    (b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.1 40000 443\r\n", Origin("192.0.2.1", 443)),
    (
        b"PROXY TCP6 " + b" ".join([b"ffff:" * 7 + b"ffff"] * 2) + b" 65535 65535\r\n",
        Origin("ffff:" * 7 + "ffff", 65535),
    ),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN " + b" ".join([b"ffff:" * 7 + b"ffff"] * 2) + b" 65535 65535\r\n", None),
    (b"PROXY UNKNOWN whatever it may be\r\n", None),
    (binary(0x11, IPV4), Origin("192.0.2.1", 443)),
    (binary(0x11, IPV4 + TLV * 20), Origin("192.0.2.1", 443)),
    (binary(0x11, IPV4 + b"\xff" * 9), Origin("192.0.2.1", 443)),
    (binary(0x21, IPV6), Origin("2001:db8::1", 443)),
    (binary(0x21, addresses("::ffff:192.0.2.1", "::1")), Origin("192.0.2.1", 443)),
    (binary(0x31, b"/a".ljust(108, b"\0") + b"/b".ljust(108, b"\0")), None),
    (binary(0x00, b""), None),
    (binary(0x00, TLV), None),
    (binary(0x00, b"", 0x20), None),
    (binary(0x11, IPV4, 0x20), None),
    (binary(0xFF, b"anything", 0x20), None),
    (binary(0x11, IPV4 + b"\0" * (LIMIT - 16 - len(IPV4))), Origin("192.0.2.1", 443)),
]

BROKEN = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\x16\x03\x01",
    b"proxy TCP4 192.0.2.1 198.51.100.1 40000 443\r\n",
    b"PROXY\r\n",
    b"PROXY \r\n",
    b"PROXY  TCP4 192.0.2.1 198.51.100.1 40000 443\r\n",
    b"PROXY\tTCP4 192.0.2.1 198.51.100.1 40000 443\r\n",
    b"PROXY TCP 192.0.2.1 198.51.100.1 40000 443\r\n",
    b"PROXY TCP5 192.0.2.1 198.51.100.1 40000 443\r\n",
    b"PROXY UDP4 192.0.2.1 198.51.100.1 40000 443\r\n",
    b"PROXY UNKNOWNS\r\n",
    b"PROXY UNKNOWN a\rb\r\n",
    b"PROXY UNKNOWN a\nb\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 40000\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 40000 443 \r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 40000 443 1\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 40000 65536\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 65536 443\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 40000 0443\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 40000 -1\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 40000 +443\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 4_0 443\r\n",
    b"PROXY TCP4 192.0.2.01 198.51.100.1 40000 443\r\n",
    b"PROXY TCP4 192.0.2.256 198.51.100.1 40000 443\r\n",
    b"PROXY TCP4 192.0.2 198.51.100.1 40000 443\r\n",
    b"PROXY TCP4 192.0.2.1 nowhere 40000 443\r\n",
    b"PROXY TCP4 2001:db8::1 2001:db8::2 40000 443\r\n",
    b"PROXY TCP6 192.0.2.1 198.51.100.1 40000 443\r\n",
    b"PROXY TCP6 2001:db8::1 198.51.100.1 40000 443\r\n",
    b"PROXY TCP6 fe80::1%eth0 2001:db8::2 40000 443\r\n",
    b"PROXY TCP6 [2001:db8::1] 2001:db8::2 40000 443\r\n",
    b"PROXY TCP4 192.0.2.1\xb2 198.51.100.1 40000 443\r\n",
    b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
    b"PROXY TCP4 " + b"1" * 200,
    SIGNATURE[:-1] + b"\r" + binary(0x11, IPV4)[12:],
    binary(0x11, IPV4, 0x11),
    binary(0x11, IPV4, 0x31),
    binary(0x11, IPV4, 0x22),
    binary(0x11, IPV4[:-1]),
    binary(0x11, b""),
    binary(0x21, IPV4),
    binary(0x12, IPV4),
    binary(0x22, IPV6),
    binary(0x41, IPV6),
    binary(0x13, IPV4),
    binary(0x31, b"/a"),
    binary(0x11, IPV4 + b"\0" * (LIMIT - 15 - len(IPV4))),
    binary(0x00, b"\0" * 65535),
    binary(0x00, b"\0" * 65535, 0x20),
]


@pytest.mark.parametrize(("data", "origin"), HEADERS)
def test_headers(data: bytes, origin: Origin | None) -> None:
    for size in range(len(data)):
        assert parse_header(data[:size]) is None
    assert parse_header(data) == Header(len(data), origin)
    for behind in (b"GET / HTTP/1.1\r\n", b"\x16\x03\x01", data, b"\r\n", b"\0"):
        assert parse_header(data + behind) == Header(len(data), origin)


@pytest.mark.parametrize("data", BROKEN)
def test_what_is_no_header(data: bytes) -> None:
    with pytest.raises(HeaderError):
        parse_header(data)
    for size in range(len(data)):
        try:
            assert parse_header(data[:size]) is None, "nothing of it is ever taken for a header"
        except HeaderError:
            continue


def test_the_longest_line_is_of_107_bytes() -> None:
    longest = b"PROXY UNKNOWN ".ljust(105, b"x") + b"\r\n"
    assert parse_header(longest) == Header(107, None)
    with pytest.raises(HeaderError):
        parse_header(longest[:-2] + b"x\r\n")
    assert parse_header(longest[:-2] + b"\r") is None


@given(st.binary(max_size=300) | st.binary(max_size=64).map(lambda end: b"PROXY TCP4 " + end + b"\r\n"))
def test_any_bytes_are_a_header_or_none(data: bytes) -> None:
    try:
        header = parse_header(data)
    except HeaderError:
        return
    assert header is None or 15 <= header.size <= len(data)


@given(st.binary(max_size=80), st.integers(0, 255), st.integers(0, 255))
def test_any_binary_header(block: bytes, command: int, family: int) -> None:
    data = binary(family, block, command)
    try:
        assert parse_header(data) == Header(len(data), getattr(parse_header(data), "origin", None))
    except HeaderError:
        return


def taken(pieces: list[bytes], behind: bytes) -> tuple[Header | None, bytes]:
    """The header that arrives in pieces, and what is still to be read after it."""

    async def run() -> tuple[Header | None, bytes]:
        loop = asyncio.get_running_loop()
        here, there = socket.socketpair()
        with here, there:
            here.setblocking(False)
            waiting = loop.create_task(take_header(loop, here))
            for piece in [*pieces[:-1], pieces[-1] + behind]:
                await asyncio.sleep(0)
                there.sendall(piece)
                for _ in range(3):
                    await asyncio.sleep(0)
            there.shutdown(socket.SHUT_WR)
            header = await asyncio.wait_for(waiting, 10)
            return header, here.recv(65536)

    return asyncio.run(run())


@pytest.mark.parametrize("data", [HEADERS[0][0], HEADERS[6][0], HEADERS[9][0], HEADERS[12][0]])
def test_exactly_the_header_is_taken_however_it_comes(data: bytes) -> None:
    for pieces in splits(data):
        assert taken(pieces, b"GET /") == (parse_header(data), b"GET /")


def test_a_header_that_ends_early() -> None:
    assert taken([b""], b"") == (None, b"")
    for data in (HEADERS[0][0], HEADERS[9][0]):
        with pytest.raises(HeaderError, match="ended within"):
            taken([data[:5], data[5:-1]], b"")
