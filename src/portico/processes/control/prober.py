"""One check of an instance: whether it answers as configured, within the timeout."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import httpx

from portico.config import HealthCheckSettings, InstanceSettings, UpstreamTlsSettings
from portico.net.addresses import Network
from portico.net.tls.causes import reason_of
from portico.net.tls.certificates import CertificateError
from portico.processes.control.instance_clients import InstanceClients, at_host


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check: seconds until the instance answered, and what was wrong, if anything."""

    seconds: float
    error: str | None


class Prober:
    """Checks instances."""

    def __init__(self) -> None:
        self._clients = InstanceClients("portico-health")

    async def probe(
        self,
        instance: InstanceSettings,
        settings: HealthCheckSettings,
        tls: UpstreamTlsSettings,
        named: Sequence[Network] | None = None,
    ) -> Finding:
        """Check one instance; `named` are the networks that are allowed by name to one that registered."""
        started = time.monotonic()
        try:
            async with asyncio.timeout(settings.timeout):
                error = await self._ask(instance, settings, tls, named)
        except TimeoutError:
            error = f"no answer within {settings.timeout:g} s"
        except (OSError, ValueError, httpx.HTTPError, CertificateError) as failure:  # ValueError: an invalid name
            error = reason_of(failure)
        return Finding(time.monotonic() - started, error)

    def keep(self, used: Collection[UpstreamTlsSettings]) -> None:
        """Drop the clients of other TLS settings; no client keeps a connection."""
        self._clients.keep(used)

    async def close(self) -> None:
        """Stop checking."""
        await self._clients.close()

    async def _ask(
        self,
        instance: InstanceSettings,
        settings: HealthCheckSettings,
        tls: UpstreamTlsSettings,
        named: Sequence[Network] | None,
    ) -> str | None:
        if settings.path is None:
            await self._connect(instance, settings.timeout, named)
            return None

        async def status(response: httpx.Response) -> str | None:
            return None if settings.expects(response.status_code) else f"answered {response.status_code}"

        return await self._clients.get(instance, tls, named, settings.path, settings.timeout, status)

    async def _connect(self, instance: InstanceSettings, seconds: float, named: Sequence[Network] | None) -> None:
        if instance.socket:
            _, writer = await asyncio.open_unix_connection(instance.socket)
            writer.close()
            return

        async def connect(host: str, seconds: float) -> None:
            async with asyncio.timeout(seconds):
                _, writer = await asyncio.open_connection(host, instance.port)
            writer.close()

        await at_host(instance, named, seconds, connect)
