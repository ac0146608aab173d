"""A listener in a worker: what accepts for it, its TLS, and the gateway behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from portico.config import ListenerSettings
from portico.core.errors import Answer
from portico.net.tls.tickets import TicketContexts
from portico.processes.ipc.listeners import Listener
from portico.processes.worker.tls import Termination
from portico.proxy.gateway import Gateway, Snapshot
from portico.proxy.redirect import Redirect
from portico.proxy.routing.challenges import Challenges
from portico.wire.entrance import Entrance
from portico.wire.http1.server import HttpServer
from portico.wire.loads import Load


class WorkerListener:
    """One of the addresses on which a worker accepts, and the port that redirects to it where there is one."""

    def __init__(
        self,
        opened: Listener,
        settings: ListenerSettings,
        gateway: Gateway,
        local_answers: Mapping[str, Callable[[], Answer]],
        challenges: Challenges,
        directory: Path,
        tickets: TicketContexts | None,
    ) -> None:
        """Certificates that are ordered are in the `directory`. Raises CertificateError.

        How it was opened counts as long as it is open: with TLS or without, with PROXY headers or without.
        """
        self.key = opened.key
        self.gateway = gateway
        self._opened = opened
        self._settings = settings
        tls = opened.settings.tls
        self._tls = Termination(settings.tls or tls, directory, tickets) if tls is not None else None
        self._redirect = None
        if opened.redirect is not None:
            self._redirect = Redirect(gateway, local_answers, challenges, self._public_port())

    def entrances(
        self,
        loop: asyncio.AbstractEventLoop,
        server: HttpServer,
        is_trusted: Callable[[str], bool],
        *,
        alone: bool,
        load: Load | None,
    ) -> Iterator[Entrance]:
        """What accepts connections, not yet open; `is_trusted` says whose PROXY headers are believed."""
        announces = is_trusted if self._opened.settings.proxy_protocol else None
        tls = self._tls.context if self._tls is not None else None
        own, redirect = self._opened.own, self._opened.redirect
        entrance = partial(Entrance, loop, server=server, alone=alone, announces=announces, load=load)
        yield entrance(own, tls=tls, handler=self.gateway)
        if redirect is not None:
            yield entrance(redirect, handler=self._redirect)

    @property
    def port(self) -> int:
        """Where clients connect."""
        port: int = self._opened.own.getsockname()[1]
        return port

    def refresh(self) -> None:
        """Take over certificates that were renewed."""
        if self._tls is not None:
            self._tls.refresh()

    def adopt(self, settings: ListenerSettings, snapshot: Snapshot) -> None:
        """Use other settings, as far as they can change while it is open, and its own part of a snapshot."""
        self._settings = settings
        self.gateway.snapshot = snapshot.at(self.key)
        if self._tls is not None and settings.tls is not None:
            self._tls.adopt(settings.tls)
        if self._redirect is not None:
            self._redirect.port = self._public_port()

    def _public_port(self) -> int:
        """Where clients find HTTPS."""
        return (self._settings.tls and self._settings.tls.redirect_to) or self.port
