"""One look at an instance: whether it answers as its check demands, within its timeout."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import httpx

from portico.config import HealthCheckSettings, InstanceSettings, UpstreamTlsSettings
from portico.net.tls.certificates import CertificateError
from portico.snapshot.upstream_tls import UpstreamContexts


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look gave: seconds until the instance answered, and what was wrong, if anything."""

    seconds: float
    error: str | None


class Looks:
    """Looks at instances over connections that show and believe the same certificates as those of the workers."""

    def __init__(self) -> None:
        self._contexts: Final = UpstreamContexts()
        self._clients: Final[dict[UpstreamTlsSettings, tuple[ssl.SSLContext, httpx.AsyncClient]]] = {}

    async def look(
        self, instance: InstanceSettings, settings: HealthCheckSettings, tls: UpstreamTlsSettings
    ) -> Finding:
        """Ask one instance."""
        started = time.monotonic()
        try:
            async with asyncio.timeout(settings.timeout):
                error = await self._ask(instance, settings, tls)
        except TimeoutError:
            error = f"no answer within {settings.timeout:g} s"
        except (OSError, ValueError, httpx.HTTPError, CertificateError) as failure:  # ValueError: a name that is none
            error = str(failure) or type(failure).__name__
        return Finding(time.monotonic() - started, error)

    def keep(self, used: Collection[UpstreamTlsSettings]) -> None:
        """Forget what belongs to other TLS settings; no client keeps a connection."""
        self._contexts.keep(used)
        for settings in self._clients.keys() - set(used):
            del self._clients[settings]

    async def close(self) -> None:
        """Look at nothing any more."""
        for _, client in self._clients.values():
            await client.aclose()

    async def _ask(
        self, instance: InstanceSettings, settings: HealthCheckSettings, tls: UpstreamTlsSettings
    ) -> str | None:
        if settings.path is None:
            _, writer = await asyncio.open_connection(instance.host, instance.port)
            writer.close()
            return None
        client = self._client(tls)
        extensions = {"sni_hostname": tls.server_name} if tls.server_name else {}
        async with client.stream("GET", instance.url + settings.path, extensions=extensions) as response:
            return None if settings.expects(response.status_code) else f"answered {response.status_code}"

    def _client(self, tls: UpstreamTlsSettings) -> httpx.AsyncClient:
        """The client for these settings, by what their files hold now."""
        renewed = self._contexts.get(tls)
        renewed.refresh()
        context, client = self._clients.get(tls, (None, None))
        if client is None or context is not renewed.value:
            limits = httpx.Limits(max_keepalive_connections=0)  # a check shows that new connections are accepted
            headers = {"User-Agent": "portico-health"}
            client = httpx.AsyncClient(
                verify=renewed.value, timeout=60.0, limits=limits, trust_env=False, headers=headers
            )
            self._clients[tls] = renewed.value, client
        return client
