"""One check of an instance: whether it answers as configured, within the timeout."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import httpx

from portico.config import HealthCheckSettings, InstanceSettings, UpstreamTlsSettings
from portico.net.addresses import Network
from portico.net.tls.certificates import CertificateError
from portico.processes.control.named_check import ask_at_name
from portico.snapshot.upstream_tls import UpstreamContexts
from portico.upstreams.named_instance import is_literal

_LONGEST: Final = 60.0
"""Seconds for one step of a check; the whole check has its own timeout as well."""
_NO_KEPT: Final = httpx.Limits(max_keepalive_connections=0)
"""A check shows that new connections are accepted."""
_FIELDS: Final = {"User-Agent": "portico-health"}


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check: seconds until the instance answered, and what was wrong, if anything."""

    seconds: float
    error: str | None


class Prober:
    """Checks instances over connections that present and trust the same certificates as those of the workers."""

    def __init__(self) -> None:
        self._contexts: Final = UpstreamContexts()
        self._clients: Final[dict[UpstreamTlsSettings, tuple[ssl.SSLContext, httpx.AsyncClient]]] = {}
        self._at_sockets: Final[dict[str, httpx.AsyncClient]] = {}

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
            error = str(failure) or type(failure).__name__
        return Finding(time.monotonic() - started, error)

    def keep(self, used: Collection[UpstreamTlsSettings]) -> None:
        """Drop the clients of other TLS settings; no client keeps a connection."""
        self._at_sockets.clear()
        self._contexts.keep(used)
        for settings in self._clients.keys() - set(used):
            del self._clients[settings]

    async def close(self) -> None:
        """Stop checking."""
        for client in (*(client for _, client in self._clients.values()), *self._at_sockets.values()):
            await client.aclose()

    async def _ask(
        self,
        instance: InstanceSettings,
        settings: HealthCheckSettings,
        tls: UpstreamTlsSettings,
        named: Sequence[Network] | None,
    ) -> str | None:
        if instance.socket:
            return await self._ask_at_socket(instance, settings)
        host, ask = instance.host, partial(self._ask_at, instance, settings, tls)
        if named is None or is_literal(host):
            return await ask(host, settings.timeout)
        return await ask_at_name(host, named, settings.timeout, ask)

    async def _ask_at(
        self,
        instance: InstanceSettings,
        settings: HealthCheckSettings,
        tls: UpstreamTlsSettings,
        host: str,
        seconds: float,
    ) -> str | None:
        """Check an instance at its host, or at one of the addresses of that, and connect within so many seconds."""
        if settings.path is None:
            async with asyncio.timeout(seconds):
                _, writer = await asyncio.open_connection(host, instance.port)
            writer.close()
            return None
        url = f"{instance.scheme}://{f'[{host}]' if ':' in host else host}:{instance.port}{settings.path}"
        fields, extensions = {"Host": instance.authority}, {"sni_hostname": tls.server_name or instance.host}
        timeout = httpx.Timeout(_LONGEST, connect=seconds)
        client = self._client(tls)
        async with client.stream("GET", url, headers=fields, extensions=extensions, timeout=timeout) as response:
            return None if settings.expects(response.status_code) else f"answered {response.status_code}"

    async def _ask_at_socket(self, instance: InstanceSettings, settings: HealthCheckSettings) -> str | None:
        """The same of an instance behind a unix socket."""
        if settings.path is None:
            _, writer = await asyncio.open_unix_connection(instance.socket)
            writer.close()
            return None
        client = self._at_sockets.get(instance.socket)
        if client is None:
            transport = httpx.AsyncHTTPTransport(verify=False, limits=_NO_KEPT, uds=instance.socket, trust_env=False)
            client = self._at_sockets[instance.socket] = httpx.AsyncClient(transport=transport, headers=_FIELDS)
        url = f"http://{instance.authority}{settings.path}"
        async with client.stream("GET", url, timeout=_LONGEST) as response:
            return None if settings.expects(response.status_code) else f"answered {response.status_code}"

    def _client(self, tls: UpstreamTlsSettings) -> httpx.AsyncClient:
        """The client for these settings, with the present contents of their files."""
        renewed = self._contexts.get(tls)
        renewed.refresh()
        context, client = self._clients.get(tls, (None, None))
        if client is None or context is not renewed.value:
            client = httpx.AsyncClient(
                verify=renewed.value, timeout=_LONGEST, limits=_NO_KEPT, trust_env=False, headers=_FIELDS
            )
            self._clients[tls] = renewed.value, client
        return client
