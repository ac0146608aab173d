"""An exception that nobody foresaw, on a route whose bodies are changed either way: it costs one client."""

from __future__ import annotations

import gzip
from typing import Any, Final

from portico.config import Config

from .body_faults import check_faults, rough, smooth
from .case import Answer

_RULE: Final = {"json": {"rename": {"/a": "b"}, "set": {"/ip": "{client_ip}"}}}
_WRITTEN: Final[dict[str, Any]] = {
    "services": {"plain": {"url": "http://plain.test:81", "health_check": False, "retries": {"on": ["connect", 503]}}},
    "routes": [
        {
            "service": "plain",
            "path": "/api/plain",
            "policies": {
                "transform": {
                    "max_body": 64,
                    "request": [
                        _RULE,
                        {
                            "when": {"path": "~ ^/api/plain/(?P<n>[0-9]+)$"},
                            "path": "/{n}",
                            "query": {"set": {"n": "{n}"}},
                        },
                        {"when": {"methods": "PUT"}, "method": "POST", "headers": {"set": {"X-N": "{client_ip}"}}},
                    ],
                    "response": [_RULE, {"status": {404: 410}, "headers": {"set": {"X-M": "{route}"}}}],
                }
            },
        }
    ],
}
CONFIG: Final = Config.model_validate(_WRITTEN)
STEP: Final = 61
"""Every so many calls one is tried: all of them takes minutes. Who changes how they are contained sets it to 1."""

_TYPE: Final = "Content-Type: application/json\r\n"
_CODED: Final = gzip.compress(b'{"a":1}').decode("latin-1")
OK: Final = Answer(f'HTTP/1.1 200 OK\r\n{_TYPE}Content-Length: 7\r\n\r\n{{"a":1}}')
PIECES: Final = Answer(f'HTTP/1.1 200 OK\r\n{_TYPE}Transfer-Encoding: chunked\r\n\r\n7\r\n{{"a":1}}\r\n0\r\n\r\n')
CODED: Final = Answer(
    f"HTTP/1.1 200 OK\r\n{_TYPE}Content-Encoding: gzip\r\nContent-Length: {len(_CODED)}\r\n\r\n{_CODED}"
)
LARGE: Final = Answer(f"HTTP/1.1 200 OK\r\n{_TYPE}Transfer-Encoding: chunked\r\n\r\n50\r\n{' ' * 80}\r\n0\r\n\r\n")


def get(number: int) -> str:
    return f"GET /api/plain/{number} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip, dcb\r\n\r\n"


def put(number: int) -> str:
    return f'PUT /api/plain/{number} HTTP/1.1\r\nHost: a\r\n{_TYPE}Content-Length: 7\r\n\r\n{{"a":1}}'


def post(number: int, body: str = '{"a":1}') -> str:
    chunk = f"{len(body):x}\r\n{body}\r\n"
    return f"POST /api/plain/{number} HTTP/1.1\r\nHost: a\r\n{_TYPE}Transfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n"


def clients() -> list[str]:
    return [get(1) + put(2) + post(3), post(4, " " * 80) + get(5) + post(6), get(7) + get(8), post(9) + put(10)]


def test_a_fault_beside_rules() -> None:
    check_faults(smooth(clients(), [OK, PIECES, CODED, LARGE]), CONFIG, STEP, b'{"b":1')


def test_a_fault_beside_rules_and_failing_services() -> None:
    check_faults(rough([*clients(), post(11)], OK, PIECES), CONFIG, STEP)
