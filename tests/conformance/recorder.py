"""A service that keeps what it gets, per client, and answers each strictly valid request with a small 200.

The client's address, which the gateway reports, shows whose request it is: every case has an address of its own. A
request without one came out of the request before it on its connection.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field

from support.backend import Connection

from .strict import Head, NotStrictError, take_request

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
_REPORTED = re.compile(rb"\r\nx-forwarded-for: (?:[^\r\n]*, )?([0-9.]+)\r\n", re.IGNORECASE)


@dataclass
class Arrived:
    """What reached the service from one client address."""

    requests: list[Head] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    started: int = 0
    """Requests of which a whole head arrived."""


class Recorder:
    """The script of the service; what came is asked for by client address."""

    def __init__(self) -> None:
        self.arrived: dict[str, Arrived] = {}
        self._lock = threading.Lock()

    def of(self, address: str) -> Arrived:
        """What a client's requests brought here."""
        with self._lock:
            return self.arrived.setdefault(address, Arrived())

    def __call__(self, connection: Connection) -> None:
        address, pending, is_noted = "", b"", False
        while data := connection.receive():
            pending += data
            while pending:
                if not is_noted and b"\r\n\r\n" in pending:
                    is_noted = True
                    address = _client_of(pending) or address
                    self.of(address).started += 1
                try:
                    found = take_request(pending)
                except NotStrictError as error:
                    self.of(address).faults.append(f"{error}: {pending[:300]!r}")
                    return
                if found is None:
                    break
                request, pending = found
                is_noted = False
                self.of(address).requests.append(request)
                connection.send(ANSWER if request.method == "HEAD" else ANSWER + b"ok")


def _client_of(data: bytes) -> str:
    """Whom the gateway reports in the head that is there; empty where it reports nobody."""
    head, _, _ = data.partition(b"\r\n\r\n")
    reported = _REPORTED.search(head + b"\r\n")
    return reported[1].decode() if reported else ""
