"""The request pipeline in one process: clients, the real gateway and its snapshot, services that follow a case.

All between the two transports is what a worker runs; only sockets, time and the access log's file are made up.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from unittest import mock

from portico import policies
from portico.config import Config
from portico.core.errors import Answer as Reply
from portico.core.errors import MessageError
from portico.core.exchange import Exchange, Stream
from portico.core.fields import PASSES, REQUEST_DROP
from portico.core.messages import RequestHead
from portico.observe.access_log import AccessRecord, _json_lines, _text_lines
from portico.observe.metrics import Metrics
from portico.proxy.gateway import Gateway
from portico.snapshot.builder import SnapshotBuilder
from portico.upstreams import host_name
from portico.upstreams.instance import Instance
from portico.wire import turn
from portico.wire.deadlines import Deadlines
from portico.wire.frontend import Limits
from portico.wire.http1 import response_heads
from portico.wire.http1.request_forms import RequestForms
from portico.wire.http1.server import HttpServer, ServerConnection
from portico.wire.turn import Turn

from .case import Answer, Case
from .ends import ClientEnd, Service
from .loop import Dialled, HandLoop, Line
from .plan import ADDRESS, CONFIG, PROXY, SLOW

_BUILT: Final = Config.model_validate(CONFIG)


class Events(logging.Handler):
    """Keeps what the gateway reports as wrong with itself."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@dataclass
class Seen:
    """One exchange as the gateway understood it."""

    request: RequestHead | None
    exchange: Exchange | None = None
    ends: list[str | None] = field(default_factory=list)


async def _look_up(host: str) -> Sequence[str]:
    return ["192.0.2.80"]


class WatchedGateway(Gateway):
    """A gateway that notes every exchange, by connection."""

    seen: dict[Any, list[Seen]]

    def begin(
        self, stream: Stream, request: RequestHead, content: bytes, now: float, refusal: policies.Policy | None = None
    ) -> None:
        self.seen.setdefault(stream, []).append(Seen(request))
        super().begin(stream, request, content, now, refusal)

    def refuse(self, stream: Stream, error: MessageError, seen: bytes) -> None:
        self.seen.setdefault(stream, []).append(Seen(None))
        super().refuse(stream, error, seen)

    def finish(self, exchange: Exchange, failure: str | None) -> None:
        entry = self.seen[exchange.stream][-1]
        entry.exchange = exchange
        entry.ends.append(failure)
        super().finish(exchange, failure)


class EncodedLog:
    """Encodes each record in both styles, as the access log would, and keeps none."""

    def add(self, record: AccessRecord) -> None:
        assert _json_lines([record]).count(b"\n") == 1
        assert _text_lines([record]).count(b"\n") == 1


class Simulation:
    """A case's world; used in a `with`, which swaps the clock and gathers what is reported as wrong.

    `steps` come before the gateway's own policies, where a service has `cors`.
    """

    def __init__(self, case: Case, steps: Sequence[policies.Step] = (SLOW,), config: Config = _BUILT) -> None:
        self.case = case
        self.steps = steps
        self.config = config
        self.loop = HandLoop(self._dial)
        self.events = Events()
        self.answers_given = self.dialled = self.failed_dials = 0
        self.services: list[Service] = []
        self.clients: list[ClientEnd] = []
        self.current = 0
        self.watch: list[Callable[[Simulation], None]] = []
        self._clocks = [mock.patch.object(module, "monotonic", self.loop.time) for module in (time, turn)]

    def __enter__(self) -> Simulation:
        for clock in self._clocks:
            clock.start()
        logger = logging.getLogger("portico")
        logger.addHandler(self.events)
        logger.propagate = False
        self._build()
        return self

    def __exit__(self, *exc: object) -> None:
        self.deadlines.close()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run()
        self.loop.close()
        logger = logging.getLogger("portico")
        logger.removeHandler(self.events)
        logger.propagate = True
        for clock in self._clocks:
            clock.stop()

    def _build(self) -> None:
        loop = self.loop
        self.together = Turn(loop)
        self.deadlines = Deadlines(loop, self.together)
        metrics = Metrics()
        replies = {"/livez": lambda: Reply(200, (b"Content-Type: text/plain",), b"alive")}
        with (
            mock.patch.object(policies, "STEPS", (*self.steps, *policies.STEPS)),
            mock.patch.object(host_name, "look_up", _look_up),
        ):
            self.builder = SnapshotBuilder(self.deadlines, self.together, Path("/control"), replies, metrics)
            snapshot = self.builder.build(self.config, 1)
        log: Any = EncodedLog()
        self.gateway = WatchedGateway(snapshot, metrics, log, 0, loop)
        self.gateway.seen = {}
        written: Any = {"body_size": 1 << 20, **self.case.limits}
        limits = Limits(**written)
        self.server = HttpServer(self.gateway, limits, self.deadlines, self.together, loop, REQUEST_DROP, PASSES)
        self.server.forms = RequestForms(often=1, pause=0.0)
        response_heads._FORMS.table.often, response_heads._FORMS.table.pause = 1, 0.0
        for text in self.case.clients:
            self.connect(self.case.pieces(text.encode("latin-1")))

    @property
    def instances(self) -> list[Instance]:
        """Every instance, the control process too."""
        return self.builder.live.instances()

    def seen_of(self, client: ClientEnd) -> list[Seen]:
        """The exchanges of a client's connection, in order."""
        return self.gateway.seen.get(client.line.protocol, [])

    def connect(self, pieces: list[bytes]) -> ClientEnd:
        """A client's connection."""
        protocol: ServerConnection = self.server()
        line = Line(self.loop, protocol, PROXY if self.case.trusted else ADDRESS)
        self.clients.append(ClientEnd(line, [*pieces, None] if self.case.hangs_up else [*pieces]))
        return self.clients[-1]

    def answer_of_turn(self) -> Answer | None:
        answers = self.case.answers
        return answers[self.answers_given % len(answers)] if answers else None

    async def _dial(self, factory: Callable[[], asyncio.Protocol], name: str) -> Dialled:
        dials = self.case.dials or "o"
        fate = dials[self.dialled % len(dials)]
        self.dialled += 1
        try:
            await FATES[fate]()
        except BaseException:
            self.failed_dials += 1
            raise
        line = Line(self.loop, factory(), "203.0.113.9")
        self.services.append(Service(self, line, name))
        return line, line.protocol

    # ---- running a case

    def play(self) -> None:
        """Do what the schedule says, then all that it left undone."""
        for letter in self.case.schedule:
            if letter.isdigit():
                self.current = int(letter) % len(self.clients)
            else:
                ACTIONS[letter](self)
        self.settle()

    def turn(self) -> None:
        """Let the loop do what it can, and services notice what they were asked."""
        self.loop.run()
        for service in self.services:
            service.look()
        for watcher in self.watch:
            watcher(self)

    def settle(self) -> None:
        """Everybody reads and sends until nobody has anything to say."""
        for client in self.clients:
            client.line.listen(not client.deaf)
        for service in self.services:
            service.line.listen(True)
        self.turn()
        for _ in range(4):  # late connections, slow policies and second tries take a moment each
            while speakers := self._speakers():
                for speaker in speakers:
                    if speaker.pieces:
                        speaker.say()
                        self.turn()
            self.loop.pass_time(0.5)
            self.turn()

    def expire(self) -> None:
        """So much time passes that everything ends by itself: a minute for each step that a request may still take."""
        for _ in range(1000):
            if not self.server.connections and all(service.line.lost for service in self.services):
                return
            self.loop.pass_time(61.0)
            self.turn()

    def _speakers(self) -> list[Service | ClientEnd]:
        """A client or service that has something left to send."""
        return [*self._talkers(), *(client for client in self.clients if client.pieces)]

    def _talkers(self) -> list[Service]:
        return [service for service in self.services if service.pieces and not service.line.lost]

    @property
    def client(self) -> ClientEnd:
        return self.clients[self.current]

    # ---- the letters of a schedule

    def _client_says(self) -> None:
        if self.client.pieces:
            self.client.say()

    def _client_says_all(self) -> None:
        while self.client.pieces:
            self.client.say()

    def _oldest_says(self) -> None:
        if talkers := self._talkers():
            talkers[0].say()

    def _newest_says(self) -> None:
        if talkers := self._talkers():
            talkers[-1].say()

    def _client_leaves(self, last: Callable[[Line], None]) -> None:
        self.client.pieces.clear()
        last(self.client.line)

    def _service_leaves(self, last: Callable[[Line], None]) -> None:
        busy = [service for service in self.services if not service.line.lost]
        if busy:
            busy[0].pieces.clear()
            busy[0].ended = True
            last(busy[0].line)

    def _services_listen(self, listen: bool) -> None:
        for service in self.services:
            service.line.listen(listen)

    def _deafen(self) -> None:
        self.client.deaf = True
        self.client.line.listen(False)


ACTIONS: Final[dict[str, Callable[[Simulation], None]]] = {
    ".": Simulation.turn,
    "c": Simulation._client_says,
    "C": Simulation._client_says_all,
    "s": Simulation._oldest_says,
    "S": Simulation._newest_says,
    "p": lambda simulation: simulation.client.line.listen(False),
    "r": lambda simulation: simulation.client.line.listen(True),
    "n": Simulation._deafen,
    "h": lambda simulation: simulation._client_leaves(lambda line: line.say(None)),
    "x": lambda simulation: simulation._client_leaves(Line.reset),
    "q": lambda simulation: simulation._services_listen(False),
    "w": lambda simulation: simulation._services_listen(True),
    "E": lambda simulation: simulation._service_leaves(lambda line: line.say(None)),
    "R": lambda simulation: simulation._service_leaves(Line.reset),
    "t": lambda simulation: simulation.loop.pass_time(0.06),
    "T": lambda simulation: simulation.loop.pass_time(2.5),
    "U": lambda simulation: simulation.loop.pass_time(45.0),
}
"""What each letter of a schedule does; a digit chooses the client that the following ones are about."""


async def _refuse() -> None:
    raise ConnectionRefusedError


FATES: Final[dict[str, Callable[[], Any]]] = {
    "o": lambda: asyncio.sleep(0),
    "l": lambda: asyncio.sleep(0.3),
    "r": _refuse,
    "n": lambda: asyncio.sleep(1000),
}
"""How a connection to a service fares: it opens, opens late, is refused, or nobody answers."""
