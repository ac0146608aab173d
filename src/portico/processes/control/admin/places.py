"""Where in the file something is written."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeAlias

from portico.config import Config, ConfigError, included_files, load_config
from portico.config.problems import Finding
from portico.processes.control.state import State

Where: TypeAlias = Callable[[Sequence[str | int]], str | None]
"""File and line of what stands at a path of keys, if they are known."""


class Places:
    """Knows lines of the configuration in use.

    The process that has read a file knows them. One that started later reads it again, if nobody has changed it.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._reading = asyncio.Lock()
        self._read: tuple[int, Config | None] = 0, None

    async def where(self) -> Where:
        """What says where something is, for the configuration that is in use now."""
        config, generation = self._state.config, self._state.generation
        if _knows_lines(config):
            return lambda path: _where(config, path)
        async with self._reading:
            if self._read[0] != generation:
                self._read = generation, await asyncio.to_thread(self._read_again, config)
        known = self._read[1]
        return (lambda path: _where(known, path)) if known is not None else lambda _: None

    def _read_again(self, config: Config) -> Config | None:
        path = self._state.config_path
        with suppress(OSError, ConfigError):
            if path is not None:
                files = [path, *included_files(config.include, config.directory)]
                if all(file.stat().st_mtime <= config.read_at for file in files):
                    return load_config(path, os.environ)
        return None


def _knows_lines(config: Config) -> bool:
    return config.problem(Finding((), "")).line is not None


def _where(config: Config, path: Sequence[str | int]) -> str | None:
    found = config.problem(Finding(tuple(path), "", at_key=True))
    return f"{found.file}:{found.line}" if found.line is not None else None
