"""The sockets on which the gateway waits for clients; they are opened before anything else is started."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import socket
import struct
import sys
from dataclasses import dataclass
from typing import Final

from portico.config import GatewaySettings

ACCEPT_GRACE: Final = 0.5
"""Seconds for which a draining gateway still accepts: connections on their way are not reset."""

_BACKLOG: Final = 4096
_SO_ATTACH_FILTER: Final = 26
_FLAGS, _SYN, _SYN_ACK = 13, 0x02, 0x12
_DROP_FIRST_PACKETS: Final = (
    (0x30, 0, 0, _FLAGS),  # load the byte of the TCP header that holds the flags
    (0x54, 0, 0, _SYN_ACK),
    (0x15, 0, 1, _SYN),  # a SYN without an ACK is a new connection
    (0x06, 0, 0, 0),  # dropped
    (0x06, 0, 0, 0xFFFFFFFF),  # accepted
)
"""A program for the kernel's packet filter (socket(7), SO_ATTACH_FILTER): code, jumps if true and if false, operand."""


class ListenError(Exception):
    """The gateway's address cannot be listened on; the message says what to do."""


_ANOTHER_PORT: Final = ", or set GATEWAY_PORT to another port"


def open_listener(host: str, port: int, way_out: str = _ANOTHER_PORT) -> socket.socket:
    """A listening socket. Raises ListenError where the address is in use, forbidden or unknown.

    Its connections send small pieces at once (TCP_NODELAY is inherited): asyncio does that only for its own sockets.
    The message says what to do; `way_out` is what else can be done about a port in use.
    """
    where = f"{host}:{port}"
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise ListenError(f"cannot listen on {where}: {error.strerror or error}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if family == socket.AF_INET6 and host == "::":
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except PermissionError as error:
        listener.close()
        raise ListenError(f"not allowed to listen on {where}; ports below 1024 need privileges") from error
    except OSError as error:
        listener.close()
        raise ListenError(f"cannot listen on {where}: {error.strerror}{_remedy(error, way_out)}") from error
    listener.setblocking(False)
    return listener


def _remedy(error: OSError, way_out: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"; stop what uses it{way_out}"
    if error.errno == errno.EADDRNOTAVAIL:
        return "; this machine has no such address, and 0.0.0.0 or :: are all that it has"
    return ""


def address_of(listener: socket.socket) -> str:
    """Where it listens, as `host:port`."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True, slots=True)
class Listeners:
    """The gateway's own port, the one that redirects to it where there is one, and the admin API's.

    `admin_problem` says why the latter is missing.
    """

    gateway: socket.socket
    redirect: socket.socket | None
    admin: socket.socket | None
    admin_problem: str = ""

    @classmethod
    def open(cls, settings: GatewaySettings, way_out: str = _ANOTHER_PORT) -> Listeners:
        """Listen. Raises ListenError, and then nothing is open; `way_out` is what else can be done about a port in use.

        A default admin address that is in use is no reason not to start.
        """
        with contextlib.ExitStack() as opened:
            gateway = opened.enter_context(open_listener(settings.host, settings.port, way_out))
            redirect = None
            if settings.tls is not None and settings.tls.redirect_from is not None:
                other = ", or set gateway.tls.redirect_from to another port"
                redirect = opened.enter_context(open_listener(settings.host, settings.tls.redirect_from, other))
            try:
                admin = open_listener(*settings.admin_address, ", or set GATEWAY_ADMIN to another address")
            except ListenError as error:
                if "admin" in settings.model_fields_set:
                    raise
                admin, problem = None, str(error)
            else:
                problem = ""
            opened.pop_all()
        return cls(gateway, redirect, admin, problem)

    @property
    def public(self) -> list[socket.socket]:
        """Those that clients connect to."""
        return [self.gateway] if self.redirect is None else [self.gateway, self.redirect]

    def close(self) -> None:
        """Close this process's ends of those that clients connect to."""
        for listener in self.public:
            listener.close()

    def close_admin(self) -> None:
        """Close this process's end of the admin API's."""
        if self.admin is not None:
            self.admin.close()


def turn_away(listener: socket.socket) -> None:
    """Accept no new handshakes, in any process, while those that have begun still complete.

    Closing a socket resets the connections in its queue or on their way. With this it can be emptied first:
    the kernel drops the first packet of new connections, which is sent again and refused once the socket is closed.
    """
    if sys.platform != "linux":
        return
    program = b"".join(struct.pack("HBBI", *instruction) for instruction in _DROP_FIRST_PACKETS)
    buffer = ctypes.create_string_buffer(program)
    with contextlib.suppress(OSError):  # a kernel without this filter: only the moment of closing is left
        listener.setsockopt(
            socket.SOL_SOCKET,
            _SO_ATTACH_FILTER,
            struct.pack("HP", len(_DROP_FIRST_PACKETS), ctypes.addressof(buffer)),
        )
