"""The tenant of a request, looked up over HTTP and remembered for a while.

    policies:
      auth: {jwt: {}}
      plugins:
        - {use: "./policies/tenant.py:TenantHeader", with: {directory: "http://directory.internal/tenants"}}

It needs `auth`: whom to look up is the consumer, which no client can choose. `GET DIRECTORY?consumer=NAME` answers
`{"tenant": "acme"}`, or 404 for a consumer without a tenant.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable
from time import monotonic
from typing import Final

import portico
from portico.plugin import Duration, Exchange, HeaderName, Policy, Verdict, refuse

_TENANT: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
"""What a tenant may be called: the directory is trusted to name one, not to write header fields."""


class TenantHeader(Policy):
    """Sends the service the tenant of the consumer; who has none is refused."""

    class Settings(portico.Settings):
        """A tenant is looked up again after `lifetime`; while the directory is down it is believed for `stale` more.

        The directory is down for a request once it has not answered for `patience`. All are in seconds.
        """

        directory: str
        header: HeaderName = "X-Tenant"
        lifetime: Duration = 60.0
        stale: Duration = 3600.0
        patience: Duration = 0.5
        remembered: int = 10_000

    settings: Settings

    async def open(self) -> None:
        # By the directory's address: a reload that changes it must not go on with what the last one said.
        self.known: dict[str, tuple[str, float]] = self.context.state.setdefault(self.settings.directory, {})
        self.asked: dict[str, asyncio.Task[str]] = {}

    async def close(self) -> None:
        for task in self.asked.values():
            task.cancel()

    def request(self, exchange: Exchange) -> Verdict | Awaitable[Verdict]:
        if exchange.consumer is None:
            return refuse(403, "consumer_missing", "this route needs a consumer: have auth come before it")
        known = self.known.get(exchange.consumer)
        if known is not None and known[1] > monotonic():
            return self.passed(exchange, known[0])  # nearly always: no task, no wait
        return self.look_up(exchange, exchange.consumer)

    def passed(self, exchange: Exchange, tenant: str) -> Verdict:
        """What becomes of a request whose tenant is known; empty: there is none."""
        if not tenant:
            return refuse(403, "tenant_unknown", "this consumer belongs to no tenant")
        exchange.upstream_headers.set(self.settings.header, tenant)  # in place of whatever the client sent
        return None

    async def look_up(self, exchange: Exchange, consumer: str) -> Verdict:
        """The same once the directory has answered."""
        if consumer not in self.asked:
            self.asked[consumer] = task = asyncio.create_task(self.ask(consumer))
            task.add_done_callback(lambda _: self.asked.pop(consumer, None))
        try:
            # Shielded: a client that leaves cancels its own wait, not the question that others wait for as well.
            tenant = await asyncio.shield(self.asked[consumer])
        except Exception as error:
            known = self.known.get(consumer)
            if known is None or known[1] + self.settings.stale < monotonic():
                self.context.log.warning("no tenant could be looked up", extra={"cause": repr(error)})
                return refuse(503, "tenant_unavailable", "try again in a moment", {"Retry-After": "5"})
            tenant = known[0]
        return self.passed(exchange, tenant)

    async def ask(self, consumer: str) -> str:
        """Ask the directory, and remember what it says: that there is no tenant, too."""
        async with asyncio.timeout(self.settings.patience):  # shorter than the hook's own, which would be a failure
            response = await self.context.http.get(self.settings.directory, params={"consumer": consumer})
        tenant = "" if response.status_code == 404 else response.raise_for_status().json()["tenant"]
        if tenant and not _TENANT.fullmatch(tenant):
            raise ValueError(f"the directory names a tenant {tenant!r}")
        while len(self.known) >= self.settings.remembered:
            del self.known[next(iter(self.known))]  # the oldest
        self.known.pop(consumer, None)
        self.known[consumer] = tenant, monotonic() + self.settings.lifetime
        return tenant
