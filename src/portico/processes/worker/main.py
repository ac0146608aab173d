"""A worker process: accepts connections and serves them by the snapshot that the control process last sent."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any, Final

import msgspec
import uvloop

from portico.config import (
    Config,
    GatewaySettings,
    LimitSettings,
    ListenerSettings,
    documents_of_files,
    documents_wanted,
    forgetting_written,
)
from portico.core import memory
from portico.core.caches import aging, forget_results
from portico.core.errors import Answer
from portico.core.exchange import Exchange
from portico.core.fields import REQUEST_DROP, passing_named
from portico.core.slices import at_once, in_slices, letting_go, without_collections
from portico.core.tasks import ENDED, background, endless
from portico.net.tls.certificates import CertificateError
from portico.observe.access_log import AccessLog, Log
from portico.observe.events import configure_events
from portico.observe.log_fields import SampledLog, details_of
from portico.observe.log_targets import Rotation
from portico.observe.metrics import Metrics
from portico.observe.parts import Parts
from portico.policies.auth.key_sets import KeySource
from portico.policies.limit_report import reported, reset
from portico.policies.plugins.lifecycle import CLOSE_TIMEOUT, Plugins, PluginSet
from portico.policies.plugins.loading import PluginError
from portico.processes.ipc import channel
from portico.processes.ipc.listeners import ACCEPT_GRACE, Listeners
from portico.processes.ipc.notices import FAILING, SERVING, UNUSABLE, Notices
from portico.processes.ipc.runtime import Runtime
from portico.processes.worker.control_link import ControlLink
from portico.processes.worker.evenness import Evenness
from portico.processes.worker.explaining import Explaining, Serving
from portico.processes.worker.inspecting import inspected
from portico.processes.worker.limits import bucket_table
from portico.processes.worker.listening import WorkerListener
from portico.processes.worker.preparation import Preparation
from portico.processes.worker.purging import Purging
from portico.processes.worker.rights import Rights
from portico.processes.worker.sent_events import SentEvents
from portico.processes.worker.shared import Parts as SharedParts
from portico.processes.worker.shared import Shared
from portico.processes.worker.telemetry import Telemetry
from portico.processes.worker.watching import Watching
from portico.proxy.cache.caches import Caches
from portico.proxy.gateway import Gateway, Snapshot
from portico.proxy.headers.forwarded import is_in
from portico.proxy.listener import ListenerGateway
from portico.proxy.overload import Overload
from portico.snapshot.builder import Counting, SnapshotBuilder
from portico.wire.deadlines import Deadlines
from portico.wire.frontend import Limits
from portico.wire.http1.server import HttpServer
from portico.wire.loads import Load
from portico.wire.turn import Turn

logger: Final = logging.getLogger("portico.worker")

_UPKEEP_INTERVAL: Final = 3.0
_DRAIN_STEP: Final = 0.05
_LAST_HANDSHAKES: Final = 0.2
"""Seconds from when the supervisor turns new connections away until those that had begun have come in."""
_STATE_TIMEOUT: Final = 1.0
"""Seconds that a worker waits for control before it serves.

For the states of instances, which are registered, where canaries are that other gateways have, too, and documents.
"""
_DIRECTORY_TIMEOUT: Final = 10.0
"""The same where Kubernetes or DNS is asked for instances: a pod is not to be ready before it knows any."""
_TRIAL: Final = 5.0
"""Seconds that a worker has served at least before it has itself replaced: its successor may fail in the same way."""
_CLOSE_TIMEOUT: Final = 1.0
"""Seconds that users' policies have to close when their worker ends, at least."""
_EXPORT_TIMEOUT: Final = 2.0
"""Seconds that a worker waits at its end for what it still has to export, at most: no longer than for its drain."""
_REPLACEMENT_TIMEOUT: Final = 60.0
"""Seconds after which a worker that is still there asks again to be replaced."""
_LOG_FROM: Final = {"DEBUG": 0, "INFO": 0, "WARNING": 500, "ERROR": 500, "CRITICAL": 1000}
"""The lowest status that each log level lets into the access log."""


def run_worker(
    listeners: Listeners,
    runtime: Runtime,
    lifeline: int,
    notices: Notices,
    worker: str,
    *,
    joins: bool,
    load: Load | None,
) -> None:
    """Serve until SIGTERM or SIGUSR1, or until the supervisor's end of the `lifeline` pipe closes.

    After SIGUSR1 others serve on: it accepts no more, and readiness is not its concern. `joins` says that the gateway
    has been serving for a while: control knows by now which instances are down. `load` is what other workers see of it.
    """
    try:
        uvloop.run(_Worker(listeners, runtime, lifeline, notices, worker, load).run(joins))
    except FileNotFoundError:
        if runtime.directory.exists():
            raise
        # the supervisor was killed while this worker started: there is nothing left to serve


class _Worker:
    def __init__(
        self,
        listeners: Listeners,
        runtime: Runtime,
        lifeline: int,
        notices: Notices,
        worker: str,
        load: Load | None,
    ) -> None:
        self.listeners = listeners
        self.runtime = runtime
        self.lifeline = lifeline
        self.notices = notices
        self.worker = worker
        self.load = load
        self.ready = True
        self.is_replaced = self.is_failing = False
        self.stopping = asyncio.Event()
        self.informed = asyncio.Event()
        self.changing = asyncio.Lock()
        """Held while a snapshot is built, which takes many turns of the loop: nobody else changes its parts."""
        self.explaining = Explaining(self._serving_now, self.changing)
        self.metrics = Metrics()
        self.parts = Parts()
        self.plugins = Plugins(self.metrics)
        self.preparation = Preparation(self.plugins)
        self.began = self.forgot = time.monotonic()

    async def run(self, joins: bool) -> None:
        self.loop = loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._unhandled)
        self.config, generation = self.runtime.stored(serves=True)
        config = self.config
        at_once(forgetting_written(config))
        configure_events(config.gateway.log.level, config.gateway.log.format)
        self.sent_events = SentEvents(loop)
        self.sent_events.start()
        turn = Turn(loop)
        deadlines = Deadlines(loop, turn)
        if self.runtime.table is not None:
            self.runtime.table.open(self.runtime.directory)
        self.local_answers = {"/livez": self._livez, "/readyz": self._readyz}
        self.caches = Caches(config.gateway.cache.memory, self.metrics)
        self.shared = Shared(config, self.caches, self.metrics.limit_fallbacks, loop)
        self.purging = Purging(self.caches, loop)
        self.purging.follow(config)
        self.builder = SnapshotBuilder(
            deadlines,
            turn,
            self.runtime.control_socket,
            self.local_answers,
            self.metrics,
            self._counting(self.shared.parts, config),
            ejected=self._report_ejection,
            caches=self.caches,
            secret=self.runtime.secret,
        )
        self.builder.live.learn(self.runtime.found())
        self.builder.key_sets.ask = self._ask_for_keys
        self.builder.revoked.is_known = False
        weights = self.runtime.weights()
        self.builder.live.learn_weights(weights)
        self.builder.live.override(self.runtime.overrides())
        self.log, self.log_share = self._open_log(config, loop), config.gateway.log.sample
        self.log_from = _LOG_FROM[config.gateway.log.level]
        self.watching = Watching(loop, self._log_anew)
        self.control = ControlLink(
            self.runtime.channel_socket,
            self.worker,
            self._connected,
            (self.purging, self.watching, self.sent_events),
            self._process_now,
            self._process,
            self._reports,
            self.preparation.abandon,
        )
        self.telemetry = Telemetry(self.metrics, loop, self.worker, self.runtime.directory)
        self.telemetry.adopt(config)
        self.overload = Overload()
        self.overload.limit(config.gateway.limits.requests, config.gateway.limits.lag)
        try:
            plugins = await self.plugins.open(config.plugins, config.directory, config.code)
        except PluginError as error:
            logger.error("a policy cannot be used: this worker does not start", extra={"reason": str(error)})
            await self.plugins.close(_CLOSE_TIMEOUT)
            raise SystemExit(UNUSABLE) from error
        self.plugins.adopt(plugins, PluginSet())
        self.snapshot = self.builder.build(config, generation, plugins)
        self.serving = [*self._listeners(config)]
        limits, passes = _limits(config.gateway), passing_named(config.gateway.pass_headers, raises=True)
        self.http = HttpServer(self.serving[0].gateway, limits, deadlines, turn, loop, REQUEST_DROP, passes)
        self.http.load = load = self.load
        alone = config.gateway.workers == 1
        self.rights = Rights(self.http.connections)
        self.entrances = [
            entrance
            for listener in self.serving
            for entrance in listener.entrances(loop, self.http, self._is_trusted, alone=alone, load=load)
        ]
        loop.add_signal_handler(signal.SIGTERM, self._stop)
        loop.add_signal_handler(signal.SIGUSR1, self._give_way)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        loop.add_reader(self.lifeline, self._stop)
        beside = [endless(self.control.follow(), "following control"), endless(self._keep_up(), "upkeep")]
        beside.append(endless(self.purging.keep_up(), "sweeps behind purges"))
        beside.append(endless(self.notices.keep_saying_alive(config.gateway.limits.hang_timeout), "signs of life"))
        await self.shared.start()
        fetched = documents_wanted(config) - documents_of_files(config).keys()
        waits = joins or config.directories or fetched or not _names_all_canaries(config, weights)
        if waits:
            asks = config.directories & {"kubernetes", "dns"}
            await self._wait_for_state(_DIRECTORY_TIMEOUT if asks else _STATE_TIMEOUT)
        for entrance in self.entrances:
            await entrance.open()
        if load is not None:
            load.open()
        self.overload.start(loop, self._admit_waiting, Evenness(load, self.http).look if load is not None else None)
        self.notices.say(SERVING)
        memory.settle()
        await self.stopping.wait()
        drain = config.gateway.limits
        end = time.monotonic() + drain.drain_delay + drain.drain_timeout + _CLOSE_TIMEOUT
        await self._leave(config.gateway.limits)
        await self.plugins.close(max(_CLOSE_TIMEOUT, min(CLOSE_TIMEOUT, end - time.monotonic())))
        for task in beside:
            task.cancel()
        self.overload.stop()
        self.builder.live.close()
        self.shared.close()
        deadlines.close()
        await self.telemetry.close(min(_EXPORT_TIMEOUT, end - time.monotonic()))
        if self.log is not None:
            self.log.close()

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What the event loop caught, or the end of a task that should have none."""
        loop.default_exception_handler(context)
        if ENDED in context:
            self._ask_for_successor(f"it stopped {context[ENDED]}")

    def _ask_for_successor(self, why: str) -> None:
        """Serve on, and have the supervisor start another worker that takes over before this one leaves."""
        if not self.is_failing:
            self.is_failing = True
            self.loop.call_later(max(0.0, self.began + _TRIAL - time.monotonic()), self._say_failing, why)

    def _say_failing(self, why: str) -> None:
        self.notices.say(FAILING, why)
        self.loop.call_later(_REPLACEMENT_TIMEOUT, self._say_failing, why)

    async def _wait_for_state(self, timeout: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self.informed.wait()

    def _stop(self) -> None:
        self.ready = False
        self.loop.remove_reader(self.lifeline)
        self.stopping.set()

    def _give_way(self) -> None:
        self.is_replaced = True
        self.stopping.set()

    async def _leave(self, limits: LimitSettings) -> None:
        """Accept no more connections, and let all requests in flight finish."""
        if self.is_replaced:
            self._close_entrances(take_waiting=False)
            self._announce_end()
            await asyncio.sleep(ACCEPT_GRACE)
        else:
            await asyncio.sleep(limits.drain_delay)  # balancers see that readiness fails
            self._announce_end()
            await asyncio.sleep(ACCEPT_GRACE + _LAST_HANDSHAKES)
            self._close_entrances(take_waiting=True)
        await self._drain(limits.drain_timeout)

    def _announce_end(self) -> None:
        """From here on responses say `Connection: close`."""
        self.http.draining = True

    def _admit_waiting(self) -> None:
        for entrance in self.entrances:
            entrance.admit_waiting()

    def _close_entrances(self, *, take_waiting: bool) -> None:
        if self.load is not None:
            self.load.leave()
        for entrance in self.entrances:
            entrance.close(take_waiting=take_waiting)

    def _listeners(self, config: Config) -> Iterator[WorkerListener]:
        """Those that are open, each with its gateway, which has its name where there are several.

        One that the configuration does not have any more is about to be closed.
        """
        written = config.gateway.log
        log, details = self._log_by(config), details_of(written.fields)
        shared = self.metrics, log, self.log_from, self.loop, self.overload, details
        wanted = _listeners_of(config)
        for opened in self.listeners.gateway:
            key = opened.key
            if key in wanted:
                snapshot = self.snapshot.at(key)
                gateway = ListenerGateway(key, snapshot, *shared) if key else Gateway(snapshot, *shared)
                gateway.watch(self._watchers(config))
                gateway.trace(self.telemetry.tracer)
                gateway.explains = self.explaining
                tickets = self.runtime.tickets.get(key)
                local = self.local_answers, self.builder.challenges
                yield WorkerListener(opened, wanted[key], gateway, *local, self.runtime.directory, tickets)

    def _use(self, snapshot: Snapshot, config: Config) -> None:
        """Serve by a snapshot, and by the configuration that it was built from.

        A listener that this does not have goes on by the last one: another worker is about to take over from this one.
        """
        wanted = _listeners_of(config)
        self.telemetry.adopt(config)
        log = self.watching.over(self._log_by(config), self.log_from)
        for listener in self.serving:
            listener.gateway.trace(self.telemetry.tracer)
            listener.gateway.log_to(*log)
            if listener.key in wanted:
                listener.adopt(wanted[listener.key], snapshot)
            listener.gateway.watch(self._watchers(config))
        self.snapshot, self.config = snapshot, config

    def _log_by(self, config: Config) -> Log | None:
        """What takes records of exchanges: the log, which stays as it was opened, and what goes to a collector."""
        log = self.telemetry.log(self.log, config)
        return log if log is None or self.log_share == 1 else SampledLog(log, self.log_share)

    def _log_anew(self) -> None:
        """Once somebody watches, or nobody any more."""
        log = self.watching.over(self._log_by(self.config), self.log_from)
        for listener in self.serving:
            listener.gateway.log_to(*log)

    def _watchers(self, config: Config) -> list[Callable[[Exchange], None]]:
        """What counts exchanges by parts of services, where the configuration asks for that."""
        wanted = config.gateway.metrics
        watchers = ((wanted.routes, self.parts.observe_route), (wanted.instances, self.parts.observe_instance))
        return [watch for is_wanted, watch in watchers if is_wanted]

    def _is_trusted(self, address: str) -> bool:
        return is_in(address, self.snapshot.trusted_proxies)

    async def _drain(self, timeout: float) -> None:
        """Let running exchanges finish, `timeout` seconds at most."""
        self.http.close_idle()
        end = time.monotonic() + timeout
        while self._is_busy() and time.monotonic() < end:  # noqa: ASYNC110
            await asyncio.sleep(_DRAIN_STEP)
        if self.http.connections:
            logger.warning(
                "connections cut at the end of the drain timeout", extra={"count": len(self.http.connections)}
            )
            self.http.cut()
            await asyncio.sleep(_DRAIN_STEP)

    def _is_busy(self) -> bool:
        return bool(self.http.connections) or any(entrance.is_opening() for entrance in self.entrances)

    async def _keep_up(self) -> None:
        while True:
            await asyncio.sleep(_UPKEEP_INTERVAL)
            try:
                await in_slices(self.builder.live.pruning())
            except Exception:  # a fault in one round is no reason to leave the next ones out
                logger.exception("the upkeep of connections failed")
            if self.plugins.has_left_code():
                memory.collect_settled()
            try:
                await self._refresh_files()
            except Exception:
                logger.exception("renewed files could not be taken over")
            try:
                await self._forget_unused()
            except Exception:
                logger.exception("caches could not be cleared of what is not used")

    async def _forget_unused(self) -> None:
        """Drop from all caches, twice in `forget_after` seconds, what was not used since the last time."""
        now = time.monotonic()
        if now - self.forgot >= self.config.gateway.limits.forget_after / 2:
            self.forgot = now
            await in_slices(aging(now))
            if self.runtime.table is not None:
                await in_slices(self.runtime.table.forgetting(now))
            memory.trim()

    async def _refresh_files(self) -> None:
        """Bring certificates into use that were renewed."""
        async with self.changing:
            for listener in self.serving:
                listener.refresh()
            if self.builder.live.refresh_files():
                generation = self.snapshot.generation
                self._use(await in_slices(self.builder.building(self.config, generation)), self.config)
                await in_slices(self.builder.live.retiring())

    def _hang_up(self) -> None:
        """SIGHUP: logs and certificates are opened anew; the configuration comes from the control process."""
        background(self._refresh_files(), "renewed files")
        if self.log is not None:
            self.log.reopen()

    def _connected(self, writer: asyncio.StreamWriter) -> None:
        """Control is there: it gets what it has to know of this worker."""
        self.builder.live.report_anew()
        for ejection in self.builder.live.ejected():
            self._report_ejection(*ejection)
        self.purging.connected(writer)
        self.sent_events.connected(writer)

    def _process_now(self, message: channel.Message, writer: asyncio.StreamWriter) -> bool:
        """Whether it was a message that does not wait until a configuration is taken over.

        Purges may not be late, nor may the end of a canary, of an instance's work, of an API key or of a token.
        """
        match message:
            case channel.NewPurges():
                self.purging.receive(message, writer)
            case channel.Purged():
                self.purging.answered(message)
            case channel.SharedSwept(before):
                self.purging.swept_before = before
            case channel.NewKeys(address, issuer, document, as_of):
                self.builder.key_sets.learn(KeySource(address, issuer), document, as_of)
            case channel.Explain():
                background(self._explain(message, writer), "an explanation")
            case channel.Inspect():
                background(self._inspect(message, writer), "a look into the cache")
            case channel.ShowLimits():
                background(self._show_limits(message, writer), "a look at limits")
            case channel.Weights(weights):
                self.builder.live.set_weights(weights)
            case channel.NewSnapshot(weights=weights):  # later ones must not be replaced by these
                self.builder.live.learn_weights(weights)
                return False
            case _:
                return self._learn(message, writer)
        return True

    def _learn(self, message: channel.Message, writer: asyncio.StreamWriter) -> bool:
        """Whether it was a message that control wants to have confirmed."""
        match message:
            case channel.NewApiKeys(keys, are_all, number):
                self.builder.api_keys.learn(keys, are_all=are_all)
            case channel.NewRevocations(revocations, number):
                self.builder.revoked.learn(revocations)
            case channel.NewChallenges(answers, number):
                self.builder.challenges.learn(answers)
            case channel.NewOverrides(overrides, number):
                self.builder.live.override(overrides)
            case channel.Watch(number=number):
                self.watching.receive(message, writer)
            case channel.ResetLimit(number, limit, key):
                reset(self.builder.limits(), limit, key)
            case _:
                return False
        channel.send(writer, channel.Learnt(number))
        return True

    async def _inspect(self, message: channel.Inspect, writer: asyncio.StreamWriter) -> None:
        report = await inspected(message, self.snapshot.all_matchers, self.caches)
        channel.send(writer, channel.Inspected(message.number, msgspec.json.encode(report)))

    async def _show_limits(self, message: channel.ShowLimits, writer: asyncio.StreamWriter) -> None:
        report = await in_slices(reported(self.builder.limits(), message.most, message.key, message.consumers))
        channel.send(writer, channel.Inspected(message.number, msgspec.json.encode(report)))

    def _serving_now(self) -> Serving:
        ports = {listener.key: listener.port for listener in self.serving}
        return Serving(self.builder, self.snapshot, self.config, ports)

    async def _explain(self, message: channel.Explain, writer: asyncio.StreamWriter) -> None:
        channel.send(writer, await self.explaining.answer(message))

    async def _process(self, message: channel.Message, writer: asyncio.StreamWriter) -> None:
        """Do as control says. Where that fails, it is reported to control, and the worker is replaced.

        Its successor begins with all that this one failed to take over; until then it goes on with what it has.
        """
        try:
            async with self.changing:
                await self._apply(message, writer)
        except Exception as error:
            logger.exception("what control sent could not be applied", extra={"kind": type(message).__name__})
            if isinstance(message, channel.NewSnapshot):
                channel.send(writer, channel.Adopted(message.generation, repr(error)))
            elif isinstance(message, channel.Prepare):
                channel.send(writer, channel.Prepared(repr(error)))
            self._ask_for_successor(f"it could not apply {type(message).__name__}: {error!r}")

    async def _apply(self, message: channel.Message, writer: asyncio.StreamWriter) -> None:
        match message:
            case channel.Prepare(dumped):
                channel.send(writer, channel.Prepared(await self.preparation.prepare(dumped)))
            case channel.Abandon():
                self.preparation.abandon()
            case channel.NewSnapshot(generation, dumped, health, found):
                problem = ""
                if found is not None:
                    await in_slices(self.builder.live.learning(found))
                if generation != self.snapshot.generation:
                    problem = await self._adopt(generation, dumped)
                else:
                    self.builder.live.apply_weights()
                self.builder.live.set_health(health)
                channel.send(writer, channel.Adopted(generation, problem))
                self.informed.set()
            case channel.HealthChange(states):
                self.builder.live.set_health(states)
            case channel.CheckPassed(upstream, url):
                self.builder.live.check_passed(upstream, url)
            case channel.NewDocument(service, version, document):
                await in_slices(self.builder.documents.learning((service, version), document))
            case channel.Discovered(service, changed):
                await in_slices(self.builder.live.discovering(service, changed))
            case channel.Collect(number):
                channel.send(writer, channel.Report(await self._totals(), number))

    async def _adopt(self, generation: int, dumped: bytes) -> str:
        """Swap the snapshot: one assignment, after everything in it was built. What is wrong with files or with users'
        policies, if anything.

        Raises what nobody foresaw.
        """
        matches = (matcher.parts() for matcher in self.snapshot.all_matchers)
        replaced = letting_go(chain(self.config.parts(), *matches, self.builder.live.parts()))
        try:
            config, plugins = await self.preparation.take(dumped)
        except PluginError as error:
            logger.error("a new configuration could not be taken over", extra={"reason": str(error)})
            return str(error)
        replaced_plugins = self.builder.plugins
        try:
            shared = await self.shared.prepare(config)
            try:
                await in_slices(self.caches.resizing(config.gateway.cache.memory))
                counting = self._counting(shared, config)
                with without_collections():
                    snapshot = await in_slices(self.builder.building(config, generation, counting, plugins))
            except BaseException:
                self.shared.abandon(shared)
                await in_slices(self.caches.resizing(self.config.gateway.cache.memory))
                raise
        except BaseException as error:
            self.plugins.abandon(plugins)
            if not isinstance(error, CertificateError):
                raise
            logger.error("a new configuration could not be taken over", extra={"reason": str(error)})
            return str(error)
        before = {listener.gateway: listener.gateway.snapshot for listener in self.serving}
        self._use(snapshot, config)
        await in_slices(self.builder.live.retiring())
        self.rights.review(before)
        self.plugins.adopt(plugins, replaced_plugins)
        self.shared.adopt(shared, config)
        self.overload.limit(config.gateway.limits.requests, config.gateway.limits.lag)
        self.purging.follow(config)
        limits, passes = _limits(config.gateway), passing_named(config.gateway.pass_headers, raises=True)
        self.http.change(limits, passes)
        await in_slices(replaced)
        forget_results()
        memory.trim()
        return ""

    def _counting(self, shared: SharedParts, config: Config) -> Counting:
        return Counting(shared.limits, bucket_table(config.gateway, self.runtime), shared.bindings)

    def _report_ejection(self, upstream: str, url: str, after_failure: bool) -> None:
        """Control without an answer: while it is away, so are active checks."""
        self.control.send(channel.Ejected(upstream, url, after_failure))

    def _ask_for_keys(self, source: KeySource) -> bool:
        return self.control.send(channel.KeysWanted(*source))

    async def _reports(self) -> list[channel.Message]:
        reports: list[channel.Message] = [channel.Report(await self._totals())]
        if used := self.builder.api_keys.take_used():
            reports.append(channel.KeysUsed(used))
        return reports

    async def _totals(self) -> bytes:
        instances = await in_slices(self.builder.live.reporting())
        self.telemetry.count()
        self.metrics.log_lines_dropped = self.log.dropped if self.log else 0
        self.metrics.failed_handshakes = sum(entrance.failed_handshakes for entrance in self.entrances)
        self.metrics.cache_evictions = self.caches.memory.evictions
        limits = self.shared.parts.limits
        totals: dict[str, Any] = {
            **self.metrics.dump(),
            **self.parts.dump(lambda: [route.name for route in self.config.all_routes], self.builder.live.urls),
            "in_flight": self.http.in_flight,
            "connections": len(self.http.connections),
            "tunnels": self.http.tunnels,
            **instances,
            "cache_entries": self.caches.memory.entries,
            "cache_bytes": self.caches.memory.bytes,
            "redis_up": None if limits is None else int(limits.is_up),
            "generation": self.snapshot.generation,
            "exemplars": self.telemetry.exemplars(),
        }
        return msgspec.json.encode(totals)

    def _open_log(self, config: Config, loop: asyncio.AbstractEventLoop) -> AccessLog | None:
        settings = config.gateway.log
        if settings.access == "off":
            return None
        lock = self.runtime.log_lock if config.gateway.workers != 1 else None
        rotation = None if settings.rotate is None else Rotation(settings.rotate.size, settings.rotate.keep)
        return AccessLog(loop, settings.access, settings.format, lock, rotation, settings.pending)

    def _livez(self) -> Answer:
        return _status_answer(200, "alive")

    def _readyz(self) -> Answer:
        return _status_answer(200, "ready") if self.ready else _status_answer(503, "draining")


def _names_all_canaries(config: Config, weights: Mapping[str, Mapping[str, float]]) -> bool:
    """Whether there are weights for every canary of a configuration: without them, the old service gets everything."""
    splits = {route.name: route.split for route in config.all_routes if route.split is not None}
    return weights.keys() >= {name for name, split in splits.items() if split.canary is not None}


def _status_answer(status: int, text: str) -> Answer:
    body = msgspec.json.encode({"status": text})
    return Answer(status, (b"Content-Type: application/json", b"Cache-Control: no-store"), body)


def _listeners_of(config: Config) -> dict[str, ListenerSettings]:
    return {settings.key: settings for settings in config.gateway.listeners}


def _limits(gateway: GatewaySettings) -> Limits:
    others = {"drain_delay", "drain_timeout", "forget_after", "hang_timeout", "lag", "requests"}
    written = gateway.limits.model_dump(exclude=others)
    return Limits(**written, is_shared=lambda address: is_in(address, gateway.trusted_proxies))
