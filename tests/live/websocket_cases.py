"""What a WebSocket conformance suite asks, as data: the groups are those of the Autobahn test suite.

A script is what a client does in turn: bytes are sent as one TCP segment each, a number waits until that many frames
have come altogether, `FIN` and `RST` end the connection. When it is done the client answers a close frame, if it has
sent none, and listens until the end. The waits keep apart what a server may answer in either order.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Final, TypeAlias

from support.frames import BINARY, CLOSE, CONTINUATION, MASK, PING, PONG, TEXT, closing, encode, fragments

FIN: Final = "FIN"
RST: Final = "RST"
Step: TypeAlias = bytes | int | str

DEFLATE: Final = "permessage-deflate"
KIB: Final = 1024


@dataclass(frozen=True)
class Case:
    """`offers` are the extensions that the handshake offers."""

    name: str
    script: tuple[Step, ...]
    offers: str = ""


END: Final = closing(1000)
PLAIN: Final = encode(TEXT, b"plain")
LIPSUM: Final = "κόσμε: 日本語, żółw, 🦜 and words ".encode()


def text(size: int) -> bytes:
    return (b"0123456789abcdefghijklmnopqrstuvwxyz*+-/" * (size // 40 + 1))[:size]


def binary(size: int) -> bytes:
    return (bytes(range(256)) * (size // 256 + 1))[:size]


def chop(data: bytes, size: int) -> tuple[bytes, ...]:
    return tuple(data[at : at + size] for at in range(0, len(data), size))


def deflated(payload: bytes) -> bytes:
    """RFC 7692, section 7.2.1."""
    coder = zlib.compressobj(wbits=-15)
    return (coder.compress(payload) + coder.flush(zlib.Z_SYNC_FLUSH))[:-4]


def message(name: str, *frames: bytes | int, comes: int = 1, offers: str = "") -> Case:
    """Frames that are answered by `comes` frames, then an orderly end."""
    return Case(name, (*frames, comes, END), offers)


def failing(name: str, *frames: bytes | int, offers: str = "") -> Case:
    """An echo first, which shows that the connection was sound; then frames that a server ends it for."""
    return Case(name, (PLAIN, 1, *frames), offers)


_SIZES: Final = (0, 1, 125, 126, 127, 128, 65535, 65536, KIB * KIB)

FRAMING: Final = (
    *(message(f"1.1 text of {size}", encode(TEXT, text(size))) for size in _SIZES),
    *(message(f"1.2 binary of {size}", encode(BINARY, binary(size))) for size in _SIZES),
    *(
        message(f"1.1 text of {s} in pieces of {p}", *chop(encode(TEXT, text(s)), p))
        for s, p in ((128, 1), (65536, 997))
    ),
    *(
        message(f"1.2 binary of {s} in pieces of {p}", *chop(encode(BINARY, binary(s)), p))
        for s, p in ((126, 1), (65535, 7001), (KIB * KIB, 99_991))
    ),
    message("1.3 several frames in one segment", PLAIN * 5, comes=5),
    message("1.3 frames cut across segments", *chop(PLAIN * 5, 7), comes=5),
    message("1.4 a length longer than it need be", encode(TEXT, b"x", length_bytes=8)),
    failing("1.5 no mask", encode(TEXT, b"plain", mask=b"")),
    failing("1.5 a length beyond 63 bits", b"\x82\xff" + b"\xff" * 8 + MASK),
    failing("1.5 a length that no server takes", b"\x82\xff" + (1 << 40).to_bytes(8, "big") + MASK),
)

PINGS: Final = (
    *(message(f"2.{at} ping of {size}", encode(PING, binary(size))) for at, size in enumerate((0, 5, 124, 125), 1)),
    failing("2.5 ping of 126", encode(PING, binary(126))),
    message("2.6 ping byte by byte", *chop(encode(PING, binary(125)), 1)),
    message("2.7 pong nobody asked for", encode(PONG), encode(PONG, b"payload"), PLAIN),
    message("2.8 pong, then ping", encode(PONG, b"unasked") + encode(PING, b"asked")),
    message("2.10 ten pings", *(encode(PING, b"%d" % n) for n in range(10)), comes=10),
    message("2.11 ten pings in pieces", *chop(b"".join(encode(PING, b"%d" % n) for n in range(10)), 3), comes=10),
)

RESERVED_BITS: Final = (
    *(failing(f"3.{rsv} text with rsv {rsv}", encode(TEXT, b"small", rsv=rsv)) for rsv in range(1, 8)),
    *(failing(f"3.{rsv} {word} with rsv {rsv}", encode(opcode, b"", rsv=rsv)) for word, opcode, rsv in (
        ("ping", PING, 4), ("pong", PONG, 2), ("close", CLOSE, 1), ("binary", BINARY, 7),
    )),
)  # fmt: skip

RESERVED_OPCODES: Final = tuple(
    failing(f"4 opcode {opcode} with {size} bytes", encode(opcode, text(size)), PLAIN)
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
    for size in (0, 130)
)

_first, _middle, _last = fragments(TEXT, [b"first ", b"middle ", b"last"])
_ping: Final = encode(PING, b"between")

FRAGMENTATION: Final = (
    failing("5.1 ping in two fragments", *fragments(PING, [b"a", b"b"])),
    failing("5.2 pong in two fragments", *fragments(PONG, [b"a", b"b"])),
    message("5.3 text in two", *fragments(TEXT, [b"frag", b"ments"])),
    message("5.4 in one segment", b"".join(fragments(TEXT, [b"frag", b"ments"]))),
    message("5.5 byte by byte", *chop(b"".join(fragments(BINARY, [b"frag", b"ments"])), 1)),
    message("5.6 ping in between", _first, _ping, 1, _middle, _last, comes=2),
    message("5.7 ping in between, in pieces", *chop(_first + _ping, 3), 1, *chop(_middle + _last, 3), comes=2),
    failing("5.9 continuation of nothing", encode(CONTINUATION, b"lost"), PLAIN),
    failing("5.10 continuation of nothing, not the last", encode(CONTINUATION, b"lost", fin=False), PLAIN),
    failing("5.12 continuation behind a whole message", PLAIN, 2, encode(CONTINUATION, b"lost")),
    failing("5.15 continuation behind a fragmented one", *fragments(TEXT, [b"a", b"b"]), 2, encode(CONTINUATION, b"c")),
    failing("5.18 text inside text", _first, PLAIN),
    failing("5.18 binary fragment inside text", _first, encode(BINARY, b"x", fin=False)),
    message("5.19 five fragments and pings", _first, _middle, _ping, 1, _middle, _ping, 2, _middle, _last, comes=3),
    message("5.20 empty fragments", *fragments(TEXT, [b"", b"", b"in the middle", b"", b""])),
    message("5.21 fragments of every length", *fragments(BINARY, [binary(s) for s in (0, 1, 125, 126, 65535, 65536)])),
    message("5.22 a thousand fragments", *chop(b"".join(fragments(TEXT, [b"x"] * 1000)), 1400)),
)

_INVALID_UTF8: Final = {
    "lone continuation": b"\x80",
    "surrogate": b"\xed\xa0\x80",
    "overlong slash": b"\xc0\xaf",
    "overlong of three": b"\xe0\x80\xaf",
    "beyond the last": b"\xf4\x90\x80\x80",
    "five bytes": b"\xf8\x88\x80\x80\x80",
    "fe": b"\xfe",
    "ff": b"\xff",
    "cut short": b"\xce\xba\xe1\xbd",
    "in the middle": LIPSUM + b"\xed\xbf\xbf" + LIPSUM,
}
_VALID_UTF8: Final = {
    "last of one byte": b"\x7f",
    "first of two": b"\xc2\x80",
    "last of three": b"\xef\xbf\xbf",
    "noncharacter": b"\xef\xbf\xbe",
    "last of all": b"\xf4\x8f\xbf\xbf",
    "nul": b"\x00",
    "words": LIPSUM * 50,
}

UTF8: Final = (
    *(message(f"6 valid: {name}", encode(TEXT, data)) for name, data in _VALID_UTF8.items()),
    *(message(f"6 valid byte by byte: {name}", *chop(encode(TEXT, data[:200]), 1)) for name, data in _VALID_UTF8.items()
      if name != "words"),
    *(failing(f"6 invalid: {name}", encode(TEXT, data)) for name, data in _INVALID_UTF8.items()),
    *(failing(f"6 invalid in fragments: {name}", *fragments(TEXT, [data[:1], data[1:]]))
      for name, data in _INVALID_UTF8.items()),
    message("6 code points cut by fragments", *fragments(TEXT, chop(LIPSUM, 1))),
    message("6 code points cut by fragments and segments", *chop(b"".join(fragments(TEXT, chop(LIPSUM, 1))), 5)),
    message("6 what is no UTF-8 is binary", encode(BINARY, b"\xff\xfe\xed\xa0\x80")),
)  # fmt: skip

_GOOD_CODES: Final = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999)
_BAD_CODES: Final = (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)

CLOSING: Final = (
    *(Case(f"7.7 close {code}", (PLAIN, 1, closing(code))) for code in _GOOD_CODES),
    *(Case(f"7.9 close {code}", (PLAIN, 1, closing(code))) for code in _BAD_CODES),
    Case("7.1 close at once", (END,)),
    Case("7.1 close without a code", (encode(CLOSE),)),
    Case("7.1 close twice", (END + END,)),
    Case("7.1 data behind the close", (PLAIN, 1, END + PLAIN)),
    Case("7.1 ping behind the close", (PLAIN, 1, END, encode(PING))),
    Case("7.1 close inside a fragmented message", (_first, END, _last)),
    Case("7.3 a payload of one byte", (encode(CLOSE, b"\x03"),)),
    Case("7.3 a reason", (closing(1000, b"all done"),)),
    Case("7.3 a reason of 123 bytes", (closing(1000, text(123)),)),
    Case("7.3 a reason of 124 bytes", (closing(1000, text(124)),)),
    Case("7.3 a reason in pieces", chop(closing(3000, LIPSUM), 1)),
    Case("7.5 a reason that is no UTF-8", (closing(1000, b"\xce\xba\xed\xa0\x80"),)),
    Case("7.6 close in two fragments", tuple(fragments(CLOSE, [b"\x03", b"\xe8"]))),
    Case("7.8 the end without a close", (PLAIN, 1, FIN)),
    Case("7.8 the end inside a frame", (PLAIN, 1, PLAIN[:-2], FIN)),
    Case("7.8 the end inside a fragmented message", (PLAIN, 1, _first, FIN)),
    Case("7.8 a reset", (PLAIN, 1, RST)),
    Case("7.8 close and leave", (PLAIN, 1, END, FIN)),
)

LARGE: Final = (
    message("9.1 text of 4 MiB", *chop(encode(TEXT, text(4 << 20)), 1 << 18)),
    message("9.2 binary of 4 MiB", encode(BINARY, binary(4 << 20))),
    message("9.3 text of 256 KiB in fragments of 64", b"".join(fragments(TEXT, chop(text(1 << 18), 64)))),
    message("9.4 binary of 4 MiB in fragments of 256 KiB", *fragments(BINARY, chop(binary(4 << 20), 1 << 18))),
    message("9.5 text of 256 KiB in pieces of 1009", *chop(encode(TEXT, text(1 << 18)), 1009)),
    message("9.7 500 small messages", encode(TEXT, b"x" * 16) * 500, comes=500),
    message("9.8 100 messages of 16 KiB", *[encode(BINARY, binary(16384))] * 100, comes=100),
    failing("9.9 larger than the server takes", *chop(encode(BINARY, binary(6 << 20)), 1 << 18)),
)

_squeezed: Final = deflated(LIPSUM * 40)

COMPRESSED: Final = (
    message("12.1 offered, not used", PLAIN, offers=DEFLATE),
    message("12.2 text", encode(TEXT, _squeezed, rsv=4), offers=DEFLATE),
    message("12.3 the same twice", *[encode(TEXT, _squeezed, rsv=4)] * 2, comes=2, offers=DEFLATE),
    message("12.4 fragments", *fragments(TEXT, chop(_squeezed, 10), rsv=4), offers=DEFLATE),
    message("12.5 1 MiB of binary", encode(BINARY, deflated(binary(1 << 20)), rsv=4), offers=DEFLATE),
    message("12.6 in pieces", *chop(encode(BINARY, deflated(binary(70_000)), rsv=4), 3), offers=DEFLATE),
    message("12.7 a ping in between", *fragments(TEXT, chop(_squeezed, 20), rsv=4)[:1], _ping, 1,
            *fragments(TEXT, chop(_squeezed, 20), rsv=4)[1:], comes=2, offers=DEFLATE),
    message("13.1 no takeover", *[encode(TEXT, _squeezed, rsv=4)] * 2, comes=2,
            offers=f"{DEFLATE}; client_no_context_takeover; server_no_context_takeover"),
    message("13.2 a small window", encode(TEXT, _squeezed, rsv=4), offers=f"{DEFLATE}; server_max_window_bits=10"),
    message("13.3 several offers", encode(TEXT, _squeezed, rsv=4), offers=f"x-unknown, {DEFLATE}; nonsense, {DEFLATE}"),
    failing("13.4 what cannot be inflated", encode(TEXT, b"\xff" * 20, rsv=4), offers=DEFLATE),
    # in one piece: what a server says depends on how much of it has come
    failing("13.5 a continuation with rsv 4", b"".join((*fragments(TEXT, [_squeezed[:5]], rsv=4),
            encode(CONTINUATION, _squeezed[5:], rsv=4))), offers=DEFLATE),
    failing("13.6 a compressed ping", encode(PING, _squeezed[:100], rsv=4), offers=DEFLATE),
)  # fmt: skip

CASES: Final = {
    case.name: case
    for group in (
        *(FRAMING, PINGS, RESERVED_BITS, RESERVED_OPCODES, FRAGMENTATION, UTF8, CLOSING, LARGE),
        COMPRESSED,
    )
    for case in group
}
