"""A worker process: accepts connections and serves them by the snapshot that the control process last sent."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
import time
from typing import Any, Final

import msgspec
import uvloop

from portico import channel
from portico.certificates import CertificateError
from portico.config import Config, GatewaySettings, load_dumped
from portico.errors import Answer
from portico.forwarded import REQUEST_DROP, is_in
from portico.gateway import Gateway
from portico.listeners import Listeners
from portico.observe.access_log import AccessLog
from portico.observe.events import configure_events
from portico.observe.metrics import Metrics
from portico.redirect import Redirect
from portico.runtime import Runtime
from portico.snapshot import SnapshotBuilder
from portico.termination import Termination
from portico.wire.deadlines import Deadlines
from portico.wire.entrance import Entrance
from portico.wire.server import HttpServer, Limits
from portico.wire.writing import Outbox

logger: Final = logging.getLogger("portico.worker")

_REPORT_INTERVAL: Final = 1.0
_RECONNECT_INTERVAL: Final = 0.2
_UPKEEP_INTERVAL: Final = 3.0
_DRAIN_STEP: Final = 0.05
_ACCEPT_GRACE: Final = 0.5
"""Seconds for which a draining worker still accepts: who was on the way here is not reset."""
_LOG_FROM: Final = {"DEBUG": 0, "INFO": 0, "WARNING": 500, "ERROR": 500, "CRITICAL": 1000}
"""The lowest status that each log level lets into the access log."""


def run_worker(listeners: Listeners, runtime: Runtime, lifeline: int, worker: str) -> None:
    """Serve until SIGTERM, or until the supervisor's end of the `lifeline` pipe closes."""
    uvloop.run(_Worker(listeners, runtime, lifeline, worker).run())


class _Worker:
    def __init__(self, listeners: Listeners, runtime: Runtime, lifeline: int, worker: str) -> None:
        self.listeners = listeners
        self.runtime = runtime
        self.lifeline = lifeline
        self.worker = worker
        self.stopping = asyncio.Event()
        self.metrics = Metrics()
        self.redirect: Redirect | None = None

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        self.config, generation = self.runtime.stored()
        config = self.config
        configure_events(config.gateway.log.level, config.gateway.log.format)
        deadlines, outbox = Deadlines(loop), Outbox(loop)
        self.local_answers = {"/livez": self._livez, "/readyz": self._readyz}
        self.builder = SnapshotBuilder(deadlines, outbox, self.runtime.control_socket, self.local_answers, self.metrics)
        self.log = self._open_log(config, loop)
        self.gateway = Gateway(
            self.builder.build(config, generation),
            self.metrics,
            self.log,
            _LOG_FROM[config.gateway.log.level],
            loop,
        )
        self.gateway.max_requests = config.gateway.limits.requests or sys.maxsize
        self.http = HttpServer(self.gateway, _limits(config.gateway), deadlines, outbox, loop, REQUEST_DROP)
        self.tls = Termination(config.gateway.tls) if config.gateway.tls else None
        self.entrances = self._entrances(loop)
        for entrance in self.entrances:
            await entrance.open()
        loop.add_signal_handler(signal.SIGTERM, self.stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        loop.add_reader(self.lifeline, self.stopping.set)
        listening = loop.create_task(self._listen_to_control())
        upkeep = loop.create_task(self._keep_up())
        gc.collect()
        gc.freeze()  # what was loaded stays; a collection need not look at it again
        gc.set_threshold(20_000, 20, 50)
        await self.stopping.wait()
        loop.remove_reader(self.lifeline)
        for entrance in self.entrances:
            entrance.server.draining = True  # readiness fails, and responses say Connection: close
        await asyncio.sleep(_ACCEPT_GRACE)
        for entrance in self.entrances:
            entrance.close()
        await self._drain(config.gateway.limits.drain_timeout)
        listening.cancel()
        upkeep.cancel()
        self.builder.close()
        deadlines.close()
        if self.log is not None:
            self.log.close()

    def _entrances(self, loop: asyncio.AbstractEventLoop) -> list[Entrance]:
        """The gateway's own port and, where there is one, the port that redirects to it."""
        settings = self.config.gateway
        alone = settings.workers == 1
        announces = self._is_trusted if settings.proxy_protocol else None
        tls = self.tls.context if self.tls else None
        entrances = [
            Entrance(loop, self.listeners.gateway, self.http, alone=alone, tls=tls, announces=announces),
        ]
        if self.listeners.redirect is not None:
            http = self.http
            self.redirect = Redirect(self.gateway, self.local_answers, self._public_port(self.config))
            server = HttpServer(self.redirect, http.limits, http.deadlines, http.outbox, loop, REQUEST_DROP)
            server.connections, server.clients = http.connections, http.clients  # one limit holds for both
            entrances.append(Entrance(loop, self.listeners.redirect, server, alone=alone, announces=announces))
        return entrances

    def _public_port(self, config: Config) -> int:
        """Where clients find HTTPS."""
        own: int = self.listeners.gateway.getsockname()[1]
        return (config.gateway.tls and config.gateway.tls.redirect_to) or own

    def _is_trusted(self, address: str) -> bool:
        return is_in(address, self.gateway.snapshot.trusted_proxies)

    async def _drain(self, patience: float) -> None:
        """Let running exchanges finish, `patience` seconds at most."""
        self.http.close_idle()
        end = time.monotonic() + patience
        while self._is_busy() and time.monotonic() < end:  # noqa: ASYNC110
            await asyncio.sleep(_DRAIN_STEP)
        if self.http.connections:
            logger.warning(
                "connections cut at the end of the drain timeout", extra={"count": len(self.http.connections)}
            )
            self.http.abort()
            await asyncio.sleep(_DRAIN_STEP)

    def _is_busy(self) -> bool:
        return bool(self.http.connections) or any(entrance.is_opening() for entrance in self.entrances)

    async def _keep_up(self) -> None:
        while True:
            await asyncio.sleep(_UPKEEP_INTERVAL)
            try:
                self.builder.prune()
                self._refresh_files()
            except Exception:  # a fault in one round is no reason to leave the next ones out
                logger.exception("the upkeep failed")

    def _refresh_files(self) -> None:
        """Bring certificates into use that were renewed."""
        if self.tls is not None:
            self.tls.refresh()
        if self.builder.refresh_files():
            self.gateway.snapshot = self.builder.build(self.config, self.gateway.snapshot.generation)

    def _hang_up(self) -> None:
        """SIGHUP: logs and certificates are opened anew; the configuration comes from the control process."""
        if self.log is not None:
            self.log.reopen()
        self._refresh_files()

    async def _listen_to_control(self) -> None:
        """Follow the control process; without it the worker goes on with what it has."""
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(self.runtime.channel_socket)
            except OSError:
                await asyncio.sleep(_RECONNECT_INTERVAL)
                continue
            channel.send(writer, channel.Hello(self.worker))
            reporting = asyncio.get_running_loop().create_task(self._report_regularly(writer))
            try:
                while (message := await channel.receive(reader)) is not None:
                    self._hear(message, writer)
            except ValueError:
                logger.exception("the control process sent what is no message")
            finally:
                reporting.cancel()
                writer.close()
            await asyncio.sleep(_RECONNECT_INTERVAL)

    def _hear(self, message: channel.Message, writer: asyncio.StreamWriter) -> None:
        match message:
            case channel.NewSnapshot(generation, dumped, health):
                if generation != self.gateway.snapshot.generation:
                    self._adopt(generation, dumped)
                self.builder.set_health(health)
            case channel.HealthChange(states):
                self.builder.set_health(states)
            case channel.Collect(number):
                channel.send(writer, channel.Report(self._totals(), number))

    def _adopt(self, generation: int, dumped: bytes) -> None:
        """Swap the snapshot: one assignment, after everything in it was built."""
        try:
            config = load_dumped(dumped)
            self.gateway.snapshot = self.builder.build(config, generation)
        except CertificateError as error:
            logger.error("a new configuration could not be taken over", extra={"reason": str(error)})
            return
        except Exception:
            logger.exception("a new configuration could not be taken over")
            return
        self.config = config
        self.gateway.max_requests = config.gateway.limits.requests or sys.maxsize
        for entrance in self.entrances:
            entrance.server.limits = _limits(config.gateway)
        if self.tls is not None and config.gateway.tls is not None:
            self.tls.adopt(config.gateway.tls)
        if self.redirect is not None:
            self.redirect.port = self._public_port(config)

    async def _report_regularly(self, writer: asyncio.StreamWriter) -> None:
        """Totals that control knows survive this process."""
        while True:
            channel.send(writer, channel.Report(self._totals()))
            await asyncio.sleep(_REPORT_INTERVAL)

    def _totals(self) -> bytes:
        self.metrics.log_lines_dropped = self.log.dropped if self.log else 0
        self.metrics.failed_handshakes = sum(entrance.failed_handshakes for entrance in self.entrances)
        totals: dict[str, Any] = {
            **self.metrics.dump(),
            "in_flight": sum(entrance.server.in_flight for entrance in self.entrances),
            "connections": len(self.http.connections),
            "tunnels": self.http.tunnels,
            "breakers": self.builder.breaker_states(),
            "services": self.builder.load(),
            "generation": self.gateway.snapshot.generation,
        }
        return msgspec.json.encode(totals)

    def _open_log(self, config: Config, loop: asyncio.AbstractEventLoop) -> AccessLog | None:
        settings = config.gateway.log
        if settings.access == "off":
            return None
        several = config.gateway.workers != 1
        return AccessLog(loop, settings.access, settings.format, self.runtime.log_lock if several else None)

    def _livez(self) -> Answer:
        return _status_answer(200, "alive")

    def _readyz(self) -> Answer:
        return _status_answer(503, "draining") if self.http.draining else _status_answer(200, "ready")


def _status_answer(status: int, text: str) -> Answer:
    body = msgspec.json.encode({"status": text})
    return Answer(status, (b"Content-Type: application/json", b"Cache-Control: no-store"), body)


def _limits(gateway: GatewaySettings) -> Limits:
    written = gateway.limits.model_dump(exclude={"drain_timeout", "requests"})
    return Limits(**written, is_shared=lambda address: is_in(address, gateway.trusted_proxies))
