"""Asking name servers: those that the system is configured with (`resolv.conf(5)`), or another."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from portico.net.dns.messages import Answer, MessageError, Record, RecordType, answer_to, question

RESOLV_CONF: Final = Path("/etc/resolv.conf")
_TIMEOUT: Final = 2.0
"""Seconds for one answer."""
_ROUNDS: Final = 2
_PORT: Final = 53
_MOST_DOTS: Final = 15

Server: TypeAlias = tuple[str, int]
"""Address and port."""


class LookUpError(Exception):
    """No name server gave an answer; the message says why."""


@dataclass(frozen=True, slots=True)
class ResolverSettings:
    """Which servers are asked, and which names a name may be short for."""

    servers: tuple[Server, ...]
    search: tuple[str, ...] = ()
    dots: int = 1

    def names(self, name: str) -> list[str]:
        """The names to ask for in their order, until one has records."""
        if name.endswith("."):
            return [name]
        longer = [f"{name}.{domain.strip('.')}" for domain in self.search if domain.strip(".")]
        return [name, *longer] if name.count(".") >= self.dots else [*longer, name]


def system_settings(file: Path = RESOLV_CONF) -> ResolverSettings:
    """Those of the system; without a file, the server is at this host."""
    try:
        text = file.read_text(errors="replace")
    except OSError:
        text = ""
    servers: list[Server] = []
    search: tuple[str, ...] = ()
    dots = 1
    for key, *values in filter(None, (line.partition("#")[0].split() for line in text.splitlines())):
        if key == "nameserver" and values:
            servers.append((values[0], _PORT))
        elif key in ("search", "domain"):
            search = tuple(values)
        elif key == "options":
            dots = max((min(int(each[6:]), _MOST_DOTS) for each in values if _is_dots(each)), default=dots)
    return ResolverSettings(tuple(servers) or (("127.0.0.1", _PORT),), search, dots)


async def look_up_records(name: str, kind: RecordType, settings: ResolverSettings) -> Sequence[Record]:
    """The records of a name, or of the first that it is short for and that has any. Raises LookUpError."""
    problem: LookUpError | None = None
    for each in settings.names(name):
        try:
            if records := await _records(each, kind, settings.servers):
                return records
        except LookUpError as error:
            problem = error
    if problem is not None:
        raise problem
    return ()


async def _records(name: str, kind: RecordType, servers: Sequence[Server]) -> Sequence[Record]:
    problems: dict[str, None] = {}
    for _ in range(_ROUNDS):
        for server in servers:
            try:
                async with asyncio.timeout(_TIMEOUT):
                    return (await _ask(server, name, kind)).records
            except TimeoutError:
                problems[f"{server[0]} does not answer"] = None
            except (OSError, MessageError, asyncio.IncompleteReadError) as error:
                problems[f"{server[0]}: {error}"] = None
            except ValueError as error:
                raise LookUpError(str(error)) from None
    raise LookUpError("; ".join(problems))


async def _ask(server: Server, name: str, kind: RecordType) -> Answer:
    asked = question(random.randrange(1 << 16), name, kind)  # noqa: S311 - the port is as random, and up to the kernel
    answer = await _ask_by_datagram(server, asked, kind)
    return await _ask_by_stream(server, asked, kind) if answer.is_truncated else answer


class _Waiting(asyncio.DatagramProtocol):
    """Waits for the answer to one question; what does not fit it is not awaited any less."""

    def __init__(self, asked: bytes, kind: RecordType) -> None:
        self._asked = asked
        self._kind = kind
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002
        if self.answer.done() or data[:2] != self._asked[:2]:
            return
        try:
            self.answer.set_result(answer_to(self._asked, data, self._kind))
        except MessageError as error:
            self.answer.set_exception(error)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


async def _ask_by_datagram(server: Server, asked: bytes, kind: RecordType) -> Answer:
    loop = asyncio.get_running_loop()
    transport, waiting = await loop.create_datagram_endpoint(lambda: _Waiting(asked, kind), remote_addr=server)
    try:
        transport.sendto(asked)
        return await waiting.answer
    finally:
        transport.close()


async def _ask_by_stream(server: Server, asked: bytes, kind: RecordType) -> Answer:
    """RFC 1035, section 4.2.2: a message has its length in front."""
    reader, writer = await asyncio.open_connection(*server)
    try:
        writer.write(struct.pack(">H", len(asked)) + asked)
        (length,) = struct.unpack(">H", await reader.readexactly(2))
        return answer_to(asked, await reader.readexactly(length), kind)
    finally:
        writer.close()


def _is_dots(option: str) -> bool:
    return option.startswith("ndots:") and option[6:].isdecimal()
