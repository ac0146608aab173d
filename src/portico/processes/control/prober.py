"""One check of an instance: whether it answers as configured, within the timeout."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from portico.config import HealthCheckSettings, InstanceSettings, UpstreamTlsSettings
from portico.core.hosts import is_address
from portico.net.addresses import Network
from portico.net.tls.causes import reason_of
from portico.net.tls.certificates import CertificateError
from portico.processes.control.named_check import ask_at_name, ask_in_turn
from portico.processes.control.punctuality import Punctuality
from portico.processes.control.status_request import status_at, status_of
from portico.snapshot.upstream_tls import UpstreamContexts
from portico.upstreams.host_name import look_up

T = TypeVar("T")

_AT_ONCE: Final = 500
"""Checks that are under way at the same time; more wait for their turn, and their timeout begins with it."""
_AGENT: Final = "portico-health"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check: seconds until the instance answered, and what was wrong, if anything.

    `is_certain` is false where this process was late itself: a timeout may be its own fault.
    """

    seconds: float
    error: str | None
    is_certain: bool = True


class Prober:
    """Checks instances. Each check opens a connection: that shows that new ones are accepted."""

    def __init__(self) -> None:
        self._contexts: Final = UpstreamContexts()
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._punctuality = Punctuality()

    async def probe(
        self,
        instance: InstanceSettings,
        settings: HealthCheckSettings,
        tls: UpstreamTlsSettings,
        named: Sequence[Network] | None = None,
    ) -> Finding:
        """Check one instance; `named` are the networks that are allowed by name to one that registered."""
        self._punctuality.start()
        async with self._turns:
            return await self._probe(instance, settings, tls, named)

    async def _probe(
        self,
        instance: InstanceSettings,
        settings: HealthCheckSettings,
        tls: UpstreamTlsSettings,
        named: Sequence[Network] | None,
    ) -> Finding:
        started = time.monotonic()
        is_certain = True
        try:
            async with asyncio.timeout(settings.timeout):
                error = await self._ask(instance, settings, tls, named)
        except TimeoutError:
            error = f"no answer within {settings.timeout:g} s"
            is_certain = not self._punctuality.was_late_since(started)
        except (OSError, ValueError, CertificateError) as failure:  # ValueError: an invalid name
            error = reason_of(failure)
        return Finding(time.monotonic() - started, error, is_certain)

    def keep(self, used: Collection[UpstreamTlsSettings]) -> None:
        """Forget what other TLS settings need."""
        self._contexts.keep(used)

    def close(self) -> None:
        """Stop checking."""
        self._punctuality.stop()

    async def _ask(
        self,
        instance: InstanceSettings,
        settings: HealthCheckSettings,
        tls: UpstreamTlsSettings,
        named: Sequence[Network] | None,
    ) -> str | None:
        path = settings.path
        if path is None:
            await self._connect(instance, settings.timeout, named)
            return None
        if instance.socket:
            status = await status_at(instance.socket, instance.authority, path, _AGENT)
        else:
            context, name = self._context(instance, tls), tls.server_name or instance.host

            async def ask(host: str, seconds: float | None) -> int:
                server = host, instance.port, instance.authority
                return await status_of(*server, path, _AGENT, context, name, connect_within=seconds)

            status = await _at_host(instance, named, settings.timeout, ask)
        return None if settings.expects(status) else f"answered {status}"

    def _context(self, instance: InstanceSettings, tls: UpstreamTlsSettings) -> ssl.SSLContext | None:
        """What TLS with an instance goes by, with the present contents of its files. Raises CertificateError."""
        if instance.scheme != "https":
            return None
        renewed = self._contexts.get(tls)
        renewed.refresh()
        return renewed.value

    async def _connect(self, instance: InstanceSettings, seconds: float, named: Sequence[Network] | None) -> None:
        if instance.socket:
            _, writer = await asyncio.open_unix_connection(instance.socket)
            writer.close()
            return

        async def connect(host: str, seconds: float | None) -> None:
            async with asyncio.timeout(seconds):
                transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, host, instance.port)
            transport.close()

        await _at_host(instance, named, seconds, connect)


async def _at_host(
    instance: InstanceSettings,
    named: Sequence[Network] | None,
    seconds: float,
    ask: Callable[[str, float | None], Awaitable[T]],
) -> T:
    """What `ask` returns for the host of an instance, or for the first of its addresses that accepts a connection.

    `ask` is given how many seconds that may take, None where there is no other one to try.
    """
    host, end = instance.host, time.monotonic() + seconds
    if is_address(host):
        return await ask(host, None)
    if named is not None:
        return await ask_at_name(host, named, seconds, ask)
    try:
        addresses = list(dict.fromkeys(await look_up(host)))
    except UnicodeError:
        raise OSError("the name cannot be looked up") from None
    return await ask_in_turn(addresses, end, ask)
