"""Messages between control and workers: frames that survive any cutting."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from portico.processes.ipc import channel
from portico.processes.ipc.channel import Collect, HealthChange, Hello, Message, NewSnapshot, Report

MESSAGES: list[Message] = [
    Hello("0-123"),
    Report(b'{"series": []}'),
    Report(b"\x00" * 100_000, 7),
    Collect(7),
    NewSnapshot(3, b"\xff" * 70_000, [("gemini", "http://a:1", True)]),
    HealthChange([("gemini", "http://a:1", False), ("atc", "http://b:1", True)]),
    HealthChange([]),
]


class FakeWriter:
    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data


def sent(*messages: Message) -> bytes:
    writer = FakeWriter()
    for message in messages:
        channel.send(cast(asyncio.StreamWriter, writer), message)
    return writer.written


def received(*pieces: bytes) -> list[Message | None]:
    """What comes out of these reads, up to the end of the stream."""

    async def receive() -> list[Message | None]:
        reader = asyncio.StreamReader()
        for piece in pieces:
            reader.feed_data(piece)
        reader.feed_eof()
        messages: list[Message | None] = []
        while not messages or messages[-1] is not None:
            messages.append(await channel.receive(reader))
        return messages

    return asyncio.run(receive())


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_arrives_as_it_was(message: Message) -> None:
    data = sent(message)
    assert int.from_bytes(data[:4], "big") == len(data) - 4
    assert received(data) == [message, None]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(MESSAGES), max_size=4), st.lists(st.integers(1, 200_000), max_size=6))
def test_messages_arrive_in_order_however_they_are_cut(messages: list[Message], cuts: list[int]) -> None:
    data = sent(*messages)
    marks = [0, *sorted({cut for cut in cuts if cut < len(data)}), len(data)]
    pieces = [data[a:b] for a, b in pairwise(marks)]
    assert received(*pieces) == [*messages, None]


@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, 20])
def test_a_peer_that_dies_in_the_middle_of_a_message_has_gone(length: int) -> None:
    assert received(sent(Hello("0-123"))[:length] if length else b"") == [None]


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x00\x00\x00",
        b"\x00\x00\x00\x01\xc1",
        b"\x00\x00\x00\x02\x80\x00",
        b"\x00\x00\x00\x05hello",
        b"\xff\xff\xff\xff",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_message_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="channel"):
        received(data)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_what_is_sent_to_a_peer_that_is_gone_is_lost_without_a_word(run: Any, tmp_path: Path) -> None:
    """The reader of the channel would end over it: uvloop raises once it has closed the socket."""

    async def play() -> None:
        async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        path = str(tmp_path / "channel")
        server = await asyncio.start_unix_server(leave, path)
        reader, writer = await asyncio.open_unix_connection(path)
        assert await channel.receive(reader) is None
        writer.transport.abort()
        await writer.wait_closed()
        try:
            channel.send(writer, Hello("0-123"))
        finally:
            server.close()

    run(play())
