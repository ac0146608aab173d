"""The sockets on which the gateway waits for clients; they are opened before anything else is started."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Final

from portico.config import GatewaySettings

_BACKLOG: Final = 4096


class ListenError(Exception):
    """The gateway's address cannot be listened on; the message says what to do."""


def open_listener(host: str, port: int, way_out: str = ", or set GATEWAY_PORT to another port") -> socket.socket:
    """A listening socket. Raises ListenError where the address is taken, forbidden or unknown.

    The message says what to do; `way_out` is what else there is to do about a port that is taken.
    """
    where = f"{host}:{port}"
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise ListenError(f"cannot listen on {where}: {error.strerror or error}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and host == "::":
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except PermissionError as error:
        listener.close()
        raise ListenError(f"not allowed to listen on {where}; ports below 1024 need privileges") from error
    except OSError as error:
        listener.close()
        raise ListenError(f"cannot listen on {where}: {error.strerror}; stop what uses it{way_out}") from error
    listener.setblocking(False)
    return listener


@dataclass(frozen=True, slots=True)
class Listeners:
    """The gateway's own port, and the one that redirects to it where there is one."""

    gateway: socket.socket
    redirect: socket.socket | None

    @classmethod
    def open(cls, settings: GatewaySettings) -> Listeners:
        """Listen. Raises ListenError, and then nothing is open."""
        gateway = open_listener(settings.host, settings.port)
        if settings.tls is None or settings.tls.redirect_from is None:
            return cls(gateway, None)
        try:
            way_out = ", or set gateway.tls.redirect_from to another port"
            return cls(gateway, open_listener(settings.host, settings.tls.redirect_from, way_out))
        except ListenError:
            gateway.close()
            raise

    def close(self) -> None:
        """Close this process's ends."""
        self.gateway.close()
        if self.redirect is not None:
            self.redirect.close()
