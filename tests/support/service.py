"""The service of `orders.py`, or another one, under uvicorn, as a process."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from .client import TIMEOUT, ask
from .messages import Message
from .portico import environment, source
from .process import Process


class UvicornService(Process):
    """Runs `app` of orders.py, or `module:app`, on a free port; SIGTERM ends it, and everything that it started."""

    STOP_WITHIN = TIMEOUT

    def __init__(
        self, env: Mapping[str, str] | None = None, app: str = "app", workers: int = 1, root_path: str = ""
    ) -> None:
        path = f"{source()}{os.pathsep}{Path(__file__).resolve().parents[1]}"
        command = [sys.executable, "-m", "support.serve", app, workers, root_path]
        super().__init__(*command, env=environment(PYTHONPATH=path, **(env or {})))
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def said(self) -> str:
        return self.output()

    def get(self, target: str, *lines: str) -> Message:
        return ask(self.port, "GET", target, *lines)

    def is_ready(self) -> bool:
        self.port = self.port or self._announced_port()
        try:
            return self.port > 0 and self.get("/health").status == 200
        except OSError:
            return False

    def _announced_port(self) -> int:
        words = self.said().split()
        return int(words[words.index("port") + 1]) if "port" in words[:-1] else 0
