"""Requests of the control process to instances, as workers would connect to them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Final, TypeVar

import httpx

from portico.config import InstanceSettings, UpstreamTlsSettings
from portico.core.hosts import is_address
from portico.net.addresses import Network
from portico.processes.control.named_check import ask_at_name
from portico.snapshot.upstream_tls import UpstreamContexts

T = TypeVar("T")

_LONGEST: Final = 60.0
"""Seconds for one step of a request; the whole of it has its own timeout as well."""
_NO_KEPT: Final = httpx.Limits(max_keepalive_connections=0)
"""A check shows that new connections are accepted."""
_AT_ONCE: Final = 50
"""Requests under way at the same time: httpx looks through all connections of a client for each."""
_NO_FIELDS: Final[Mapping[str, str]] = {}


class InstanceClients:
    """Clients whose connections present and trust the same certificates as those of the workers."""

    def __init__(self, user_agent: str) -> None:
        self.turns: Final = asyncio.Semaphore(_AT_ONCE)
        """To be held around `get`, outside of its timeout: that somebody waits for a turn is no server's fault."""
        self._fields: Final = {"User-Agent": user_agent}
        self._contexts: Final = UpstreamContexts()
        self._clients: Final[dict[UpstreamTlsSettings, tuple[ssl.SSLContext, httpx.AsyncClient]]] = {}
        self._at_sockets: Final[dict[str, httpx.AsyncClient]] = {}

    def keep(self, used: Collection[UpstreamTlsSettings]) -> None:
        """Drop the clients of other TLS settings; no client keeps a connection."""
        self._at_sockets.clear()
        self._contexts.keep(used)
        for settings in self._clients.keys() - set(used):
            del self._clients[settings]

    async def close(self) -> None:
        """Close all."""
        for client in (*(client for _, client in self._clients.values()), *self._at_sockets.values()):
            await client.aclose()

    async def get(
        self,
        instance: InstanceSettings,
        tls: UpstreamTlsSettings,
        named: Sequence[Network] | None,
        path: str,
        seconds: float,
        take: Callable[[httpx.Response], Awaitable[T]],
        fields: Mapping[str, str] = _NO_FIELDS,
    ) -> T:
        """What `take` makes of the response of an instance, which is connected to within so many seconds.

        `named` are the networks that are allowed by name to one that registered. Raises OSError, ValueError,
        httpx.HTTPError or CertificateError.
        """
        if instance.socket:
            client, url = self._client_at(instance.socket), f"http://{instance.authority}{path}"
            async with client.stream("GET", url, headers=fields, timeout=_LONGEST) as response:
                return await take(response)

        async def ask(host: str, seconds: float) -> T:
            url = f"{instance.scheme}://{f'[{host}]' if ':' in host else host}:{instance.port}{path}"
            own = {**fields, "Host": instance.authority}
            extensions = {"sni_hostname": tls.server_name or instance.host}
            timeout = httpx.Timeout(_LONGEST, connect=seconds)
            client = self._client(tls)
            async with client.stream("GET", url, headers=own, extensions=extensions, timeout=timeout) as response:
                return await take(response)

        return await at_host(instance, named, seconds, ask)

    def _client_at(self, socket: str) -> httpx.AsyncClient:
        client = self._at_sockets.get(socket)
        if client is None:
            transport = httpx.AsyncHTTPTransport(verify=False, limits=_NO_KEPT, uds=socket, trust_env=False)
            client = self._at_sockets[socket] = httpx.AsyncClient(transport=transport, headers=self._fields)
        return client

    def _client(self, tls: UpstreamTlsSettings) -> httpx.AsyncClient:
        """The client for these settings, with the present contents of their files."""
        renewed = self._contexts.get(tls)
        renewed.refresh()
        context, client = self._clients.get(tls, (None, None))
        if client is None or context is not renewed.value:
            client = httpx.AsyncClient(
                verify=renewed.value, timeout=_LONGEST, limits=_NO_KEPT, trust_env=False, headers=self._fields
            )
            self._clients[tls] = renewed.value, client
        return client


async def at_host(
    instance: InstanceSettings,
    named: Sequence[Network] | None,
    seconds: float,
    ask: Callable[[str, float], Awaitable[T]],
) -> T:
    """What `ask` returns for the host of an instance, or for an address of it where only some are allowed."""
    if named is None or is_address(instance.host):
        return await ask(instance.host, seconds)
    return await ask_at_name(instance.host, named, seconds, ask)
