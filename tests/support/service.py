"""The service of `orders.py` under uvicorn, as a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from .client import PATIENCE, ask
from .messages import Message
from .world import children, until

ROOT = Path(__file__).parents[2]


class UvicornService:
    """Runs `app` of orders.py on a free port; SIGTERM ends it, and everything that it started with it."""

    def __init__(self, env: Mapping[str, str] | None = None, app: str = "app", workers: int = 1) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="portico-service-")
        own = {name: os.environ[name] for name in ("PATH", "HOME", "VIRTUAL_ENV") if name in os.environ}
        self._env = {**own, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", **(env or {})}
        self._command = [sys.executable, "-m", "tests.support.serve", app, str(workers)]
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def __enter__(self) -> Self:
        with self._out.open("wb") as out:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=self._env, cwd=ROOT
            )
        try:
            self.port = until(self._announced_port, "the service listens")
            until(self._answers, "the service answers")
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    @property
    def _out(self) -> Path:
        return Path(self._directory.name, "out")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def said(self) -> str:
        return self._out.read_text()

    def get(self, target: str, *lines: str) -> Message:
        return ask(self.port, "GET", target, *lines)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> None:
        if self.process.poll() is None:
            family = children(self.process.pid)
            self.signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                for pid in (*family, self.process.pid):
                    os.kill(pid, signal.SIGKILL)
                self.process.wait(PATIENCE)
        self._directory.cleanup()

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.said()
        try:
            return self.get("/health").status == 200
        except OSError:
            return False

    def _announced_port(self) -> int:
        assert self.process.poll() is None, self.said()
        words = self.said().split()
        return int(words[words.index("port") + 1]) if "port" in words[:-1] else 0
