"""A program that tests, chaos runs and benchmarks start: what it writes is kept, and nothing is left at its end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Final, Self

from .client import TIMEOUT
from .cores import pinned
from .fork_server import Forked, server_for
from .process_tree import Identity, living, members
from .waiting import comes_true

START_WITHIN: Final = 60.0
"""Seconds: on a busy machine it takes longer to start than to answer."""
_ORPHANS_WITHIN: Final = 2.0
"""Seconds for what is left once the process itself is gone."""


class DidNotStart(Exception):  # noqa: N818 - it reads as what happened
    """A process ended or never was ready; the text is what it wrote."""


class Process:
    """One process in a directory and a session of its own; it runs from the block's beginning to its end.

    `command` is what to run: those who know only later override the method of that name. `env` is its whole
    environment, in place of ours; it is kept to `cores`, else to ours. A `directory` that is given stays.
    """

    STOP_WITHIN: ClassVar[float] = 10.0
    """Seconds for it to end after SIGTERM, before SIGKILL; with 0 that comes at once."""
    SEPARATES: ClassVar[bool] = False
    """Whether what it writes on standard error is kept apart from the rest."""

    def __init__(
        self,
        *command: object,
        env: Mapping[str, str] | None = None,
        cores: frozenset[int] | None = None,
        directory: Path | None = None,
    ) -> None:
        self.process: subprocess.Popen[bytes] | Forked | None = None
        self.cores = cores
        self._command = command
        self._env = env
        self._own = tempfile.TemporaryDirectory(prefix="portico-process-", ignore_cleanup_errors=True)
        self.directory = directory or Path(self._own.name)

    def command(self) -> list[str]:
        """What is run."""
        return [str(part) for part in self._command]

    def is_ready(self) -> bool:
        """Asked until it is true; a process that only has to run is ready at once."""
        return True

    # ---- its life

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def start(self) -> None:
        """Return once it is ready. Raises DidNotStart. One that has ended may be started again."""
        self.launch()
        self.wait_until_ready(self.is_ready)

    def launch(self) -> None:
        """Start it, and wait for nothing."""
        with ExitStack() as stack:
            nothing = stack.enter_context(Path(os.devnull).open("rb"))
            out = stack.enter_context(self._out.open("wb"))
            err = stack.enter_context(self._err.open("wb")) if self.SEPARATES else out
            stack.enter_context(pinned(self.cores))
            command = self.command()
            server = server_for(command, self._env)
            if server is not None and self._env is not None:
                files = [each.fileno() for each in (nothing, out, err)]
                self.process = server.start(command, self.directory, self._env, files)
                return
            self.process = subprocess.Popen(
                command,
                cwd=self.directory,
                env=self._env,
                stdin=nothing,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def wait_until_ready(self, is_ready: Callable[[], object], within: float = START_WITHIN) -> None:
        """Ask until it is true. Raises DidNotStart."""

        def has_come_up() -> bool:
            if self.running.poll() is not None:
                raise DidNotStart(f"exit code {self.running.returncode}\n{self.output()}")
            return bool(is_ready())

        if not comes_true(has_come_up, within):
            raise DidNotStart(f"it was not ready within {within:.0f} s\n{self.output()}")

    def end(self) -> None:
        """Whatever state it is in, nothing of it is left."""
        if self.process is not None:
            tree = members(self.process.pid)
            try:
                self._ask_to_end()
            finally:  # on a second Ctrl-C too
                self.process.kill()
                self.process.wait()
                _end_orphans(tree)
        self._own.cleanup()

    def _ask_to_end(self) -> None:
        if self.STOP_WITHIN and self.running.poll() is None:
            self.running.send_signal(signal.SIGCONT)  # what is paused does not end
            self.running.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.running.wait(self.STOP_WITHIN)

    # ---- what can be done to it

    @property
    def running(self) -> subprocess.Popen[bytes] | Forked:
        assert self.process is not None
        return self.process

    @property
    def pid(self) -> int:
        return self.running.pid

    def signal(self, number: int) -> None:
        self.running.send_signal(number)

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        self.running.kill()
        self.running.wait(TIMEOUT)

    def pause(self) -> None:
        """It keeps its connections and does nothing."""
        self.running.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.running.send_signal(signal.SIGCONT)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """It hangs meanwhile."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    # ---- what it wrote

    @property
    def _out(self) -> Path:
        return self.directory / "out"

    @property
    def _err(self) -> Path:
        return self.directory / "err"

    def out(self) -> str:
        return self._out.read_text()

    def err(self) -> str:
        return self._err.read_text()

    def output(self) -> str:
        """All that it wrote, whatever that is."""
        return "".join(file.read_text(errors="replace") for file in (self._err, self._out) if file.exists())


class DidNotEndWell(Exception):  # noqa: N818 - it reads as what happened
    """A job hung or failed; the text is what it wrote."""


class Job(Process):
    """A process that ends by itself; what it wrote is its result."""

    def start(self) -> None:
        self.launch()

    def result(self, within: float) -> str:
        """What it wrote, once it has ended. Raises DidNotEndWell."""
        try:
            code = self.running.wait(within)
        except subprocess.TimeoutExpired:
            raise DidNotEndWell(f"it did not end within {within:.0f} s\n{self.output()}") from None
        if code:
            raise DidNotEndWell(f"exit code {code}\n{self.output()}")
        return self.output()


def _end_orphans(tree: set[Identity]) -> None:
    comes_true(lambda: not tree & living(), _ORPHANS_WITHIN)
    for pid, _ in tree & living():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
