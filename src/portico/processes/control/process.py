"""The control process: serves its application on a unix socket, checks health, notifies the workers."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
import uvloop

from portico.config import check_plugins, included_files, named_files, plugin_files, with_source
from portico.core.tasks import ENDED, background, endless
from portico.observe.events import configure_events
from portico.processes.control.acme.certificates import Certificates
from portico.processes.control.api_keys import ApiKeys
from portico.processes.control.audit import Audit
from portico.processes.control.cache_purges import CachePurges
from portico.processes.control.canaries import Canaries
from portico.processes.control.configuration.cause import Cause
from portico.processes.control.configuration.configuration import Configuration
from portico.processes.control.deferred import Deferred
from portico.processes.control.discovery import Discovery
from portico.processes.control.health import HealthChecks
from portico.processes.control.issuer_keys import IssuerKeys
from portico.processes.control.live.streams import cut_stuck
from portico.processes.control.openapi.documents import Documents
from portico.processes.control.overrides import Overrides
from portico.processes.control.quick_answers import QuickAnswers
from portico.processes.control.reloading import Reloading
from portico.processes.control.state import State
from portico.processes.control.telemetry import ControlTelemetry
from portico.processes.control.tokens.issuing import Issuing
from portico.processes.control.watch import watch
from portico.processes.control.workers import Workers
from portico.processes.ipc.notices import SERVING, Notices
from portico.processes.ipc.runtime import Runtime

if TYPE_CHECKING:
    from starlette.types import ASGIApp


@dataclass(frozen=True, slots=True)
class ControlSockets:
    """Where it listens: for requests that workers forward, for workers that report, and for the admin API."""

    http: socket.socket
    channel: socket.socket
    admin: socket.socket | None


def run_control(
    runtime: Runtime, sockets: ControlSockets, lifeline: int, notices: Notices, config_path: Path | None, *, watch: bool
) -> None:
    """Serve until SIGTERM, or until the supervisor's end of the `lifeline` pipe closes.

    With `watch` changed files are taken over without a request to reload.
    """
    uvloop.run(_Control(runtime, sockets, lifeline, notices).run(config_path, watch))


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The control process handles signals, not the HTTP server."""
        yield


def _server(app: ASGIApp) -> _Server:
    return _Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",  # else it loads what it finds installed
            server_header=False,
            date_header=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=2,
        )
    )


def _is_local(listener: socket.socket) -> bool:
    return ip_address(listener.getsockname()[0]).is_loopback


class _Control:
    def __init__(self, runtime: Runtime, sockets: ControlSockets, lifeline: int, notices: Notices) -> None:
        self.runtime = runtime
        self.sockets = sockets
        self.lifeline = lifeline
        self.notices = notices
        self.is_orphaned = False

    async def run(self, config_path: Path | None, watched: bool) -> None:
        self.loop = loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._unhandled)
        config, generation = self.runtime.stored()
        config = with_source(config, self.runtime.stored_source(generation))
        configure_events(config.gateway.log.level, config.gateway.log.format)
        workers = Workers()
        health = HealthChecks(workers.set_health, workers.instance_states, workers.check_passed)
        workers.ejected = health.ejected
        discovery = Discovery(config, self.runtime, workers, health)
        purges = CachePurges(workers)
        issuers = IssuerKeys(workers)
        api_keys = ApiKeys(workers, self.runtime, config_path)
        canaries = Canaries(workers, self.runtime, config_path)
        tokens = Issuing(workers, self.runtime, config_path)
        documents = Documents(workers, health, self.runtime, config_path)
        health.came = documents.came
        listening = self.runtime.listening
        certificates = Certificates(workers, self.runtime, config_path)
        others = discovery, purges, issuers, api_keys, canaries, tokens, certificates, documents, listening
        self.state = State(config, generation, config_path, workers, health, *others)
        self.state.audit = Audit(self.runtime, config_path)
        self.state.audit.follow(config)
        overrides = self.state.overrides = Overrides(workers, self.runtime, config_path, lambda: health.checks.keys())
        overrides.follow(config)
        self.state.live.start(loop)
        self.reloading = Reloading(self.state, self.runtime, self.notices)
        self.state.refused = self.runtime.refused()
        self.state.configuration = Configuration(self.state, self.reloading, self.runtime)
        self.servers = list(self._servers())
        self.tasks = [endless(self.notices.keep_saying_alive(config.gateway.limits.hang_timeout), "signs of life")]
        loop.add_signal_handler(signal.SIGTERM, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        loop.add_reader(self.lifeline, self._stop_orphaned)
        health.watch(config)
        await discovery.start()
        await purges.follow(config)
        await issuers.follow(config)
        await api_keys.follow(config)
        await canaries.follow(config)
        await self.state.tokens.follow(config)
        certificates.prepare(config)
        await certificates.follow(config)
        await documents.follow(config)
        telemetry = self.state.telemetry = ControlTelemetry(loop, self._families, self.runtime.directory)
        telemetry.follow(config)
        channel = await workers.listen(self.sockets.channel)
        workers.publish(config, generation)
        self.tasks.append(endless(self.reloading.keep_admitting(), "admission of services"))
        self.tasks.append(endless(api_keys.keep_sharing(), "the sharing of API keys"))
        self.tasks.append(endless(overrides.keep_ending(), "the end of overrides"))
        self.tasks.append(endless(canaries.keep_watching(), "the watch of canaries"))
        if watched:
            await asyncio.to_thread(check_plugins, config)  # it was right before: this finds the files to watch
            watching = watch(self._files, self._files_changed, config.read_at, self.reloading.own)
            self.tasks.append(endless(watching, "the watch of files"))
        self.notices.say(SERVING)
        self.state.configuration.begin()
        await asyncio.gather(*(server.serve(sockets=[listener]) for server, listener in self.servers))
        for task in self.tasks:
            task.cancel()
        channel.close()
        await discovery.close()
        await purges.close()
        await issuers.close()
        await api_keys.close()
        await canaries.close()
        await tokens.close()
        await certificates.close()
        await documents.close()
        await telemetry.close()
        self.state.audit.close()
        overrides.close()
        await health.close()
        self.state.configuration.close()
        if self.is_orphaned:
            self._remove_runtime()  # workers that were still starting may have written files

    def _servers(self) -> Iterator[tuple[_Server, socket.socket]]:
        yield _server(QuickAnswers(self.state, Deferred(self._app))), self.sockets.http
        admin = self.sockets.admin
        if admin is not None:
            cut_stuck(admin)
            yield _server(Deferred(self._admin)), admin

    async def _families(self) -> list[Any]:
        from portico.processes.control.scrapes import Scrapes

        return await Scrapes(self.state).families()

    def _app(self) -> ASGIApp:
        from portico.processes.control.app import create_app

        return create_app(self.state)

    def _admin(self) -> ASGIApp:
        from portico.processes.control.admin.app import create_admin

        admin = self.sockets.admin
        return create_admin(self.state, self.reloading, is_local=admin is not None and _is_local(admin))

    def _files(self) -> list[Path]:
        path, config = self.state.config_path, self.state.config
        included = included_files(config.include, config.directory)
        return [*([path] if path else []), *included, *named_files(config), *plugin_files()]

    async def _files_changed(self) -> None:
        await self.reloading.reload_for_nobody(Cause("reload", "watch"))

    def _hang_up(self) -> None:
        background(self.reloading.reload_for_nobody(Cause("reload", "SIGHUP")), "a reload")

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Handles what the event loop caught. If a task ended that should not, this process ends.

        Another is started; workers go on meanwhile.
        """
        loop.default_exception_handler(context)
        if ENDED in context:
            self._stop()

    def _stop(self) -> None:
        self.loop.remove_reader(self.lifeline)
        self.state.live.close()
        for server, _ in self.servers:
            server.should_exit = True

    def _stop_orphaned(self) -> None:
        self.is_orphaned = True
        self._stop()
        self._remove_runtime()

    def _remove_runtime(self) -> None:
        """What the supervisor cannot do any more."""
        shutil.rmtree(self.runtime.directory, ignore_errors=True)
