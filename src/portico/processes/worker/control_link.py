"""The connection of a worker to the control process, made anew when it is lost: the worker goes on with what it has."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from portico.core.tasks import endless
from portico.processes.ipc import channel

logger: Final = logging.getLogger("portico.worker")

_REPORT_INTERVAL: Final = 1.0
_RECONNECT_INTERVAL: Final = 0.2
_REPORT_PAUSE: Final = 10.0
"""Seconds without a report of totals after one that failed."""


class Ends(Protocol):
    """What has its own way to control while there is one."""

    def disconnected(self) -> None:
        """There is none any more."""


class ControlLink:
    """That of one worker, by its name.

    `connected` is called with each new connection, `ends` are notified when it is lost. `process_now` says whether it
    has dealt with a message at once; `process` gets the others, one after the other. `reports` are sent regularly.
    `ended` is called once everything that a lost connection brought is done.
    """

    def __init__(
        self,
        path: Path,
        worker: str,
        connected: Callable[[asyncio.StreamWriter], None],
        ends: Sequence[Ends],
        process_now: Callable[[channel.Message, asyncio.StreamWriter], bool],
        process: Callable[[channel.Message, asyncio.StreamWriter], Awaitable[None]],
        reports: Callable[[], Awaitable[Sequence[channel.Message]]],
        ended: Callable[[], None],
    ) -> None:
        self._path = path
        self._worker = worker
        self._connected = connected
        self._ends = ends
        self._process_now = process_now
        self._process = process
        self._reports = reports
        self._ended = ended
        self._writer: asyncio.StreamWriter | None = None

    def send(self, message: channel.Message) -> bool:
        """Send a message, if control is there; whether it is."""
        if self._writer is None:
            return False
        channel.send(self._writer, message)
        return True

    async def follow(self) -> None:
        """Do as control says, for ever."""
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(self._path)
            except OSError:
                await asyncio.sleep(_RECONNECT_INTERVAL)
                continue
            channel.send(writer, channel.Hello(self._worker))
            self._writer = writer
            self._connected(writer)
            await self._follow(reader, writer)
            await asyncio.sleep(_RECONNECT_INTERVAL)

    async def _follow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The same, until the connection ends."""
        reporting = endless(self._report_regularly(writer), "reports of totals")
        messages: asyncio.Queue[channel.Message] = asyncio.Queue()
        processing = endless(self._process_all(messages, writer), "doing as control says")
        try:
            while (message := await channel.receive(reader)) is not None:
                if not self._process_now(message, writer):
                    messages.put_nowait(message)
        except ValueError:
            logger.exception("the control process sent what is no message")
        except Exception:
            logger.exception("the connection to the control process failed")
        finally:
            self._writer = None
            for end in self._ends:
                end.disconnected()
            reporting.cancel()
            await messages.join()
            processing.cancel()
            self._ended()
            writer.close()

    async def _process_all(self, messages: asyncio.Queue[channel.Message], writer: asyncio.StreamWriter) -> None:
        while True:
            message = await messages.get()
            try:
                await self._process(message, writer)
            finally:
                messages.task_done()

    async def _report_regularly(self, writer: asyncio.StreamWriter) -> None:
        """Totals that control knows survive this process."""
        while True:
            pause = _REPORT_INTERVAL
            try:
                for report in await self._reports():
                    channel.send(writer, report)
            except Exception:
                logger.exception("this worker's totals could not be reported")
                pause = _REPORT_PAUSE
            await asyncio.sleep(pause)
