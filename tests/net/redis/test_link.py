"""The connection to Redis for scripts, with bytes in place of a server."""

from __future__ import annotations

from typing import Any

import hiredis
import pytest

from portico.net.redis.link import RedisLink, Script


class Writer:
    """Stands in for a stream's writer, and for its transport."""

    def __init__(self) -> None:
        self.transport = self
        self.sent = b""
        self.is_aborted = False

    def write(self, data: bytes) -> None:
        self.sent += data

    def abort(self) -> None:
        self.is_aborted = True


def open_link() -> tuple[RedisLink, Writer, list[Exception]]:
    link, writer = RedisLink(None), Writer()
    losses: list[Exception] = []
    link.lost = losses.append
    link._writer, link._reader = writer, hiredis.Reader()
    return link, writer, losses


def test_an_answer_that_cannot_be_used_ends_the_connection_and_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    """Pending callers get the loss reported; nobody would catch an exception of the transport's."""
    link, writer, losses = open_link()
    replies: list[Any] = []

    def use(reply: Any) -> None:
        replies.append(reply[0] / 1)

    for _ in range(3):
        link.run(Script(b"return 1"), [b""], [b""], 1, use)
    link.data_received(b"*1\r\n:5\r\n:7\r\n*1\r\n:6\r\n")
    assert replies == [5]
    assert len(losses) == 1
    assert writer.is_aborted
    assert caplog.records[0].exc_info
