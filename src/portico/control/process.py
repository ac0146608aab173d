"""The control process: serves its application on a unix socket, checks health, tells the workers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import uvicorn
import uvloop

from portico.config import Config, ConfigError, file_problems, load_config
from portico.control.app import State, create_app
from portico.control.health import HealthChecks
from portico.control.workers import Workers
from portico.observe.events import configure_events
from portico.runtime import Runtime

logger: Final = logging.getLogger("portico.control")


def run_control(
    runtime: Runtime, http: socket.socket, channel: socket.socket, lifeline: int, config_path: Path | None
) -> None:
    """Serve until SIGTERM, or until the supervisor's end of the `lifeline` pipe closes."""
    uvloop.run(_Control(runtime, http, channel, lifeline, config_path).run())


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the control process's, not the HTTP server's."""
        yield


def _fixed(config: Config) -> tuple[object, ...]:
    """What cannot change while the gateway runs."""
    gateway = config.gateway
    redirect_from = gateway.tls and gateway.tls.redirect_from
    listening = (gateway.host, gateway.port, gateway.tls is None, redirect_from, gateway.proxy_protocol)
    return *listening, gateway.workers, gateway.log


class _Control:
    def __init__(
        self, runtime: Runtime, http: socket.socket, channel: socket.socket, lifeline: int, config_path: Path | None
    ) -> None:
        self.runtime = runtime
        self.http = http
        self.channel = channel
        self.lifeline = lifeline
        self.config_path = config_path
        self.workers = Workers()
        self.health = HealthChecks(self.workers.set_health)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        config, self.generation = self.runtime.stored()
        configure_events(config.gateway.log.level, config.gateway.log.format)
        self.state = State(config, self.workers, self.health)
        server = _Server(
            uvicorn.Config(
                create_app(self.state),
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                date_header=False,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=2,
            )
        )

        def stop() -> None:
            loop.remove_reader(self.lifeline)
            server.should_exit = True

        def stop_orphaned() -> None:
            stop()
            shutil.rmtree(self.runtime.directory, ignore_errors=True)  # the supervisor cannot any more

        loop.add_signal_handler(signal.SIGTERM, stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        loop.add_reader(self.lifeline, stop_orphaned)
        channel = await self.workers.listen(self.channel)
        self.workers.publish(config, self.generation)
        self.health.watch(config)
        await server.serve(sockets=[self.http])
        channel.close()
        await self.health.close()

    def _reload(self) -> None:
        """Read the file again; one that is wrong changes nothing."""
        try:
            config = load_config(self.config_path, os.environ)
            problems = "\n".join(file_problems(config))
            if self.state.config.services and not config.services:
                problems = problems or "the file names no service: it looks cut short"
        except ConfigError as error:
            problems = str(error)
        if problems:
            logger.error("the configuration is wrong and was not taken over", extra={"problems": problems})
            return
        if _fixed(config) != _fixed(self.state.config):
            logger.warning(
                "a change of host, port, workers, proxy_protocol, redirect_from or log, or between TLS and none, "
                "takes effect after a restart"
            )
        self.generation += 1
        self.runtime.store(config, self.generation)
        self.state.config = config
        self.health.watch(config)
        self.workers.keep_health(set(self.health.states()))
        self.workers.publish(config, self.generation)
        logger.info("configuration reloaded", extra={"generation": self.generation})
