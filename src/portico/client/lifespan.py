"""Registering a service for as long as it runs: `register(app, ...)`."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.util import find_spec
from typing import Any, Final, TypeVar

from portico.client.announcement import Announcement
from portico.client.departure import Departure
from portico.client.presence import Presence
from portico.client.registries import GatewayRegistry, RedisRegistry, Registry
from portico.client.types import ASGIApp, Message, Receive, Scope, Send
from portico.net.redis.connection import check_url

logger: Final = logging.getLogger("portico.client")

URL_VARIABLE: Final = "PORTICO_SERVICE_URL"
ADMIN_VARIABLE: Final = "PORTICO_ADMIN"

App = TypeVar("App", bound=Any)
Running = Callable[[], AbstractAsyncContextManager[None]]


def register(
    app: App,
    *,
    name: str,
    url: str | None = None,
    redis_url: str | None = None,
    gateway: str | Sequence[str] | None = None,
    token: str | None = None,
    id: str | None = None,  # noqa: A002 - what registries call it
    weight: int = 1,
    version: str | None = None,
    metadata: Mapping[str, str] | None = None,
    openapi: str | None = None,
    ttl: float = 30,
    leave_time: float = 1.0,
) -> App | Registered:
    """Have `app` registered as an instance of the service `name` while it runs; returns the application to serve.

    FastAPI and Starlette are changed in place and returned; any other ASGI application comes back wrapped, and need
    not support lifespans itself.

    `url` is where gateways reach this process, `http://host:port` (default: PORTICO_SERVICE_URL). The registry is in
    Redis (`redis_url`, default REDIS_URL), or kept by one or more gateways (`gateway`, the URL of the admin API,
    default PORTICO_ADMIN; `token`, default ADMIN_TOKEN). A registry that is down keeps no service from starting:
    registering is retried in the background.

    `id` has to differ between processes and is made up where it is not given: give none to a server with several
    workers. `weight`, `version`, `metadata` and `openapi` (a hash of the document) are for the gateway. After `ttl`
    seconds without a heartbeat the instance expires; three are sent in that time.

    At the end the service deregisters first. Under uvicorn it then goes on serving for `leave_time` seconds, in which
    gateways choose other instances, before uvicorn closes the port and waits for running requests.

    Raises ValueError where something is missing or malformed.
    """
    address = url or _variable(URL_VARIABLE)
    if not address:
        raise ValueError(f"url is missing: hand in the address that gateways reach, or set {URL_VARIABLE}")
    announcement = Announcement(name, address.rstrip("/"), ttl, id, weight, version, metadata or {}, openapi)
    make_registries = _registries(redis_url, gateway, token)

    @asynccontextmanager
    async def running() -> AsyncIterator[None]:
        presence = Presence(announcement, make_registries())

        async def leave() -> None:
            await presence.leave()
            if presence.has_registered:
                await asyncio.sleep(leave_time)

        departure = Departure(leave)
        presence.begin()
        departure.begin()
        try:
            yield
        finally:
            departure.end()
            await presence.leave()

    if hasattr(getattr(app, "router", None), "lifespan_context"):
        app.router.lifespan_context = _within(app.router.lifespan_context, running)
        return app
    return Registered(app, running)


def _registries(
    redis_url: str | None, gateway: str | Sequence[str] | None, token: str | None
) -> Callable[[], list[Registry]]:
    """A factory of the registries, called in the process and loop that use them."""
    if redis_url and gateway:
        raise ValueError("hand in redis_url or gateway: one registry is enough")
    if not redis_url and not gateway:
        redis_url, gateway = _variable("REDIS_URL"), _variable(ADMIN_VARIABLE)
    if redis_url:
        shared = check_url(redis_url)
        if find_spec("redis") is None:
            raise ValueError("registering in Redis needs redis-py: pip install redis")
        return lambda: [RedisRegistry(shared)]
    if gateway:
        admins = [part.strip() for part in gateway.split(",")] if isinstance(gateway, str) else [*gateway]
        shown = token or _variable("ADMIN_TOKEN")
        registries: list[Registry] = [GatewayRegistry(admin, shown) for admin in admins]
        return lambda: registries
    raise ValueError(
        f"no registry: hand in redis_url or gateway, or set REDIS_URL or {ADMIN_VARIABLE} (a gateway's admin API)"
    )


def _variable(name: str) -> str:
    """A variable of the environment without the newline that files and `echo` put at the end."""
    return os.environ.get(name, "").removesuffix("\n").removesuffix("\r")


def _within(own: Callable[[Any], AbstractAsyncContextManager[Any]], running: Running) -> Callable[[Any], Any]:
    """The application's own lifespan with ours inside: registered once it is ready, deregistered before it ends."""

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[Any]:
        async with own(app) as state, running():
            yield state

    return lifespan


class Registered:
    """An ASGI application that is registered while it runs, whether or not it supports lifespans."""

    def __init__(self, app: ASGIApp, running: Running) -> None:
        self.app = app
        self._running = running

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _Lifespan(self._running(), receive, send).run(self.app, scope)
        else:
            await self.app(scope, receive, send)


class _Lifespan:
    """One lifespan: between the server and the application, or in place of an application that has none."""

    def __init__(self, registered: AbstractAsyncContextManager[None], receive: Receive, send: Send) -> None:
        self._registered = registered
        self._receive = receive
        self._send = send
        self._has_received = False
        self._answered = False
        self._is_registered = False

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        """Until the server shuts down."""
        try:
            await app(scope, self._receive_message, self._send_message)
        except Exception as error:
            if self._answered:
                raise
            logger.info("the application does not support lifespans (%r): it is registered all the same", error)
        finally:
            await self._leave()
        if not self._answered:
            await self._stand_in()

    async def _stand_in(self) -> None:
        if not self._has_received:
            await self._receive()
        await self._send_message({"type": "lifespan.startup.complete"})
        await self._receive_message()
        await self._send_message({"type": "lifespan.shutdown.complete"})

    async def _receive_message(self) -> Message:
        message = await self._receive()
        self._has_received = True
        if message["type"] == "lifespan.shutdown":
            await self._leave()
        return message

    async def _send_message(self, message: Message) -> None:
        self._answered = True
        if message["type"] == "lifespan.startup.complete":
            self._is_registered = True
            await self._registered.__aenter__()
        await self._send(message)

    async def _leave(self) -> None:
        if self._is_registered:
            self._is_registered = False
            await self._registered.__aexit__(None, None, None)
