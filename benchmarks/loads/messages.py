"""WebSocket messages that come back as they went: what does a pair of them cost in a gateway?"""

from __future__ import annotations

import asyncio
import base64
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import cast

import uvloop

from benchmarks.address import Address
from benchmarks.load import Outcome, generate, module, report
from benchmarks.request import Request, token

_PAYLOAD = b'{"price":"1012.50","at":1735689600}'
_TEXT = 0x81  # a whole text message in one frame (RFC 6455, section 5.2)
_ECHO = bytes([_TEXT, len(_PAYLOAD)]) + _PAYLOAD
_TIMEOUT = 5.0  # seconds for all connections to be open


@dataclass(frozen=True)
class Messages:
    """On each connection one message is under way at a time."""

    request: Request
    connections: int = 32

    def run(self, address: Address, seconds: float, directory: Path) -> Outcome:
        handshake = directory / "handshake.txt"
        handshake.write_bytes(self._handshake())
        return generate(module("messages", address.port, seconds, self.connections, handshake), seconds)

    def _handshake(self) -> bytes:
        fields = self.request.fields(token()) | {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return f"GET {self.request.target('0')} HTTP/1.1\r\n{head}\r\n".encode()


class _Client(asyncio.Protocol):
    """Sends the same frame again and again: making new ones would cost the generator, not the gateway."""

    def __init__(self, handshake: bytes, opened: Callable[[], None]) -> None:
        self.handshake = handshake
        self.opened = opened
        self.frame = _masked(os.urandom(4))
        self.received = b""
        self.is_open = self.is_running = self.is_broken = False
        self.latencies: list[float] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its bases
        self.transport.write(self.handshake)

    def connection_lost(self, _error: Exception | None) -> None:
        self.is_broken = True

    def data_received(self, data: bytes) -> None:
        self.received += data
        if self.is_open:
            self._read_echo()
        elif b"\r\n\r\n" in self.received:
            self.is_open = self.received.startswith(b"HTTP/1.1 101 ")
            self.is_broken = not self.is_open
            self.received = b""
            self.opened()

    def send(self) -> None:
        """The next message."""
        self.is_running = True
        self.sent_at = perf_counter()
        self.transport.write(self.frame)

    def _read_echo(self) -> None:
        if len(self.received) < len(_ECHO):
            return
        self.is_broken |= self.received != _ECHO
        self.received = b""
        if self.is_running:
            self.latencies.append(perf_counter() - self.sent_at)
            self.send()


def _masked(key: bytes) -> bytes:
    payload = bytes(byte ^ key[index % 4] for index, byte in enumerate(_PAYLOAD))
    return bytes([_TEXT, 0x80 | len(payload)]) + key + payload


async def _main(port: int, seconds: float, connections: int, handshake: bytes) -> None:
    loop = asyncio.get_running_loop()
    waiting, all_open = connections, loop.create_future()

    def opened() -> None:
        nonlocal waiting
        waiting -= 1
        if not waiting:
            all_open.set_result(None)

    clients = [_Client(handshake, opened) for _ in range(connections)]
    for client in clients:
        await loop.create_connection(lambda client=client: client, "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.wait_for(all_open, _TIMEOUT)
    began = perf_counter()
    for client in clients:
        if client.is_open:
            client.send()
    await asyncio.sleep(seconds)
    took = perf_counter() - began
    for client in clients:
        client.is_running = False
    report([each for client in clients for each in client.latencies], took, broken=sum(c.is_broken for c in clients))


if __name__ == "__main__":
    uvloop.run(_main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]).read_bytes()))
