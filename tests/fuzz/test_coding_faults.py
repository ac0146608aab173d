"""An exception that nobody foresaw, on a route that compresses responses and decompresses requests: one client pays."""

from __future__ import annotations

import gzip
from typing import Any, Final

from portico.config import Config

from .body_faults import check_faults, rough, smooth
from .case import Answer

_SERVICE: Final = {"url": "http://plain.test:81", "health_check": False, "retries": {"on": ["connect", 503]}}
_WRITTEN: Final[dict[str, Any]] = {
    "services": {"plain": _SERVICE, "next": {**_SERVICE, "url": "http://next.test:81"}},
    "routes": [
        {
            "path": "/api/plain",
            "split": [{"service": "plain", "weight": 99.99}, {"service": "next", "weight": 0, "headers": {"X-N": "1"}}],
            "sticky": {"header": "X-User"},
            "policies": {"compress": {"min_size": 1}, "decompress": True, "cache": {"ttl": 60}},
        },
        {"path": "/api/split", "split": [{"service": "plain", "weight": 1}, {"service": "next", "weight": 1}]},
    ],
}
CONFIG: Final = Config.model_validate(_WRITTEN)
STEP: Final = 37
"""Every so many calls one is tried: all of them takes minutes. Who changes how they are contained sets it to 1."""

_FIELDS: Final = 'Content-Type: text/html\r\nETag: "a"\r\n'
_TEXT: Final = "all work " * 20
_CODED: Final = gzip.compress(b"all play").decode("latin-1")
OK: Final = Answer(f"HTTP/1.1 200 OK\r\n{_FIELDS}Content-Length: {len(_TEXT)}\r\n\r\n{_TEXT}")
PIECES: Final = Answer(
    f"HTTP/1.1 200 OK\r\n{_FIELDS}Transfer-Encoding: chunked\r\n\r\n{len(_TEXT):x}\r\n{_TEXT}\r\n0\r\n\r\n"
)
NOTHING: Final = Answer(f"HTTP/1.1 200 OK\r\n{_FIELDS}Content-Length: 0\r\n\r\n")


def get(number: int, *lines: str) -> str:
    own = "".join(f"{line}\r\n" for line in lines)
    return f"GET /api/plain/{number} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: br, gzip\r\n{own}\r\n"


def put(number: int) -> str:
    head = f"PUT /api/plain/{number} HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nAccept-Encoding: zstd\r\n"
    return f"{head}Content-Length: {len(_CODED)}\r\n\r\n{_CODED}"


def post(number: int) -> str:
    head = f"POST /api/plain/{number} HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nX-User: anna\r\n"
    chunks = "".join(f"{len(piece):x}\r\n{piece}\r\n" for piece in (_CODED[:9], _CODED[9:]))
    return f"{head}Transfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"


def clients() -> list[str]:
    tagged = get(1, 'If-None-Match: W/"b-br"', "If-Range: Mon, 01 Jan 2024 00:00:00 GMT", "Range: bytes=9-")
    split = get(7).replace("plain", "split")
    return [get(1) + put(2) + post(3), post(4) + tagged + get(5), get(1) + split, put(8) + post(9)]


def test_a_fault_beside_codings() -> None:
    check_faults(smooth(clients(), [OK, PIECES, NOTHING, PIECES]), CONFIG, STEP, b"\r\nContent-Encoding: ")


def test_a_fault_beside_codings_and_failing_services() -> None:
    check_faults(rough([*clients(), post(11)], OK, PIECES), CONFIG, STEP)
