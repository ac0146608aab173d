"""Instances that somebody has drained or weighed over the admin API: in all workers, also later ones, until the end.

What was said about an instance ends when somebody enables it, or a minute after the instance has gone: one that comes
back by then, as after a restart of its host, is drained still.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from portico.config import Config
from portico.core.overrides import Override
from portico.processes.control.override_file import OverrideFile, overrides_path
from portico.processes.control.state_file import is_there
from portico.processes.control.workers import Workers
from portico.processes.ipc import channel
from portico.processes.ipc.runtime import Runtime

logger: Final = logging.getLogger("portico.control")

GRACE: Final = 60.0
"""Seconds after which an instance that went is another one when it comes back."""
_PAUSE: Final = 1.0
_CONFIRMED: Final = 2.0
"""Seconds in which workers confirm a change."""

Identity = tuple[str, str]
"""An upstream key and a URL."""


class Said(NamedTuple):
    """What holds for an instance now (None: what is configured), the workers that have not confirmed it, and whether it
    outlasts this gateway.
    """

    override: Override | None
    late: list[str]
    is_kept: bool


class Overrides:
    """What was said about all instances. `known` gives those that there are."""

    def __init__(
        self,
        workers: Workers,
        runtime: Runtime,
        config_path: Path | None,
        known: Callable[[], Collection[Identity]],
        grace: float = GRACE,
    ) -> None:
        self._workers = workers
        self._runtime = runtime
        self._config_path = config_path
        self._known = known
        self._grace = grace
        self._path: Path | None = None
        self._other = runtime.directory / "instances"
        """Where it is kept for as long as this gateway runs, if not at that path."""
        self._file: OverrideFile | None = None
        self._overrides: dict[Identity, Override] = {}
        self._gone: dict[Identity, float] = {}
        """Since when an instance has not been there (monotonic seconds)."""
        workers.overrides = self._message

    def __len__(self) -> int:
        return len(self._overrides)

    def get(self, key: str, url: str) -> Override | None:
        """What was said about an instance."""
        return self._overrides.get((key, url))

    def follow(self, config: Config) -> None:
        """Keep it where this configuration says, and know what was said before."""
        path = overrides_path(config, self._config_path)
        if self._file is not None and path == self._path:
            return
        self.close()
        self._path = path
        if is_there(path, self._other):
            self._put(self._open().load())

    def _open(self) -> OverrideFile:
        if self._file is None:
            self._file = OverrideFile(self._path, self._other)
        return self._file

    def close(self) -> None:
        """Let another process have the file."""
        if self._file is not None:
            self._file.close()
        self._file = None

    async def drain(self, key: str, url: str, by: str) -> Said:
        """No new exchange for an instance."""
        return await self._say(key, url, by, is_drained=True)

    async def weigh(self, key: str, url: str, weight: int, by: str) -> Said:
        """Another weight than the one that is written. One that is drained has it once it is enabled again."""
        return await self._say(key, url, by, weight=weight)

    async def enable(self, key: str, url: str, by: str) -> Said:
        """What is configured holds again."""
        if (key, url) in self._overrides:
            logger.info("an instance is as configured again", extra={"service": key, "instance": url, "by": by})
        return await self._spread(each for each in self._overrides.values() if each.identity != (key, url))

    async def _say(self, key: str, url: str, by: str, **said: bool | int) -> Said:
        before = self._overrides.get((key, url)) or Override(key, url)
        override = msgspec.structs.replace(before, at=time.time(), by=by, **said)
        extra = {"service": key, "instance": url, "by": by, **said}
        logger.info(
            "an instance was drained" if "is_drained" in said else "an instance has another weight", extra=extra
        )
        done = await self._spread({**self._overrides, (key, url): override}.values())
        return done._replace(override=override)

    async def _spread(self, overrides: Iterable[Override]) -> Said:
        self._put(overrides)
        is_kept = self._open().store([*self._overrides.values()])
        answers = await self._workers.ask(self._message, _CONFIRMED)
        return Said(None, [worker for worker, answer in answers.items() if answer is None], is_kept)

    def _put(self, overrides: Iterable[Override]) -> None:
        self._overrides = {each.identity: each for each in overrides}
        self._runtime.store_overrides([*self._overrides.values()])

    def _message(self, number: int = 0) -> channel.NewOverrides:
        return channel.NewOverrides([*self._overrides.values()], number)

    async def keep_ending(self) -> None:
        """End what was said about instances that are gone, for ever."""
        while True:
            await asyncio.sleep(_PAUSE)
            if self._overrides:
                await self.end_gone(time.monotonic())

    async def end_gone(self, now: float) -> None:
        """The same once, at this moment of the monotonic clock."""
        known = self._known()
        self._gone = {each: self._gone.get(each, now) for each in self._overrides if each not in known}
        over = [each for each, since in self._gone.items() if now - since >= self._grace]
        for key, url in over:
            logger.info("what was said about an instance ended with it", extra={"service": key, "instance": url})
        if over:
            await self._spread(each for each in self._overrides.values() if each.identity not in over)
