"""Taking over a changed configuration: checked as a whole first, then sent to every worker."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Final

from portico.config import Config, ConfigError, check_plugins, file_problems, load_config, with_code
from portico.processes.control.state import State
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
    """A configuration was not taken over; the message says why, a problem a line."""


class AdoptionError(Exception):
    """A configuration is valid and in use, but not in every worker; the message names those and says why."""


class Reloading:
    """Reloads, one at a time, for all callers."""

    def __init__(self, state: State, runtime: Runtime, notices: Notices) -> None:
        self._state = state
        self._runtime = runtime
        self._notices = notices
        self._turn = asyncio.Lock()

    async def reload(self) -> int:
        """Read the configuration again; its generation, once every worker uses it.

        Raises ReloadError, and then nothing has changed, or AdoptionError.
        """
        async with self._turn:
            self._notices.say(RELOADING)
            try:
                return await self._reload()
            finally:
                self._notices.say(RELOADED)

    async def reload_for_nobody(self) -> None:
        """Reload where no caller waits for an answer: the result is logged."""
        try:
            await self.reload()
        except (ReloadError, AdoptionError):
            pass
        except Exception:
            logger.exception("the reload failed")

    async def _reload(self) -> int:
        state = self._state
        try:
            config = await self._read_in_time()
        except ReloadError as error:
            state.refused = str(error)
            logger.error("the configuration is wrong and was not taken over", extra={"problems": str(error)})
            raise
        if _fixed(config) != _fixed(state.config):
            logger.warning("a change of workers, embedded_redis, admin or log takes effect after a restart")
        registry = state.discovery.registry
        if config.discover:
            config = config.admitting(registry.admitted(config))
        try:
            await self._prepare(config)
        except ReloadError as error:
            state.refused = str(error)
            logger.error("a policy cannot be used: the configuration was not taken over", extra={"reason": str(error)})
            raise
        state.refused = None
        behind = await self._take_over(config)
        if behind:
            problems = "\n".join(f"{worker}: {problem}" for worker, problem in behind.items())
            raise AdoptionError(problems)
        logger.info("configuration reloaded", extra={"generation": state.generation})
        return state.generation

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
                        await self._prepare(admitted)
                        behind = await self._take_over(admitted)
                        logger.info("services found", extra={"names": names, "generation": self._state.generation})
                        for worker, reason in behind.items():
                            logger.error("a worker does not serve them", extra={"worker": worker, "reason": reason})
                except ReloadError as error:
                    extra = {"reason": str(error)}
                    logger.error("a policy cannot be used: services that registered were not admitted", extra=extra)
                except Exception:
                    logger.exception("services that registered could not be admitted")
            await asyncio.sleep(_ADMISSION_PAUSE)

    async def _prepare(self, config: Config) -> None:
        """Have the workers open the users' policies of `config`, if it has any. Raises ReloadError if one cannot."""
        if config.plugins:
            problems = await self._state.workers.preparation(config, _TIMEOUT)
            if problems:
                raise ReloadError("\n".join(dict.fromkeys(problems.values())))

    async def _take_over(self, config: Config) -> dict[str, str]:
        """Apply `config` everywhere; returns the workers that do not use it, each with the reason."""
        state = self._state
        state.config = config
        state.generation += 1
        state.certificates.prepare(config)
        self._runtime.store(config, state.generation)
        state.health.watch(config)
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

    async def _read_in_time(self) -> Config:
        """`_read` in a thread: health checks and endpoints go on meanwhile."""
        try:
            async with asyncio.timeout(_READ_TIMEOUT):
                return await asyncio.to_thread(self._read)
        except TimeoutError:
            raise ReloadError(
                f"the configuration was not read within {_READ_TIMEOUT:g} s: does a policy wait while it is imported? "
                "Reloads wait until it is done; where it never is, repair it and restart the gateway"
            ) from None

    def _read(self) -> Config:
        try:
            config = load_config(self._state.config_path, os.environ)
        except ConfigError as error:
            raise ReloadError(str(error)) from error
        problems = [*map(str, file_problems(config))]
        if not problems:
            problems, code = check_plugins(config)
            config = with_code(config, code)
        if self._state.config.services and not (config.services or config.discover):
            problems = problems or ["the file names no service: it looks cut short"]
        problems = problems or unavailable(config.gateway, self._state.listening().places)
        if problems:
            raise ReloadError("\n".join(problems))
        return self._runtime.completed(config)


def _fixed(config: Config) -> tuple[object, ...]:
    """What cannot change while the gateway runs."""
    gateway = config.gateway
    log = gateway.log.model_copy(update={"otlp": None})
    return gateway.admin, gateway.workers, gateway.embedded_redis, log
