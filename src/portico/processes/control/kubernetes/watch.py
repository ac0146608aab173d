"""Services that Kubernetes knows: a watch for each, which keeps the registry up to date."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any, Final, TypeAlias

from portico.config import ApiServerSettings, Config, KubernetesService
from portico.core.tasks import cancelled, endless
from portico.processes.control.kubernetes.api_server import (
    ApiError,
    ApiServer,
    Change,
    Session,
    StaleError,
    slice_of,
    version_of,
)
from portico.processes.control.kubernetes.slices import PortError, Slice, entries
from portico.processes.control.registry import Registry

logger: Final = logging.getLogger("portico.registry")

_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 10.0
"""Seconds before the first retry, and at most; each up to a half shorter: gateways are not to ask at once."""
_SETTLED: Final = 1.0
"""Seconds after which a watch without an event counts as one that works."""
_NOWHERE: Final = "it has no EndpointSlice: is there a Service of this name in the namespace, with a selector?"

_Key: TypeAlias = tuple[str | None, str]
"""A Service: its namespace, or None for the default one, and its name."""
_Users: TypeAlias = Mapping[str, KubernetesService]
"""What uses a Service: services of the configuration, each with the port that it wants."""


class KubernetesWatches:
    """The watches of all Services that a configuration names: one for each, however many services use it."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._settings = ApiServerSettings()
        self._watches: dict[_Key, ServiceWatch] = {}

    async def follow(self, config: Config) -> None:
        """Watch what this configuration names from now on."""
        if config.gateway.kubernetes != self._settings:
            await self.close()
            self._settings = config.gateway.kubernetes
        wanted: dict[_Key, dict[str, KubernetesService]] = {}
        for name, service in config.services.items():
            if service.discover is not None and (settings := service.discover.kubernetes) is not None:
                wanted.setdefault((settings.namespace, settings.service or name), {})[name] = settings
        ended = [self._watches.pop(key) for key in [*self._watches] if key not in wanted]
        await cancelled([each.task for each in ended])
        for (namespace, called), users in wanted.items():
            watch = self._watches.get((namespace, called))
            if watch is None:
                server = ApiServer(self._settings)
                self._watches[namespace, called] = ServiceWatch(self._registry, server, namespace, called, users)
            else:
                watch.use_for(users)

    async def first_look(self) -> None:
        """Wait until every watch has tried once."""
        for watch in self._watches.values():
            await watch.first_look.wait()

    def problems(self) -> dict[str, str]:
        """What is wrong, by service."""
        return {name: problem for watch in self._watches.values() for name, problem in watch.problems().items()}

    async def close(self) -> None:
        """Stop watching; what is known stays."""
        await cancelled([watch.task for watch in self._watches.values()])
        self._watches.clear()


class ServiceWatch:
    """Watches the slices of one Service, for ever. Nothing that the API server does or says ends it.

    It lists them, and then watches from there; when a watch ends, the next begins where that one was, and after an
    error, whichever, all are listed anew. What is known stays until a list says otherwise.
    """

    def __init__(
        self, registry: Registry, server: ApiServer, namespace: str | None, service: str, users: _Users
    ) -> None:
        self._registry = registry
        self._server = server
        self._namespace = namespace
        self._service = service
        self._users = users
        self._slices: dict[str, Slice] | None = None
        self._port_problems: dict[str, str] = {}
        self._problem = ""
        self._is_out_of_reach = False
        self._failures = 0
        self.first_look = asyncio.Event()
        """Set after the first list, or when that has failed."""
        self.task = endless(self._keep_watching(), f"the watch of {service} in Kubernetes")

    def use_for(self, users: _Users) -> None:
        """The services that its endpoints are for from now on."""
        self._users = users
        self._publish()

    def problems(self) -> dict[str, str]:
        """What is wrong, by service that uses it."""
        problem = self._problem or (_NOWHERE if self._slices == {} else "")
        own = dict.fromkeys(self._users, problem) if problem else {}
        return own | self._port_problems

    async def _keep_watching(self) -> None:
        while True:
            try:
                await self._list_and_watch()
            except StaleError as error:
                self._has_failed(str(error), is_stale=True)
            except ApiError as error:
                self._has_failed(str(error))
            except Exception as error:
                logger.exception("a service of Kubernetes could not be watched", extra=self._extra())
                self._has_failed(repr(error))
            self.first_look.set()
            await self._pause()

    async def _list_and_watch(self) -> None:
        namespace = self._namespace or self._server.namespace()
        async with self._server.session() as session:
            found = await session.list(namespace, self._service)
            self._slices = {each.metadata.name: each for each in found.items or () if each.is_of(self._service)}
            if not self._slices:
                logger.warning("a service of Kubernetes is not there", extra=self._extra() | {"reason": _NOWHERE})
            self._publish()
            self.first_look.set()
            version = found.metadata.resource_version
            while True:
                version = await self._watch(session, namespace, version)

    async def _watch(self, session: Session, namespace: str, version: str) -> str:
        """One watch to its end; returns the version that the next begins at."""
        settled: asyncio.TimerHandle | None = None
        begun = time.monotonic()
        brought = False
        try:
            async with aclosing(session.watch(namespace, self._service, version)) as changes:
                async for change in changes:
                    if change is None:
                        settled = asyncio.get_running_loop().call_later(_SETTLED, self._works)
                        continue
                    self._works()
                    brought = True
                    version = self._take(change) or version
        finally:
            if settled is not None:
                settled.cancel()
        if not brought and time.monotonic() - begun < _SETTLED:
            self._has_failed("the API server ends each watch at once")
            await self._pause()
        return version

    def _take(self, change: Change) -> str:
        """Apply a change; returns its version."""
        if change.type in ("ADDED", "MODIFIED", "DELETED"):
            changed = slice_of(change)
            assert self._slices is not None
            if change.type == "DELETED" or not changed.is_of(self._service):
                self._slices.pop(changed.metadata.name, None)
            else:
                self._slices[changed.metadata.name] = changed
            self._publish()
        return version_of(change)  # of a bookmark, and of kinds that are not known yet, there is nothing else

    def _publish(self) -> None:
        """Send the registry what is known, unless that is nothing yet."""
        if self._slices is None:
            return
        self._port_problems = {name: said for name, said in self._port_problems.items() if name in self._users}
        for name, settings in self._users.items():
            try:
                found = entries(name, settings, self._slices.values())
            except PortError as error:
                self._has_no_port(name, str(error))
                found = []
            else:
                self._port_problems.pop(name, None)
            self._registry.replace(name, found)

    def _has_no_port(self, name: str, problem: str) -> None:
        if self._port_problems.get(name) != problem:
            logger.error("the port of a service in Kubernetes is wrong", extra=self._extra(name) | {"reason": problem})
        self._port_problems[name] = problem

    # ---- how it goes

    def _works(self) -> None:
        if self._is_out_of_reach:
            logger.info("a service of Kubernetes is watched again", extra=self._extra())
        self._failures, self._problem, self._is_out_of_reach = 0, "", False

    def _has_failed(self, problem: str, *, is_stale: bool = False) -> None:
        """One event, whatever follows, until a watch works again; none for a version that was too old just once."""
        self._failures += 1
        is_ordinary = is_stale and self._failures == 1
        if not is_ordinary and not self._is_out_of_reach:
            known = any(entry.service in self._users for entry in self._registry.entries.values())
            kept = "what is known of it goes on" if known else "it has no instances yet"
            extra = self._extra() | {"reason": problem}
            logger.warning(f"a service of Kubernetes cannot be watched: {kept}", extra=extra)
            self._is_out_of_reach = True
        self._problem = "" if is_ordinary else problem

    async def _pause(self) -> None:
        longest = min(_PAUSE * 2.0 ** (self._failures - 1), _LONGEST_PAUSE)
        await asyncio.sleep(longest * random.uniform(0.5, 1.0))  # noqa: S311 - no secret

    def _extra(self, name: str | None = None) -> dict[str, Any]:
        where = f"{self._namespace}/{self._service}" if self._namespace else self._service
        return {"service": name or ", ".join(self._users), "kubernetes": where}
