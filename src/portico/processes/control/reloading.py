"""Taking over a changed configuration: checked as a whole first, then sent to every worker."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from portico.config import (
    Config,
    ConfigError,
    Problem,
    Source,
    check_plugins,
    file_problems,
    load_config,
    with_code,
    with_source,
)
from portico.core.slices import BESIDE_CHECKS, collecting_later, in_slices
from portico.net.tls.renewed import FileState, state_of
from portico.processes.control.configuration.cause import Cause
from portico.processes.control.state import State
from portico.processes.ipc import channel
from portico.processes.ipc.listeners import unavailable
from portico.processes.ipc.notices import RELOADED, RELOADING, Notices
from portico.processes.ipc.runtime import Runtime

logger: Final = logging.getLogger("portico.control")

_TIMEOUT: Final = 15.0
"""Seconds for all workers to have a new configuration in use."""
_READ_TIMEOUT: Final = 15.0
"""Seconds for the file to be read, and users' policies to be imported, which may do anything."""
_ADMISSION_PAUSE: Final = 0.25
"""Seconds between two configurations made for services that come and go."""


class ReloadError(Exception):
    """A configuration was not taken over; the message says why, a problem a line. `problems` has each apart."""

    def __init__(self, *problems: Problem | str) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class AdoptionError(Exception):
    """A configuration is valid and in use, but not in every worker; the message names those and says why."""


class Reloading:
    """Reloads, and other changes of the configuration in force, one at a time, for all callers."""

    def __init__(self, state: State, runtime: Runtime, notices: Notices) -> None:
        self._state = state
        self._runtime = runtime
        self._notices = notices
        self._turn = asyncio.Lock()
        self.taken_over: Callable[[Config, Cause], None] = lambda *_: None
        """Called with the configuration before each that is read from its files and taken over, and why it was."""
        self._own: dict[Path, FileState] = {}

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """While this lasts nobody else changes the configuration in force."""
        async with self._turn:
            yield

    @asynccontextmanager
    async def notified(self) -> AsyncIterator[None]:
        """While this lasts the supervisor knows that a configuration is being taken over."""
        self._notices.say(RELOADING)
        try:
            yield
        finally:
            self._notices.say(RELOADED)

    async def reload(self, cause: Cause | None = None) -> int:
        """Read the configuration again; its generation, once every worker uses it.

        Raises ReloadError, and then nothing has changed, or AdoptionError.
        """
        async with self.turn(), self.notified():
            return await self._reload(cause or Cause("reload"))

    async def reload_for_nobody(self, cause: Cause | None = None) -> None:
        """Reload where no caller waits for an answer: the result is logged."""
        try:
            await self.reload(cause)
        except (ReloadError, AdoptionError):
            pass
        except Exception:
            logger.exception("the reload failed")

    async def _reload(self, cause: Cause) -> int:
        state, before = self._state, self._state.config
        try:
            config = await self.in_time(self._read)
        except ReloadError as error:
            self._refuse(str(error))
            logger.error("the configuration is wrong and was not taken over", extra={"problems": str(error)})
            raise
        try:
            await self.prepare(config)
        except ReloadError as error:
            self._refuse(str(error))
            logger.error("a policy cannot be used: the configuration was not taken over", extra={"reason": str(error)})
            raise
        behind = await self.take_over(config)
        self.taken_over(before, cause)
        if behind:
            raise AdoptionError(in_words(behind))
        logger.info("configuration reloaded", extra={"generation": state.generation})
        return state.generation

    def _refuse(self, why: str | None) -> None:
        """Note what is wrong with the file, or that nothing is."""
        if self._state.refused != why:
            self._state.refused = why
            self._runtime.store_refused(why)

    def warn_of_fixed(self, config: Config) -> list[str]:
        """Say what of a configuration that comes into force does not, until a restart."""
        if fixed_differences(self._state.config, config):
            message = "a change of workers, embedded_redis, admin or log takes effect after a restart"
            logger.warning(message)
            return [message]
        return []

    def note_right(self) -> None:
        """Note that the file means what is in force."""
        self._refuse(None)

    def note_source(self, source: Source | None) -> None:
        """Note other texts that mean what is in force."""
        state = self._state
        state.config = with_source(state.config, source)
        self._runtime.store(state.config, state.generation)

    def note_own(self, path: Path) -> None:
        """Note that this process has just written a file: that it has changed is no reason to read it."""
        if (state := state_of([path])[0]) is not None:
            self._own[path] = state

    def own(self) -> dict[Path, FileState]:
        """What was noted since the last call."""
        own, self._own = self._own, {}
        return own

    async def keep_admitting(self) -> None:
        """Admit services that registered without being configured, for ever; those of one moment together."""
        discovery = self._state.discovery
        while True:
            await discovery.changed_services.wait()
            async with self._turn:
                discovery.changed_services.clear()
                config = self._state.config
                try:
                    admitted = config.admitting(discovery.registry.admitted())
                    if admitted.admitted != config.admitted:
                        names = ", ".join(admitted.admitted)
                        await self.prepare(admitted)
                        behind = await self._publish(admitted)
                        logger.info("services found", extra={"names": names, "generation": self._state.generation})
                        for worker, reason in behind.items():
                            logger.error("a worker does not serve them", extra={"worker": worker, "reason": reason})
                except ReloadError as error:
                    extra = {"reason": str(error)}
                    logger.error("a policy cannot be used: services that registered were not admitted", extra=extra)
                except Exception:
                    logger.exception("services that registered could not be admitted")
            await asyncio.sleep(_ADMISSION_PAUSE)

    async def prepare(self, config: Config) -> None:
        """Have the workers open the users' policies of `config`, if it has any. Raises ReloadError if one cannot."""
        if config.plugins:
            problems = await self._state.workers.preparation(config, _TIMEOUT)
            if problems:
                raise ReloadError("\n".join(dict.fromkeys(problems.values())))

    def abandon(self, config: Config) -> None:
        """What was prepared does not come into force."""
        if config.plugins:
            self._state.workers.send(channel.Abandon())

    async def take_over(self, config: Config) -> dict[str, str]:
        """Apply what was read, and prepared; returns the workers that do not use it, each with the reason."""
        self.warn_of_fixed(config)
        self._refuse(None)
        return await self._publish(config)

    async def _publish(self, config: Config) -> dict[str, str]:
        state = self._state
        state.config = config
        state.generation += 1
        state.certificates.prepare(config)
        self._runtime.store(config, state.generation)
        with collecting_later():
            await in_slices(state.health.watching(config), BESIDE_CHECKS)
        await state.discovery.follow(config)
        await state.purges.follow(config)
        await state.issuers.follow(config)
        await state.api_keys.follow(config)
        await state.canaries.follow(config)
        await state.tokens.follow(config)
        await state.certificates.follow(config)
        await state.documents.follow(config)
        state.audit.follow(config)
        if state.overrides is not None:
            state.overrides.follow(config)
        if state.telemetry is not None:
            state.telemetry.follow(config)
        state.workers.keep_health(state.health.states())
        state.workers.publish(config, state.generation)
        return await state.workers.adoption(state.generation, _TIMEOUT)

    async def in_time(self, read: Callable[[], Config], timeout: float | None = None) -> Config:
        """Read in a thread: health checks and endpoints go on meanwhile. Raises what `read` raises, and ReloadError."""
        timeout = timeout or _READ_TIMEOUT
        try:
            async with asyncio.timeout(timeout):
                config = await asyncio.to_thread(read)
        except TimeoutError:
            raise ReloadError(
                f"the configuration was not read within {timeout:g} s: does a policy wait while it is imported? "
                "Reloads wait until it is done; where it never is, repair it and restart the gateway"
            ) from None
        return config.admitting(self._state.discovery.registry.admitted(config)) if config.discover else config

    def _read(self) -> Config:
        try:
            config = load_config(self._state.config_path, os.environ)
        except ConfigError as error:
            raise ReloadError(*error.problems) from error
        return self.checked(config)

    def checked(self, config: Config) -> Config:
        """A configuration as it comes into force, with users' policies. Raises ReloadError where it cannot."""
        problems: list[Problem | str] = [*file_problems(config)]
        if not problems:
            wrong, code = check_plugins(config)
            problems += wrong
            config = with_code(config, code)
        if self._state.config.services and not (config.services or config.discover):
            problems = problems or ["the file names no service: it looks cut short"]
        problems = problems or [*unavailable(config.gateway, self._state.listening().places)]
        if problems:
            raise ReloadError(*problems)
        return self._runtime.completed(config)


def in_words(behind: dict[str, str]) -> str:
    """The workers that do not use a configuration, a line each."""
    return "\n".join(f"{worker}: {problem}" for worker, problem in behind.items())


def fixed_differences(old: Config, new: Config) -> bool:
    """Whether they differ in what cannot change while the gateway runs."""
    return _fixed(old) != _fixed(new)


def _fixed(config: Config) -> tuple[object, ...]:
    gateway = config.gateway
    log = gateway.log.model_copy(update={"otlp": None})
    return gateway.admin, gateway.workers, gateway.embedded_redis, log
