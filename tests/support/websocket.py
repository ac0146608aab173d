"""Both ends of a WebSocket for these tests: a blocking client and service made of raw frames, and real echo servers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

import uvicorn
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from portico.testing.loop_thread import LoopThread

from .backend import Connection
from .client import TIMEOUT, Wire, request
from .frames import ACCEPT, CLOSE, KEY, PING, PONG, Frame, decode, encode, missing
from .messages import Message, Reader
from .sockets import reset_at_close

UPGRADE = ("Connection: Upgrade", "Upgrade: websocket")
OFFER = (*UPGRADE, "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {KEY}")
SWITCHING = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
).encode()

MAX_SIZE = 4 << 20
"""The largest message that the echo servers take."""


def handshake(target: str, *lines: str) -> bytes:
    return request("GET", target, *OFFER, *lines)


def read_frame(reader: Reader) -> Frame | None:
    """The next frame; None where the connection ended, a reset included, even in the middle of one."""
    data = b""
    try:
        while size := missing(data):
            piece = reader.read(size)
            if not piece:
                return None
            data += piece
    except ConnectionError:
        return None
    return decode(data)


class WebSocket(Wire):
    """A client that has done its handshake; `answer` is the 101."""

    def __init__(self, port: int, target: str, *lines: str, sock: socket.socket | None = None) -> None:
        super().__init__(port, sock)
        self.answer = self.ask("GET", target, *OFFER, *lines)
        assert self.answer.status == 101, self.answer

    def say(self, opcode: int, payload: bytes = b"", **how: Any) -> None:
        self.send(encode(opcode, payload, **how))

    def next_frame(self) -> Frame | None:
        return read_frame(self.file)


# ---- a service of raw frames, for the scripts of a `Backend`


def accept(connection: Connection) -> Message:
    """The service's part of the handshake; the client's key is `KEY`. Raises ValueError where there is none."""
    asked = connection.next_request()
    if asked is None or asked.get("sec-websocket-key") != KEY:
        raise ValueError("no handshake")
    connection.send(SWITCHING)
    return asked


def next_frame(connection: Connection) -> Frame | None:
    return read_frame(connection.reader)


def say(connection: Connection, opcode: int, payload: bytes = b"", **how: Any) -> None:
    connection.send(encode(opcode, payload, mask=b"", **how))


def echo(connection: Connection) -> None:
    """Every frame as it came, pongs for pings, until either side has had enough."""
    accept(connection)
    while (frame := next_frame(connection)) is not None:
        say(connection, PONG if frame.opcode == PING else frame.opcode, frame.payload, fin=frame.fin, rsv=frame.rsv)
        if frame.opcode == CLOSE:
            return


# ---- servers as they are in use


def _is_spoken(subprotocol: str) -> bool:
    return subprotocol.startswith("spoken")


async def _echo_websockets(connection: ServerConnection) -> None:
    with contextlib.suppress(ConnectionClosed):
        async for data in connection:
            await connection.send(data)


async def _echo_asgi(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "websocket"
    while (event := await receive())["type"] != "websocket.disconnect":
        if event["type"] == "websocket.connect":
            await send(
                {"type": "websocket.accept", "subprotocol": next(filter(_is_spoken, scope["subprotocols"]), None)}
            )
        else:
            data = {name: event[name] for name in ("text", "bytes") if event.get(name) is not None}
            with contextlib.suppress(OSError):
                await send({"type": "websocket.send", **data})


class EchoServers(LoopThread):
    """Echo servers by name in an event loop of their own, in which `run` runs what a test wants.

    `services` are they, for a configuration.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ports: dict[str, int] = {}
        self._uvicorn: uvicorn.Server | None = None

    @property
    def services(self) -> dict[str, dict[str, Any]]:
        return {n: {"url": f"http://127.0.0.1:{p}", "health_check": False} for n, p in self.ports.items()}

    async def opening(self) -> None:
        self._server = await serve(
            *(_echo_websockets, "127.0.0.1", 0),
            max_size=MAX_SIZE,
            ping_interval=None,
            close_timeout=1,
            select_subprotocol=lambda _, offered: next(filter(_is_spoken, offered), None),
        )
        self.ports["websockets"] = next(iter(self._server.sockets)).getsockname()[1]
        config = uvicorn.Config(
            *(_echo_asgi, "127.0.0.1", 0),
            ws="websockets-sansio",
            ws_max_size=MAX_SIZE,
            ws_ping_interval=None,
            lifespan="off",
            log_config=None,
            timeout_graceful_shutdown=1,
        )
        self._uvicorn = uvicorn.Server(config)
        self._serving = asyncio.create_task(self._uvicorn.serve())
        while not self._uvicorn.started:
            await asyncio.sleep(0.01)
        self.ports["uvicorn"] = self._uvicorn.servers[0].sockets[0].getsockname()[1]

    async def closing(self) -> None:
        self._server.close()
        assert self._uvicorn is not None
        self._uvicorn.should_exit = True
        await self._serving
        await self._server.wait_closed()


class Listener:
    """A client in an event loop: sends a script's bytes and keeps every frame that comes."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.closed = False
        self._came = asyncio.Event()

    @classmethod
    async def talk(cls, port: int, target: str, script: tuple[bytes | int | str, ...], offers: str = "") -> list[Frame]:
        """The frames that a script, as in `websocket_cases`, gets until the server ends the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
        own = cls()
        try:
            writer.write(handshake(target, *([f"Sec-WebSocket-Extensions: {offers}"] if offers else [])))
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), TIMEOUT)
            assert head.startswith(b"HTTP/1.1 101 "), head
            listening = asyncio.create_task(own._listen(reader, writer))
            await asyncio.wait_for(own._say(writer, script), TIMEOUT)
            await asyncio.wait_for(listening, TIMEOUT)
        finally:
            writer.transport.abort()
        return own.frames

    async def _say(self, writer: asyncio.StreamWriter, script: tuple[bytes | int | str, ...]) -> None:
        for step in script:
            if isinstance(step, int):
                while len(self.frames) < step and not self.closed:
                    self._came.clear()
                    await self._came.wait()
            elif step == "FIN":
                writer.write_eof()
            elif step == "RST":
                reset_at_close(writer.get_extra_info("socket"))
                writer.transport.abort()
            else:
                assert isinstance(step, bytes)
                writer.write(step)
                with contextlib.suppress(ConnectionError):
                    await writer.drain()
                await asyncio.sleep(0)

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = b""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                if size := missing(data):
                    data += await reader.readexactly(size)
                    continue
                frame, data = decode(data), b""
                self.frames.append(frame)
                self._came.set()
                if frame.opcode == CLOSE and writer.can_write_eof() and not writer.transport.is_closing():
                    with contextlib.suppress(RuntimeError):
                        writer.write(encode(CLOSE, frame.payload))
        self.closed = True
        self._came.set()
