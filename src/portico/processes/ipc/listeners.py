"""The sockets on which the gateway waits for clients; they are opened before anything else is started."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import socket
import struct
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Final, TypeAlias

from portico.config import GatewaySettings, ListenerSettings
from portico.core.hosts import host_and_port

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
_ANOTHER: Final = ", or give it another port"
_RESTART: Final = ", or restart the gateway, which listens there at another host now"


def open_listener(host: str, port: int, way_out: str = _ANOTHER_PORT, listener_name: str = "") -> socket.socket:
    """A listening socket. Raises ListenError where the address is in use, forbidden or unknown.

    Its connections send small pieces at once (TCP_NODELAY is inherited): asyncio does that only for its own sockets.
    The message says what to do; `way_out` is what else can be done about a port in use. It names the one of several
    listeners whose socket it is to be.
    """
    where = host_and_port(host, port) + (f" (listener {listener_name})" if listener_name else "")
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
    return host_and_port(host, port)


Place: TypeAlias = tuple[str, int | str]
"""Of a socket: host and port; where any port will do, whose it is in place of the port."""


@dataclass(frozen=True, slots=True)
class Listener:
    """An address for clients, as its `settings` have it, and the port that redirects to it where there is one."""

    settings: ListenerSettings
    own: socket.socket
    redirect: socket.socket | None

    @classmethod
    def open(cls, settings: ListenerSettings, way_out: str, there: Mapping[Place, socket.socket]) -> Listener:
        """Listen, by sockets that are `there` or by new ones. Raises ListenError, and then no new one is open."""
        key, tls = settings.key, settings.tls
        own = _listening(settings.host, settings.port, key, there, way_out)
        redirect = None
        if tls is not None and tls.redirect_from is not None:
            way_out = f", or set {'' if key else 'gateway.'}tls.redirect_from to another port"
            try:
                redirect = _listening(settings.host, tls.redirect_from, key, there, way_out, "redirect")
            except ListenError:
                if own not in there.values():
                    own.close()
                raise
        return cls(settings, own, redirect)

    @property
    def key(self) -> str:
        """What it is called."""
        return self.settings.key

    @property
    def speaks_tls(self) -> bool:
        """Whether its own port speaks TLS."""
        return self.settings.tls is not None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{'https' if self.speaks_tls else 'http'}://{address_of(self.own)}"

    @property
    def sockets(self) -> dict[str, socket.socket]:
        """Its own, and that of the redirecting port."""
        return {"own": self.own} | ({"redirect": self.redirect} if self.redirect is not None else {})

    @property
    def places(self) -> Iterator[tuple[Place, socket.socket]]:
        """Where its sockets are, by the port that each has and as where any port will do."""
        for kind, each in self.sockets.items():
            yield (self.settings.host, each.getsockname()[1]), each
            yield (self.settings.host, f"{kind} {self.key}"), each

    @property
    def manner(self) -> object:
        """Equal for what listens by the same sockets in the same way."""
        return self.key, self.own, self.redirect, self.speaks_tls, self.settings.proxy_protocol


def _listening(
    host: str, port: int, key: str, there: Mapping[Place, socket.socket], way_out: str, kind: str = "own"
) -> socket.socket:
    found = there.get((host, port or f"{kind} {key}"))
    return open_listener(host, port, way_out, key) if found is None else found


@dataclass(frozen=True, slots=True)
class Listeners:
    """Those for clients, and the admin API's; `admin_problem` says why the latter is missing."""

    gateway: tuple[Listener, ...]
    admin: socket.socket | None
    admin_problem: str = ""

    @classmethod
    def open(cls, settings: GatewaySettings, way_out: str = _ANOTHER_PORT) -> Listeners:
        """Listen. Raises ListenError, and then nothing is open; `way_out` is what else can be done about a port in use.

        A default admin address that is in use is no reason not to start.
        """
        with contextlib.ExitStack() as opened:
            gateway = []
            for index, listener in enumerate(settings.listeners):
                gateway.append(Listener.open(listener, _ANOTHER if index else way_out, {}))
                for each in gateway[-1].sockets.values():
                    opened.callback(each.close)
            try:
                admin = open_listener(*settings.admin_address, ", or set GATEWAY_ADMIN to another address")
            except ListenError as error:
                if "admin" in settings.model_fields_set:
                    raise
                admin, problem = None, str(error)
            else:
                problem = ""
            opened.pop_all()
        return cls(tuple(gateway), admin, problem)

    def following(self, settings: GatewaySettings) -> tuple[Listeners, list[str]]:
        """Those that other settings want, by the sockets that are there and by new ones; and what stood in the way.

        Where an address cannot be listened on, the listener of that name stays where it is, if there is one and no
        other comes there.
        """
        there = dict(chain.from_iterable(listener.places for listener in self.gateway))
        current = {listener.key: listener for listener in self.gateway}
        gateway, stay, problems = [], [], []
        for wanted in settings.listeners:
            try:
                gateway.append(Listener.open(wanted, _ANOTHER, there))
            except ListenError as error:
                problems.append(str(error))
                stay += [current[wanted.key]] if wanted.key in current else []
        taken = {each for listener in gateway for each in listener.sockets.values()}
        gateway += [listener for listener in stay if taken.isdisjoint(listener.sockets.values())]
        return Listeners(tuple(gateway) or self.gateway, self.admin, self.admin_problem), problems

    @property
    def public(self) -> list[socket.socket]:
        """Those that clients connect to."""
        return [each for listener in self.gateway for each in listener.sockets.values()]

    def close(self) -> None:
        """Close this process's ends of those that clients connect to."""
        for each in self.public:
            each.close()

    def close_admin(self) -> None:
        """Close this process's end of the admin API's."""
        if self.admin is not None:
            self.admin.close()


def unavailable(wanted: GatewaySettings, taken: Collection[tuple[str, int]]) -> list[str]:
    """Why addresses cannot be listened on, one by one; those that are `taken`, host and port, this gateway has."""
    problems = []
    for each in wanted.listeners:
        for port in each.ports.values():
            if port and (each.host, port) not in taken:
                instead = _RESTART if any(port == own for _, own in taken) else _ANOTHER
                try:
                    open_listener(each.host, port, instead, each.key).close()
                except ListenError as error:
                    problems.append(str(error))
    return problems


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
