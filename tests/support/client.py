"""A client that sends the given bytes and nothing else."""

from __future__ import annotations

import socket
from typing import ClassVar

from .closing import Closing
from .messages import Message, read_response
from .sockets import connected, reset_at_close

TIMEOUT = 20.0
"""Seconds after which something that must happen is taken not to happen."""


class Wire(Closing):
    """One connection; with a small `receive_buffer` the kernel takes little of what is not read."""

    TIMEOUT: ClassVar[float] = TIMEOUT

    def __init__(self, port: int, sock: socket.socket | None = None, *, receive_buffer: int = 0) -> None:
        self.socket = sock or connected(port, self.TIMEOUT, receive_buffer)
        self.socket.settimeout(self.TIMEOUT)
        self.file = self.socket.makefile("rb")

    def close(self) -> None:
        self.file.close()
        self.socket.close()

    def reset(self) -> None:
        """Close with a RST."""
        reset_at_close(self.socket)
        self.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self, method: str = "GET") -> Message:
        return read_response(self.file, method)

    def ask(self, method: str, target: str, *lines: str, body: bytes | None = None) -> Message:
        """Send one request and read its response."""
        self.send(request(method, target, *lines, body=body))
        return self.receive(method)

    def rest(self) -> bytes:
        """Everything until the other side closes; a reset counts as the end."""
        pieces = []
        try:
            while data := self.file.read1(65536):
                pieces.append(data)
        except ConnectionResetError:
            pass
        return b"".join(pieces)


def request(method: str, target: str, *lines: str, body: bytes | None = None, host: str = "gateway.test") -> bytes:
    """The bytes of a request; `body` brings its Content-Length, unless `lines` say otherwise."""
    own = [f"{method} {target} HTTP/1.1"]
    if not any(line.lower().startswith("host:") for line in lines):
        own.append(f"Host: {host}")
    if body is not None:
        own.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*own, *lines, "", ""]).encode("latin-1") + (body or b"")


def ask(port: int, method: str, target: str, *lines: str, body: bytes | None = None) -> Message:
    """One request on a connection of its own."""
    with Wire(port) as wire:
        return wire.ask(method, target, *lines, body=body)
