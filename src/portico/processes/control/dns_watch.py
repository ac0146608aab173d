"""Services that DNS knows: their names are looked up again and again, which keeps the registry up to date."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from ipaddress import ip_address
from math import gcd
from typing import Any, Final

from portico.config import Config, DnsRecords, ServiceSettings, network_url
from portico.core.tasks import cancelled, endless
from portico.net.dns.messages import Record
from portico.net.dns.resolver import LookUpError, ResolverSettings, look_up_records, system_settings
from portico.processes.control.registration import Entry
from portico.processes.control.registry import Registry

logger: Final = logging.getLogger("portico.registry")

_LEAST: Final = 1.0
"""Seconds between two look-ups at least, unless `dns_refresh` is less: many records hold for 0 seconds."""
_EMPTY: Final = 2
"""How often in a row there must be no record before what was known goes: a server that starts may not know all yet."""
_MOST_WEIGHT: Final = 1000
_LONGEST_ID: Final = 100
_NOTHING: Final = "the name has no such records"


class DnsWatches:
    """The look-ups of all names that a configuration has instances behind."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._watches: dict[str, NameWatch] = {}

    async def follow(self, config: Config) -> None:
        """Look up what this configuration names from now on."""
        wanted: dict[str, tuple[DnsRecords, ServiceSettings]] = {}
        for name, service in config.services.items():
            if service.discover is not None and service.discover.dns is not None:
                wanted[name] = service.discover.dns, service
        kept = {name for name, watch in self._watches.items() if name in wanted and watch.records == wanted[name][0]}
        ended = [self._watches.pop(name) for name in [*self._watches] if name not in kept]
        await cancelled([each.task for each in ended])
        for name, (records, service) in wanted.items():
            if name not in kept:
                self._watches[name] = NameWatch(self._registry, name, records)
            self._watches[name].refresh = service.dns_refresh

    async def first_look(self) -> None:
        """Wait until every name was looked up once."""
        for watch in self._watches.values():
            await watch.first_look.wait()

    def problems(self) -> dict[str, str]:
        """What is wrong, by service."""
        return {name: watch.problem for name, watch in self._watches.items() if watch.problem}

    async def close(self) -> None:
        """Stop; what is known stays."""
        await cancelled([watch.task for watch in self._watches.values()])
        self._watches.clear()


class NameWatch:
    """Looks up one name for ever, whenever its records end to hold, and every `refresh` seconds in any case."""

    def __init__(self, registry: Registry, service: str, records: DnsRecords) -> None:
        self.records = records
        self.refresh = 10.0
        self.problem = ""
        self.first_look = asyncio.Event()
        self._registry = registry
        self._service = service
        self._empty = 0
        self.task = endless(self._keep_looking(), f"the look-ups of {records.name}")

    async def _keep_looking(self) -> None:
        while True:
            pause = self.refresh
            try:
                found = await look_up_records(self.records.name, self.records.type, self._settings())
                self._learn(found)
                pause = min(max(_LEAST, min((each.ttl for each in found), default=_LEAST)), self.refresh)
            except LookUpError as error:
                self._has_failed(str(error))
            except Exception as error:
                logger.exception("a name could not be looked up", extra=self._extra())
                self._has_failed(repr(error))
            self.first_look.set()
            await asyncio.sleep(pause)

    def _settings(self) -> ResolverSettings:
        system = system_settings()
        if self.records.server_address is None:
            return system
        return ResolverSettings((self.records.server_address,), system.search, system.dots)

    def _learn(self, found: Sequence[Record]) -> None:
        entries = entries_of(self._service, self.records, found)
        if entries:
            if self.problem:
                logger.info("a name of a service can be looked up again", extra=self._extra())
            self._empty, self.problem = 0, ""
        else:
            self._empty += 1
            self._has_failed(_NOTHING)
        if entries or self._empty >= _EMPTY:
            self._registry.replace(self._service, entries)

    def _has_failed(self, problem: str) -> None:
        if not self.problem:
            extra = self._extra() | {"reason": problem}
            logger.warning(f"a name of a service cannot be looked up: {self._consequence(problem)}", extra=extra)
        self.problem = problem

    def _consequence(self, problem: str) -> str:
        if all(entry.service != self._service for entry in self._registry.entries.values()):
            return "it has no instances yet"
        if problem == _NOTHING:
            return "what is known of it goes if the next answer is the same"
        return "what is known of it goes on"

    def _extra(self) -> dict[str, Any]:
        return {"service": self._service, "dns": f"{self.records.name} {self.records.type}"}


def entries_of(service: str, records: DnsRecords, found: Sequence[Record]) -> list[Entry]:
    """The instances behind records.

    Of SRV records those of the lowest priority get requests by their weights, and all others are backups. A target
    that is the root says that there is no service (RFC 2782).
    """
    first = min((each.priority for each in found), default=0)
    unit = _unit([each.weight for each in found])
    entries = []
    for each in found:
        port = each.port or records.port
        try:
            url = network_url(f"{records.scheme}://{_bracketed(each.host)}:{port}")
        except ValueError:
            continue
        host = ip_address(each.host).exploded.replace(":", "-") if records.type != "SRV" else each.host.lower()
        instance = f"{port}-{host}"[:_LONGEST_ID]
        weight, backup = max(1, each.weight // unit), each.priority > first
        entries.append(Entry(service, instance, "dns", url, weight=weight, ttl=0.0, backup=backup))
    return sorted(entries, key=lambda entry: entry.url)


def _unit(weights: Sequence[int]) -> int:
    """What weights are divided by: those of DNS go to 65535."""
    return max(gcd(*weights), -(-max(weights, default=0) // _MOST_WEIGHT), 1)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
