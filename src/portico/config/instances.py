"""Instances: the addresses of a service."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv6Address
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from portico.config.section import Section, Whole

_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?\.?")
_NETLOC = re.compile(r"(?:\[[^\[\]]*\]|[^\[\]]*)(?::\d*)?", re.ASCII)
"""Brackets around the whole host or none: urlsplit ignores what stands between them and the port."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_NO_HOST = "the host is not a name or an address"
_UNIX = "unix://"
_LONGEST_PATH = 107
"""Bytes of a unix socket's path, which ends with a zero (`unix(7)`)."""


def instance_url(text: str) -> str:
    """`scheme://host[:port]` in its shortest form, or `unix:///path` of a socket. Raises ValueError."""
    stripped = text.strip(" \t\r\n")
    return _socket_url(stripped) if stripped.lower().startswith("unix:") else network_url(text)


def _socket_url(text: str) -> str:
    path = text[len(_UNIX) :]
    if not text.lower().startswith(_UNIX) or not path.startswith("/"):
        raise ValueError("the url of a unix socket has its whole path: unix:///run/app.sock")
    if _CONTROL.search(path) or path.endswith("/"):
        raise ValueError("not the path of a unix socket: write unix:///run/app.sock")
    if len(path.encode("utf-8", "surrogateescape")) > _LONGEST_PATH:
        raise ValueError(f"the path of a unix socket has {_LONGEST_PATH} bytes at most")
    return _UNIX + path


def network_url(text: str) -> str:
    """`scheme://host[:port]` in its shortest form.

    Raises ValueError; no message repeats the text, which may hold a password or terminal escapes. Space around it is
    stripped: `echo URL | redis-cli -x SET` sends the end of the line along.
    """
    text = text.strip(" \t\r\n")
    if _CONTROL.search(text):  # of which urlsplit removes some
        raise ValueError("a url holds no control characters")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("not a url; write http://host:port") from None
    scheme = parts.scheme
    if scheme not in _DEFAULT_PORTS or not parts.netloc:
        raise ValueError("a url starts with http:// or https:// and a host, or is unix:///path")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a url holds no user and no password")
    if parts.query or parts.fragment or text.endswith(("?", "#")):
        raise ValueError("a url of an instance has no ? and no #")
    if parts.path not in ("", "/"):
        raise ValueError("a url of an instance ends after the port; put the path into the route's rewrite")
    if port == 0 or parts.netloc.endswith(":"):
        raise ValueError("a port is a number from 1 to 65535")
    if not parts.netloc.isascii() or not _NETLOC.fullmatch(parts.netloc):
        raise ValueError(_NO_HOST)
    host = _host(parts.hostname or "", bracketed=parts.netloc.startswith("["))
    return f"{scheme}://{host}" if port in (None, _DEFAULT_PORTS[scheme]) else f"{scheme}://{host}:{port}"


def _host(host: str, *, bracketed: bool) -> str:
    """The host in its shortest form."""
    if bracketed:
        try:
            address = IPv6Address(host)
        except AddressValueError:
            raise ValueError("the host in brackets is not an IPv6 address") from None
        if address.scope_id is not None:
            raise ValueError("an address with a zone id (%...) is none of a URL; give the service another address")
        return f"[{address}]"
    if not _HOST.fullmatch(host):
        raise ValueError(_NO_HOST)
    return host


def _long_instance(value: Any) -> Any:
    return {"url": value} if isinstance(value, str) else value


InstanceUrl = Annotated[str, AfterValidator(instance_url)]
NetworkUrl = Annotated[str, AfterValidator(network_url)]
"""Where an instance may register that is reached over a network: what it says opens no socket of this machine."""


class InstanceSettings(Section):
    """One address of a service; an instance of weight 2 gets twice the requests of one of weight 1, and of 0 none.

    A `backup` gets requests while none of the others can.
    """

    url: InstanceUrl
    """Its address: `http://host[:port]`, `https://…` or `unix:///path`, without path, user or query."""
    weight: Annotated[Whole, Field(ge=0, le=1000)] = 1
    """Its share of the requests, in proportion to the others'. One of 0 gets none, and is checked as the others: what
    is under way there goes on, such as WebSockets.
    """
    backup: bool = False
    """Whether it gets requests only while none of the others can, or so few that ejected ones would be used all the
    same; and what is retried once all others were tried.
    """

    @property
    def scheme(self) -> str:
        return self.url.partition(":")[0]

    @property
    def socket(self) -> str:
        """The path of its unix socket; empty where it is reached over a network."""
        return self.url.removeprefix(_UNIX) if self.url.startswith(_UNIX) else ""

    @property
    def host(self) -> str:
        """Name or address, an IPv6 address without its brackets; `localhost` behind a unix socket."""
        if self.socket:
            return "localhost"
        authority = self.url.partition("://")[2]  # in its shortest form, see `instance_url`
        return authority[1:].partition("]")[0] if authority[0] == "[" else authority.partition(":")[0]

    @property
    def port(self) -> int:
        if self.socket:
            return 0
        port = self.url.rpartition(":")[2]
        return int(port) if port.isdecimal() else _DEFAULT_PORTS[self.scheme]

    @property
    def authority(self) -> str:
        """The text of the Host field (RFC 9110, section 7.2): without the port where it is the scheme's own."""
        return self.host if self.socket else self.url.partition("://")[2]


InstanceField = Annotated[
    InstanceSettings, BeforeValidator(_long_instance, json_schema_input_type=str | InstanceSettings)
]
