"""Whether a server is up, and what it answers when asked once."""

from __future__ import annotations

import http.client
import ssl
from dataclasses import dataclass

from benchmarks.address import Address
from benchmarks.request import Request, token
from benchmarks.tokens import authorization
from portico.core.codings import codings_of, decode
from support.process import Process

_MOST = 64 << 20  # bytes of a body


@dataclass(frozen=True)
class Answer:
    """A response's status and body, without its content codings, and the names of its fields in lower case."""

    status: int
    body: bytes
    fields: frozenset[str]


def ask(address: Address, request: Request, *, forged: bool = False) -> Answer:
    """Sends a scenario's request once, with its token or a forged one."""
    headers = request.fields(authorization(request, forged=forged), sequence="0")
    target = request.target("0", route="0")
    return _exchange(address, request.method, target, headers, request.payload().encode() or None)


def wait_until_ready(process: Process, address: Address, path: str) -> None:
    """Returns once `path` answers 200; raises DidNotStart."""

    def is_ready() -> bool:
        try:
            return _exchange(address, "GET", path, {"Authorization": f"Bearer {token()}"}).status == 200
        except (OSError, http.client.HTTPException):
            return False

    process.wait_until_ready(is_ready)


def _exchange(address: Address, method: str, target: str, headers: dict[str, str], body: bytes | None = None) -> Answer:
    connection = _connection(address)
    try:
        connection.request(method, target, body, headers)
        response = connection.getresponse()
        codings = codings_of([response.getheader("Content-Encoding", "").encode()])
        body = decode(response.read(), codings, _MOST)
        return Answer(response.status, body, frozenset(name.lower() for name in response.headers))
    finally:
        connection.close()


def _connection(address: Address) -> http.client.HTTPConnection:
    if not address.is_secure:
        return http.client.HTTPConnection("127.0.0.1", address.port, timeout=10)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # it signed itself
    return http.client.HTTPSConnection("127.0.0.1", address.port, timeout=10, context=context)
