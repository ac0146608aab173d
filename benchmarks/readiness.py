"""Whether a server is up, and what it answers when asked once."""

from __future__ import annotations

import http.client
import ssl
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.address import Address
from benchmarks.children import output_file
from benchmarks.request import SECRET, Request, token

_START_WITHIN = 20.0  # seconds


class DidNotStart(Exception):  # noqa: N818 - it reads as what happened
    """A process ended or never answered; the text is what it printed."""


@dataclass(frozen=True)
class Answer:
    """A response's status and body, and the names of its fields in lower case."""

    status: int
    body: bytes
    fields: frozenset[str]


def ask(address: Address, request: Request, secret: str = SECRET) -> Answer:
    """Sends a scenario's request once, with a token signed by `secret`."""
    headers = request.fields(token(secret), sequence="0")
    target = request.target("0", route="0")
    return _exchange(address, request.method, target, headers, request.payload().encode() or None)


def wait_until_ready(process: subprocess.Popen[bytes], address: Address, path: str, directory: Path) -> None:
    """Returns once `path` answers 200; raises DidNotStart."""

    def is_ready() -> bool:
        if process.poll() is not None:
            raise DidNotStart(f"exit code {process.returncode}\n{_output(directory)}")
        try:
            return _exchange(address, "GET", path, {"Authorization": f"Bearer {token()}"}).status == 200
        except (OSError, http.client.HTTPException):
            return False

    if not comes_true(is_ready, _START_WITHIN):
        raise DidNotStart(f"{path} did not answer 200 within {_START_WITHIN:.0f} s\n{_output(directory)}")


def _exchange(address: Address, method: str, target: str, headers: dict[str, str], body: bytes | None = None) -> Answer:
    connection = _connection(address)
    try:
        connection.request(method, target, body, headers)
        response = connection.getresponse()
        return Answer(response.status, response.read(), frozenset(name.lower() for name in response.headers))
    finally:
        connection.close()


def _connection(address: Address) -> http.client.HTTPConnection:
    if not address.is_secure:
        return http.client.HTTPConnection("127.0.0.1", address.port, timeout=10)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # it signed itself
    return http.client.HTTPSConnection("127.0.0.1", address.port, timeout=10, context=context)


def comes_true(question: Callable[[], bool], within: float) -> bool:
    """Asks until the answer is yes, for `within` seconds at most."""
    deadline = time.monotonic() + within
    while not question():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _output(directory: Path) -> str:
    return output_file(directory).read_text(errors="replace")[-4000:].strip()
