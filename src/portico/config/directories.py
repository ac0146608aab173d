"""Directories beside Redis that know a service's instances: the API server of Kubernetes, and DNS."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from portico.config.section import FilePath, Section, Whole
from portico.core.hosts import host_name

_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_DNS_NAME: Final = re.compile(r"(?=.{1,254}$)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
_LAST_PORT: Final = 65_535

Scheme = Literal["http", "https"]
"""How instances are spoken to."""


def _label(text: str) -> str:
    if not _LABEL.fullmatch(text):
        advice = "; its namespace is written beside it, as namespace: shop" if re.search("[./]", text) else ""
        raise ValueError(f"expected a name of Kubernetes: small letters, digits and -, 63 at most{advice}")
    return text


def _port(value: Any) -> Any:
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if isinstance(value, bool) or (isinstance(value, int) and not 0 < value <= _LAST_PORT):
        raise ValueError("expected the name of a port, or a number from 1 to 65535")
    return value


def _api_server(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or parts.username is not None or parts.query or parts.fragment:
        raise ValueError("write the address of the API server: https://HOST:PORT")
    if not parts.hostname:
        raise ValueError("the host is missing: write https://HOST:PORT")
    if ":" not in parts.hostname:
        host_name(parts.hostname)
    return text.rstrip("/")


def _dns_name(text: str) -> str:
    if not _DNS_NAME.fullmatch(text):
        advice = "; its port is written beside it, as port: 8000" if ":" in text else ""
        raise ValueError(f"expected a name such as orders.internal, or _http._tcp.orders.internal{advice}")
    return text


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


def name_server(text: str) -> tuple[str, int]:
    """Address and port of a name server. Raises ValueError."""
    match = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\](?::(\d{1,5}))?|([0-9.]+)(?::(\d{1,5}))?|([0-9A-Fa-f:.]+)", text)
    if match is None:
        raise ValueError("write the address of a name server: 10.0.0.10, 10.0.0.10:8600 or [fd00::10]:53")
    host, port = match[1] or match[3] or match[5], int(match[2] or match[4] or 53)
    if not 0 < port <= _LAST_PORT:
        raise ValueError("a port is a number from 1 to 65535")
    return str(ip_address(host)), port


def _name_server(text: str) -> str:
    name_server(text)
    return text


Label = Annotated[str, AfterValidator(_label)]
"""A name of Kubernetes (RFC 1123 label)."""


class ApiServerSettings(Section):
    """The API server that knows the endpoints of services; without `url` that of the cluster in which this runs.

    `token_file` and `ca_file` are those of the pod's account unless they are written; both are read anew when they are
    replaced. `namespace` is that of services that name none, and the pod's own by default.
    """

    url: Annotated[str, AfterValidator(_api_server)] | None = None
    """The address of the API server; without it that of the cluster in which the gateway runs."""
    token_file: FilePath | None = None
    """The file with the token; that of the pod's account by default. It is read for each request."""
    ca_file: FilePath | None = None
    """The authority of the server's certificate, in PEM form; that of the pod's account by default."""
    namespace: Label | None = None
    """The namespace of services that name none; the pod's own by default."""


class KubernetesService(Section):
    """A Service, whose EndpointSlices say where the pods are.

    `service` is called as the gateway calls it unless it is written. `port` is the name of one of its ports, or the
    number at the pods; a Service with one port needs none.
    """

    service: Label | None = None
    """The name of the Service; as the gateway calls it by default."""
    namespace: Label | None = None
    """The namespace of the Service; that of `gateway.kubernetes` by default."""
    port: Annotated[Annotated[str, Field(min_length=1)] | int | None, BeforeValidator(_port)] = None
    """Which of its ports, by name; a number is that at the pods. One with a single port needs none."""
    scheme: Scheme = "http"
    """How the pods are spoken to."""


class DnsRecords(Section):
    """Records of a name: each is an instance of its own."""

    name: Annotated[str, AfterValidator(_dns_name)]
    """The name that is looked up. A short one is searched for as by the system, unless it ends with a dot."""
    server: Annotated[str, AfterValidator(_name_server)] | None = None
    """The name server to ask, as address or address:port; the system's by default."""
    type: Annotated[Literal["A", "AAAA", "SRV"], BeforeValidator(_upper)] = "A"
    """`A` and `AAAA` are addresses, of which each has the `port`; `SRV` have ports, weights and priorities."""
    port: Annotated[Whole, Field(ge=1, le=_LAST_PORT)] | None = None
    """The port at each address. Records of type SRV have their own."""
    scheme: Scheme = "http"
    """How the instances are spoken to."""

    @model_validator(mode="after")
    def _has_ports(self) -> Self:
        if self.type == "SRV" and self.port is not None:
            raise ValueError("records of type SRV say their ports: leave port out")
        if self.type != "SRV" and self.port is None:
            written = f"{{name: {self.name}, port: 8000}}"
            raise ValueError(f"records of type {self.type} say no port: write {written}, or type: SRV")
        return self

    @property
    def server_address(self) -> tuple[str, int] | None:
        """Where `server` is."""
        return name_server(self.server) if self.server is not None else None


def named(key: str, kind: type[Section]) -> BeforeValidator:
    """A text alone is short for the section with this key."""

    def long(value: Any) -> Any:
        return {key: value} if isinstance(value, str) else value

    return BeforeValidator(long, json_schema_input_type=str | kind)
