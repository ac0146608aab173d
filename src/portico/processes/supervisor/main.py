"""The supervisor: holds the listening sockets, starts the other processes, again if they die, and stops them."""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import logging
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any, Final

from portico import __version__
from portico.config import Config
from portico.core import memory
from portico.core.caches import forget_results
from portico.core.imports import kept, left_out
from portico.net.tls.tickets import TicketContexts
from portico.observe.events import configure_events
from portico.policies.counters.shared_buckets import BucketTable
from portico.processes.control.acme.served import serve_last
from portico.processes.control.canary_records import last_weights
from portico.processes.control.override_file import last_overrides
from portico.processes.ipc.listeners import ACCEPT_GRACE, Listeners, address_of, turn_away
from portico.processes.ipc.notices import FAILING, RELOADED, RELOADING, SERVING, UNUSABLE, Notices
from portico.processes.ipc.runtime import Listening, Runtime
from portico.processes.supervisor.child import KILL_GRACE, Child
from portico.processes.supervisor.descriptors import allow_descriptors
from portico.processes.supervisor.embedded_redis import NAME as REDIS
from portico.processes.supervisor.embedded_redis import EmbeddedRedis, program_for
from portico.processes.supervisor.listening import announce, keep_tickets, relisten
from portico.processes.supervisor.roll import Roll
from portico.processes.supervisor.systemd import Systemd
from portico.processes.supervisor.wakeups import leave_wakeups, wakeups
from portico.processes.worker.main import run_worker  # once for all workers, which share the memory of their code
from portico.wire.loads import Loads

logger: Final = logging.getLogger("portico.supervisor")

_LOOK: Final = 1.0
"""Seconds after which the supervisor checks its children even if nothing has happened."""
_PAUSE: Final = 0.2
"""Seconds of backoff after a failed check."""
_BACKLOG: Final = 4096


def _unix_listener(path: Path) -> socket.socket:
    """A socket that outlives the control process: clients that connect during its restart wait instead of failing."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(_BACKLOG)
    listener.setblocking(False)
    return listener


class Supervisor:
    """Runs one gateway: a control process and `gateway.workers` workers around the listening sockets.

    With `watch` the configuration is read again when its files change. `refused` is what is wrong with the file where
    it runs by an earlier configuration than that.
    """

    def __init__(
        self,
        config: Config,
        config_path: Path | None,
        listeners: Listeners,
        *,
        watch: bool = False,
        refused: str = "",
    ) -> None:
        self.gateway = config.gateway
        self.limits = config.gateway.limits
        self._config: Config | None = config
        self.config_path = config_path
        self.listeners = listeners
        self.watch = watch
        self.refused = refused
        self.children: list[Child] = []
        self.companions: list[Child] = []
        """Processes that run beside the gateway and stop after it."""
        self.lifeline = -1
        self.notices = Notices()
        self.systemd = Systemd(os.environ)
        self.roll: Roll | None = None
        self.failing: dict[int, Child] = {}
        """Workers that asked to be replaced, by process id."""
        self.redis: EmbeddedRedis | None = None
        self.tickets: dict[str, TicketContexts] = {}
        self.looked = time.monotonic()
        self.was_ready = False
        self.reload_requested = False
        self.was_reloaded = False
        """Whether the configuration may have other listeners since the last look."""
        self.stopping = False
        self.is_unusable = False
        self.cut_short = False

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT; a second SIGINT cuts the drain short.

        Raises SystemExit where no worker could serve by the configuration, at the start; an event says why.
        """
        configure_events(self.gateway.log.level, self.gateway.log.format)
        allow_descriptors(self.limits.connections)
        directory = Path(tempfile.mkdtemp(prefix="portico-"))
        self.lifeline, self._hold = os.pipe()
        os.set_inheritable(self.lifeline, True)
        program = program_for(self.gateway)
        self.redis = EmbeddedRedis(program, directory, self.lifeline) if program else None
        count = self.gateway.worker_count
        table = BucketTable() if count > 1 else None
        keep_tickets(self.tickets, self.listeners)
        loads = Loads(2 * count) if count > 1 else None
        self.runtime = Runtime(directory, self.redis.url if self.redis else None, table, self.tickets, loads)
        try:
            self._store()
            self.control_listener = _unix_listener(self.runtime.control_socket)
            self.channel_listener = _unix_listener(self.runtime.channel_socket)
            with wakeups() as self.wakeup:
                self._start_all()
                while not self.stopping:
                    try:
                        self._watch()
                    except Exception:  # all serving processes depend on this one
                        logger.exception("the supervisor failed to look around, and does it again")
                        time.sleep(_PAUSE)
                self._stop_all()
        finally:
            shutil.rmtree(directory, ignore_errors=True)
        if self.is_unusable:
            raise SystemExit(1)

    # ---- starting

    def _store(self) -> None:
        """Store what the other processes begin with. This one lets go of the configuration: they load their own."""
        config, self._config = self._config, None
        assert config is not None
        self.runtime.store(self.runtime.completed(config), 1)
        self.runtime.store_refused(self.refused)
        serve_last(config, self.config_path, self.runtime)
        self.runtime.store_weights(last_weights(config, self.config_path))
        self.runtime.store_overrides(last_overrides(config, self.config_path))
        self._store_listening()

    def _start_all(self) -> None:
        count = self.gateway.worker_count
        self._import_what_all_need()
        forget_results()
        memory.trim()
        gc.freeze()
        self.children = [self.redis.child] if self.redis else []
        self.children += [Child("control", self._control, beats=True)]
        self.children += [Child(f"worker-{index}", self._worker, beats=True) for index in range(count)]
        self.children += self.companions
        for child in self.children:
            self._start(child)
        announce(self.listeners.gateway, f"portico {__version__}", workers=count)
        if self.listeners.admin is not None:
            logger.info("admin API on http://%s", address_of(self.listeners.admin))
        else:
            logger.warning("no admin API: %s", self.listeners.admin_problem)

    def _import_what_all_need(self) -> None:
        """Once rather than in each process that is forked from this one, which then share it."""
        if self.redis is not None or self.gateway.redis_url is not None:
            with kept(), contextlib.suppress(ImportError):  # workers say what is missing
                import redis.asyncio  # noqa: F401

    def _control(self, child: Child) -> None:  # noqa: ARG002
        with kept(), left_out("httpx._main"):  # the command line of httpx, which brings all that draws tables
            from portico.processes.control.process import (  # FastAPI is loaded in this process only
                ControlSockets,
                run_control,
            )

        self.listeners.close()
        sockets = ControlSockets(self.control_listener, self.channel_listener, self.listeners.admin)
        run_control(self.runtime, sockets, self.lifeline, self.notices, self.config_path, watch=self.watch)

    def _worker(self, child: Child) -> None:
        self.listeners.close_admin()
        name = f"{child.name}-{os.getpid()}"
        joins, load = child.is_replacement, child.load
        run_worker(self.listeners, self.runtime, self.lifeline, self.notices, name, joins=joins, load=load)

    def _start(self, child: Child) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        if child.is_worker:
            for tickets in self.tickets.values():
                tickets.extend()
            if self.runtime.loads is not None:
                child.load = child.load or self.runtime.loads.reserve()
        try:
            pid = os.fork()
        except OSError as error:  # too many processes, no memory: the others go on
            child.restarts += 1
            delay = child.postpone()
            extra = {"child": child.name, "reason": error.strerror, "again_in": f"{delay:g}s"}
            logger.error("a process could not be started", extra=extra)
            return
        if pid == 0:
            self._become(child)
        child.note_start(pid)

    def _become(self, child: Child) -> None:
        """Runs the forked process to its end; never returns into the supervisor's code."""
        status = 1
        try:
            leave_wakeups()
            faulthandler.enable()
            sys.stdout = sys.stderr  # what users' policies print is no line of the access log
            os.close(self._hold)
            self.notices.only_say()
            if self.redis:
                self.redis.leave_alone()
            child.main(child)
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        except BaseException:  # nothing may escape into the parent's stack
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    # ---- watching

    def _watch(self) -> None:
        """One check: signals and notices, children that ended, have to start, or hang."""
        self._wait(self._time_to_next_start())
        self._reap()
        self._start_due()
        for tickets in self.tickets.values():
            tickets.current()  # drops the keys of days that are over
        if self.redis:
            self.redis.look()
        self._end_hung()
        if self.roll is not None and not self.roll.advance():
            self.roll = None
        if self.roll is None and self.was_reloaded:
            self._relisten()
        if self.roll is None and self.failing:
            self._replace_failing()

    def _time_to_next_start(self) -> float:
        pending = [child.start_at - time.monotonic() for child in self.children if not child.pid]
        return min([_LOOK, *pending])

    def _wait(self, timeout: float) -> None:
        if self.systemd.watchdog_interval is not None:
            timeout = min(timeout, self.systemd.watchdog_interval)
        sources: list[Any] = [self.wakeup, self.notices.reader]
        readable = select.select(sources, [], [], max(0.0, timeout))[0]
        self.systemd.sign_of_life()
        if self.wakeup in readable:
            for number in self.wakeup.recv(4096):
                self._heed(number)
        if self.notices.reader in readable:
            children = {child.pid: child for child in self.children}
            for pid, word, why in self.notices.received():
                if pid in children:
                    self._process(children[pid], word, why)

    def _heed(self, number: int) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self.cut_short = self.cut_short or (self.stopping and number == signal.SIGINT)
            self.stopping = True
        elif number == signal.SIGHUP:
            self.reload_requested = True
            for child in self.children:
                child.signal(signal.SIGHUP)
        elif number == signal.SIGUSR1 and self.roll is not None:
            logger.warning("a rolling restart is under way already")
        elif number == signal.SIGUSR1 and not self.stopping:
            self._replace([child for child in self.children if child.is_worker], "SIGUSR1")

    def _relisten(self) -> None:
        """Listen where the configuration that is in use now says, and have workers that do so take over."""
        self.was_reloaded = False
        listeners = relisten(self.listeners, self.runtime.stored_gateway(), f"portico {__version__}")
        if listeners is self.listeners or self.stopping:
            return
        self.listeners = listeners
        keep_tickets(self.tickets, listeners)
        self._store_listening()
        why = "a reload has other addresses to listen on"
        self._replace([child for child in self.children if child.is_worker], why)
        self._report_ready()

    def _store_listening(self) -> None:
        own = self.listeners.gateway
        hosts = [(each.settings.host, one.getsockname()[1]) for each in own for one in each.sockets.values()]
        self.runtime.store_listening(Listening({each.key: each.url for each in own}, hosts))

    def _replace_failing(self) -> None:
        """Replace the workers that asked for it, unless they have ended or are stopping by now."""
        failing, self.failing = self.failing, {}
        workers = [child for pid, child in failing.items() if child.pid == pid and not child.is_leaving]
        for child in workers:
            extra = {"child": child.name, "pid": child.pid, "reason": child.failing_because}
            logger.warning("a worker asks to be replaced", extra=extra)
        if workers:
            self._replace(workers, f"asked for: {workers[0].failing_because}")

    def _replace(self, workers: list[Child], why: str) -> None:
        self.roll = Roll(workers, self._begin, self.limits.drain_timeout + ACCEPT_GRACE, why)

    def _begin(self, child: Child) -> None:
        self.children.append(child)
        self._start(child)

    def _process(self, child: Child, word: str, why: str = "") -> None:
        child.last_report = time.monotonic()
        if word == SERVING:
            child.serves = True
            if child.is_worker:
                logger.info("%s serves", child.name, extra={"pid": child.pid})
                self._announce_ready()
                return
            if child.away_since is not None:
                extra = {"pid": child.pid, "away": f"{time.monotonic() - child.away_since:.1f}s"}
                logger.info("%s serves again", child.name, extra=extra)
                child.away_since = None
            if self.reload_requested:  # while there was no control process to receive it, or it died during it
                child.signal(signal.SIGHUP)
            elif self.was_ready:
                self._report_ready()
        elif word == FAILING and child.is_worker:
            child.failing_because = why
            self.failing[child.pid] = child
        elif word == RELOADING and not self.stopping:
            self.systemd.reloading()
        elif word == RELOADED:
            self.reload_requested = False
            self.was_reloaded = True
            self._report_ready()

    def _announce_ready(self) -> None:
        if not self.was_ready and all(child.serves for child in self.children if child.is_worker):
            self.was_ready = True
            self._report_ready()

    def _report_ready(self) -> None:
        """Unless the gateway stops: systemd knows that already, and the listeners may be closed."""
        if not self.stopping:
            self.systemd.ready(self._status())

    def _status(self) -> str:
        workers = sum(child.serves and child.pid != 0 for child in self.children if child.is_worker)
        where = ", ".join(address_of(each.own) for each in self.listeners.gateway)
        return f"serving on {where}, workers: {workers}"

    def _reap(self) -> None:
        for child in list(self.children):
            if not child.pid:
                continue
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if not pid:
                continue
            code = os.waitstatus_to_exitcode(status)
            extra: dict[str, Any] = {"child": child.name, "pid": pid, "exit": code}
            if child.last_words and code > 0:  # it ended by itself, and may have logged why
                extra["last_words"] = child.last_words()
            if code == UNUSABLE and child.is_worker and not self.was_ready:
                self.is_unusable = self.stopping = True
            if child.load is not None and self.runtime.loads is not None:
                self.runtime.loads.free(child.load)
                child.load = None
            delay = child.note_end()
            if not child.is_wanted:
                self.children.remove(child)
                logger.info("a process ended", extra=extra)
            elif not self.stopping:
                logger.warning("a process ended and is started again", extra={**extra, "restart_in": f"{delay:g}s"})

    def _start_due(self) -> None:
        now = time.monotonic()
        self.children = [child for child in self.children if child.pid or child.is_wanted]
        for child in self.children:
            if not child.pid and child.start_at <= now and not self.stopping:
                self._start(child)

    def _end_hung(self) -> None:
        now = time.monotonic()
        timeout = self.limits.hang_timeout
        if now - self.looked > timeout / 2:  # this process itself was stalled
            for child in self.children:
                child.last_report = now
        self.looked = now
        for child in self.children:
            if child.end_if_hung(timeout, now):
                extra = {"child": child.name, "pid": child.pid, "silent": f"{timeout:g}s"}
                logger.error("a process hangs and is ended", extra=extra)
            child.end_if_overdue(now)

    # ---- stopping

    def _stop_all(self) -> None:
        """Workers drain first; the control process, which answers for them until then, ends after them; Redis last."""
        logger.info("stopping: running requests may finish")
        self.systemd.stopping()
        workers = [child for child in self.children if child.is_worker]
        for worker in workers:
            worker.signal(signal.SIGTERM)
        accept_until = time.monotonic() + self.limits.drain_delay + ACCEPT_GRACE
        self._wait_for(workers, accept_until)
        for listener in self.listeners.public:
            turn_away(listener)
        self.listeners.close()  # the workers close theirs once they have accepted the connections on their way
        self._stop(workers, accept_until + self.limits.drain_timeout)
        users = [child for child in self.children if child.name != REDIS]
        self._stop(users, time.monotonic() + 2)
        self._stop(self.children, time.monotonic() + 2)
        logger.info("stopped")

    def _stop(self, children: list[Child], deadline: float) -> None:
        """End them, by force after the deadline and its grace."""
        for child in children:
            child.signal(signal.SIGTERM)
        self._wait_for(children, deadline + KILL_GRACE)
        for child in children:
            child.signal(signal.SIGKILL)
        self._wait_for(children, time.monotonic() + KILL_GRACE, uninterrupted=True)

    def _wait_for(self, children: list[Child], end: float, *, uninterrupted: bool = False) -> None:
        """Wait until they have ended, or until `end`, or until Ctrl-C is pressed once more."""
        while any(child.pid for child in children) and (uninterrupted or not self.cut_short):
            left = end - time.monotonic()
            if left <= 0:
                return
            self._wait(min(left, _LOOK))
            self._reap()
