"""HTTP/1.1 messages read byte by byte, strictly: what both the client and the backend of these tests use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol


class CutShortError(Exception):
    """The connection ended in the middle of a message."""


class Reader(Protocol):
    """The reading half of a socket's file."""

    def read(self, size: int, /) -> bytes | None: ...
    def readline(self) -> bytes: ...


@dataclass
class Message:
    """A request or a response with every byte as it came."""

    start: str
    fields: list[tuple[str, str]]
    head: bytes
    body: bytes = b""
    chunks: list[bytes] = field(default_factory=list)
    """The pieces of a chunked body, as they were cut."""

    @property
    def status(self) -> int:
        return int(self.start.split(" ")[1])

    @property
    def method(self) -> str:
        return self.start.split(" ")[0]

    @property
    def target(self) -> str:
        return self.start.split(" ")[1]

    def get(self, name: str) -> str | None:
        """The one value of a field; None where it is absent, an AssertionError where it is doubled."""
        values = self.all(name)
        assert len(values) < 2, f"{name} is there {len(values)} times"
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        return [value for own, value in self.fields if own.lower() == name.lower()]

    def json(self) -> Any:
        import json

        return json.loads(self.body)

    @property
    def keeps_alive(self) -> bool:
        connection = (self.get("connection") or "").lower()
        return "keep-alive" in connection if "HTTP/1.0" in self.start else "close" not in connection


def read_head(reader: Reader) -> Message | None:
    """A start line and fields; None where the connection ended before the first byte."""
    lines: list[bytes] = []
    while True:
        line = reader.readline()
        if not line and not lines:
            return None
        if not line.endswith(b"\r\n"):
            raise CutShortError(b"".join([*lines, line]))
        lines.append(line)
        if line == b"\r\n":
            break
    fields = []
    for line in lines[1:-1]:
        name, colon, value = line.decode("latin-1").partition(":")
        assert colon, line
        fields.append((name, value.strip()))
    return Message(lines[0].decode("latin-1").rstrip("\r\n"), fields, b"".join(lines))


def read_exactly(reader: Reader, size: int) -> bytes:
    data = reader.read(size) or b""
    if len(data) < size:
        raise CutShortError(data)
    return data


def read_chunks(reader: Reader) -> Iterator[bytes]:
    """The pieces of a chunked body, each as it arrives."""
    while True:
        line = reader.readline()
        if not line.endswith(b"\r\n"):
            raise CutShortError(line)
        size = int(line.split(b";")[0], 16)
        if size:
            yield read_exactly(reader, size)
            assert read_exactly(reader, 2) == b"\r\n"
            continue
        while (line := reader.readline()) != b"\r\n":
            if not line:
                raise CutShortError(line)
        return


def read_request(reader: Reader) -> Message | None:
    """A whole request; None where the client closed instead."""
    message = read_head(reader)
    if message is not None:
        read_request_body(reader, message)
    return message


def read_request_body(reader: Reader, message: Message) -> None:
    if message.get("transfer-encoding") == "chunked":
        message.chunks = list(read_chunks(reader))
        message.body = b"".join(message.chunks)
    else:
        message.body = read_exactly(reader, int(message.get("content-length") or 0))


def read_response(reader: Reader, method: str = "GET") -> Message:
    """A whole response to a request of this method. Raises CutShortError."""
    message = read_head(reader)
    if message is None:
        raise CutShortError(b"")
    if method == "HEAD" or message.status < 200 or message.status in (204, 304):
        return message
    if message.get("transfer-encoding") == "chunked":
        message.chunks = list(read_chunks(reader))
        message.body = b"".join(message.chunks)
    elif (length := message.get("content-length")) is not None:
        message.body = read_exactly(reader, int(length))
    else:
        message.body = reader.read(-1) or b""
    return message
