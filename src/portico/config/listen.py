"""Where the gateway listens: one address, or several with routes of their own."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from portico.config.section import Section, Whole, is_word, names_like, written_as
from portico.config.tls import TlsSettings
from portico.core.settings import Name, NotEmpty


def listening_host(text: str) -> str:
    """A host to listen on: a name, or an address, an IPv6 one without its brackets. Raises ValueError."""
    host = text.removeprefix("[").removesuffix("]")
    try:
        if ":" in host:
            IPv6Address(host)
        elif re.fullmatch(r"[\d.]+", host):
            IPv4Address(host)
        elif not re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,253}[A-Za-z0-9_.])?", host):
            raise ValueError("not a name")
    except ValueError:
        raise ValueError(
            "expected an address or a name of this machine, without scheme and port; 0.0.0.0 and :: are every address"
        ) from None
    return host


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to it."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


Host = Annotated[str, AfterValidator(listening_host)]
Port = Annotated[Whole, Field(ge=0, le=65535)]
_SYMBOLS: Final = frozenset("*?[")
"""What stands for other characters in the names of routes."""
_CERTIFIED: Final = "tls: {certificate: FILE, key: FILE}"
TlsField = Annotated[
    TlsSettings | None,
    written_as(dict, f"{_CERTIFIED}, or have one ordered by acme"),
    NotEmpty(f"write {_CERTIFIED}, or leave tls out"),
]
_OnlyOff = Annotated[
    Literal["off"] | None,
    BeforeValidator(lambda value: "off" if is_word(value, False) else value, json_schema_input_type=bool | str),
]


class ListenerSettings(Section):
    """One of the addresses on which the gateway listens; port 0 picks a free one.

    `routes` names the routes that it serves, `*` and `?` standing for any characters of their names; it serves all
    where none are written. `endpoints: off` keeps the gateway's own
    endpoints away. In the log and in metrics it has its name, or else its port.
    """

    name: Name | None = None
    """What it is called in the log, in metrics and in messages."""
    host: Host = "0.0.0.0"  # noqa: S104 - a gateway has to be reachable
    """Where this one listens."""
    port: Port
    """Where this one listens; 0 picks a free port."""
    tls: TlsField = None
    """Certificates of its own, as `gateway.tls`."""
    proxy_protocol: bool = False
    """Whether `trusted_proxies` begin each connection with a PROXY header."""
    routes: Annotated[
        tuple[Annotated[str, names_like("route")], ...] | None,
        NotEmpty("write routes: [name], or leave it out to serve them all"),
    ] = None
    """The routes that it serves, as `portico routes` names them; `*` and `?` stand for other characters: `["api-*"]`.
    Of a service without `routes` of its own that is the service's name. With `[]` it has the gateway's own endpoints
    alone.
    """
    endpoints: _OnlyOff = None
    """`off` keeps the gateway's own endpoints away from it, whoever else may read them."""

    @property
    def key(self) -> str:
        """What it is called; empty for the one address of a gateway without `listen`."""
        return str(self.port) if self.name is None else self.name

    @property
    def is_local(self) -> bool:
        """Whether only this machine can connect."""
        return is_loopback(self.host)

    @property
    def ports(self) -> dict[tuple[str, ...], int]:
        """Every port that it takes, by its key."""
        redirect = self.tls.redirect_from if self.tls is not None else None
        return {("port",): self.port} | ({("tls", "redirect_from"): redirect} if redirect is not None else {})

    @property
    def plain_ports(self) -> list[int]:
        """Those of them at which clients speak HTTP without TLS."""
        return [port for key, port in self.ports.items() if self.tls is None or key != ("port",)]

    @property
    def kind(self) -> object:
        """Equal for listeners that serve the same routes and endpoints."""
        return None if self.routes is None else frozenset(self.routes), self.endpoints

    def serves(self, route: str) -> bool:
        """Whether it serves the route of this name."""
        if self.routes is None:
            return True
        names, forms = self.names_and_forms
        return route in names or any(fnmatchcase(route, form) for form in forms)

    @cached_property
    def names_and_forms(self) -> tuple[frozenset[str], tuple[str, ...]]:
        """What `routes` holds: names, and what stands for others."""
        forms = tuple(each for each in self.routes or () if not _SYMBOLS.isdisjoint(each))
        return frozenset(self.routes or ()).difference(forms), forms
