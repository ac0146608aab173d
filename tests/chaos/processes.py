"""The processes around the gateways: instances of the service, and the load."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Final, Self

from benchmarks.children import child, free_port, output_file
from benchmarks.commands import python
from benchmarks.readiness import comes_true

from . import outcome
from .load import OUTCOMES, PATIENCE
from .outcome import Outcome

_START_WITHIN: Final = 10.0
ALL_CORES: Final = frozenset(os.sched_getaffinity(0))


def module(name: str, *arguments: object) -> list[str]:
    """The command that runs a module of this package."""
    return python(f"{__package__}.{name}", *arguments)


class Process:
    """One process with a directory of its own, both gone at the end of the block."""

    def __init__(self, cores: frozenset[int] = ALL_CORES) -> None:
        self.directory = Path()
        self._cores = cores
        self._stack = ExitStack()
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.directory = Path(self._stack.enter_context(TemporaryDirectory(prefix="portico-chaos-")))
        try:
            self.start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(ProcessLookupError):
            self._signal(signal.SIGCONT)  # what is stopped cannot end
        self._stack.close()

    def start(self) -> None:
        """Again, too."""
        self.process = self._stack.enter_context(child(self.command(), self.directory, self._cores))

    def command(self) -> list[str]:
        raise NotImplementedError

    def output(self) -> str:
        return output_file(self.directory).read_text(errors="replace")

    def _signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)


class Instance(Process):
    """An instance of the service, with what can be done to it."""

    def __init__(self, name: str, cores: frozenset[int] = ALL_CORES) -> None:
        super().__init__(cores)
        self.name = name
        self.port = free_port()

    def command(self) -> list[str]:
        return module("service", self.port, self.name)

    def start(self) -> None:
        super().start()
        if not comes_true(self._answers, _START_WITHIN):
            raise RuntimeError(f"the instance {self.name} did not start\n{self.output()}")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def hold(self) -> None:
        self._signal(signal.SIGSTOP)

    def release(self) -> None:
        self._signal(signal.SIGCONT)

    def be(self, manner: str) -> None:
        """One of the manners of `service`."""
        self._ask(f"/-/be/{manner}")

    def count(self) -> int:
        """How many requests have come since it started."""
        return self._ask("/-/count")

    def _answers(self) -> bool:
        try:
            return self.count() >= 0
        except (OSError, http.client.HTTPException):
            return False

    def _ask(self, target: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", target)
            return int(connection.getresponse().read())
        finally:
            connection.close()


class LoadProcess(Process):
    """The steady load on the gateways at these ports, `most` seconds at most."""

    def __init__(self, ports: list[int], most: float) -> None:
        super().__init__()
        self._ports = ports
        self._most = most

    def command(self) -> list[str]:
        return module("load", self._most, *self._ports)

    def end(self) -> list[Outcome]:
        """Let every client end what it is at; all outcomes."""
        assert self.process is not None
        self.process.terminate()
        code = self.process.wait(3 * PATIENCE)
        if code:
            raise RuntimeError(f"the load failed with {code}\n{self.output()}")
        return outcome.read(self.directory / OUTCOMES)
