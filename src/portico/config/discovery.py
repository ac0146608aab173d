"""Where the instances of a service are found, and which addresses are accepted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_network
from typing import Annotated, Any, Final, Literal, Self, TypeAlias, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from portico.config.directories import DnsRecords, KubernetesService, named
from portico.config.section import Section, is_word
from portico.core.hosts import host_name
from portico.core.settings import NotEmpty
from portico.net.addresses import HOSTS, Network, is_special, parse

Source: TypeAlias = Literal["redis", "admin"]
"""Where instances register: in Redis, or over the admin API of this gateway, which then keeps the registry itself."""

Directory: TypeAlias = Literal["redis", "admin", "kubernetes", "dns"]
"""What knows the instances of a service beside the file."""

_NUMBER: Final = re.compile(r"0x[0-9a-f]*|\d+")
_NO_SERVICE: Final = "no service has such an address, unless allow names it"


def _origin(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError:
        pass
    try:
        wider = ip_network(text, strict=False)
    except ValueError:
        if _is_number(text.lower()) or re.fullmatch(r"[\d./]+", text):
            raise ValueError("expected a network such as 10.0.0.0/8, a host, or *.example.com") from None
        return host_name(text, wildcard=True)
    raise ValueError(f"the address has bits beyond the network's; the network is {wider}")


Origins = Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], Field(min_length=1)]
"""Networks, hosts, and `*.example.com`."""

AllowField = Annotated[Origins | None, NotEmpty("name networks or hosts, such as [10.0.0.0/8], or leave allow out")]


def refusal(url: str, origins: Sequence[str] | None) -> str | None:
    """Why a registered instance must not be at `url`, which is valid; None where it may.

    Without `origins` every address is accepted but special ones (`portico.net.addresses`); with them those that they
    name, and special ones only if one of them names just that. A host name is not resolved here: workers and health
    checks screen what they connect to.
    """
    host = (urlsplit(url).hostname or "").rstrip(".")
    address = parse(host)
    if address is None:
        return _refusal_of_name(host, origins)
    networks = networks_of(origins)
    if is_special(address, networks):
        return _NO_SERVICE
    if origins is None or any(address in network for network in networks):
        return None
    return "it is in no network of allow"


def networks_of(origins: Sequence[str] | None) -> tuple[Network, ...]:
    """Those of `origins` that are networks."""
    return tuple(ip_network(origin) for origin in origins or () if "/" in origin)


def _refusal_of_name(host: str, origins: Sequence[str] | None) -> str | None:
    if _is_number(host):  # the system's resolver would read it as an address
        return "the host is not a name or an address"
    if host in (origins or ()):
        return None
    if host in HOSTS:
        return _NO_SERVICE
    if origins is None or any(_ends(host, origin) for origin in origins):
        return None
    return "no entry of allow names this host"


def _ends(host: str, origin: str) -> bool:
    return origin.startswith("*.") and host.endswith(origin[1:])


def _is_number(host: str) -> bool:
    """Whether a host would be read as an IPv4 address of some form (WHATWG URL, "ends in a number")."""
    return _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]) is not None


class DiscoverSettings(Section):
    """Which directory knows a service's instances, and where they may be; without `allow`, the top-level one holds.

    Either they register (`source`), or Kubernetes or DNS is asked for them.
    """

    source: Source | None = None
    """Where they register: in the Redis of `gateway.redis_url`, or over the admin API of this gateway, which keeps them
    in memory.
    """
    kubernetes: Annotated[KubernetesService, named("service", KubernetesService)] | None = None
    """A Service of Kubernetes, whose pods are the instances."""
    dns: Annotated[DnsRecords, named("name", DnsRecords)] | None = None
    """A name in DNS, whose records are the instances."""
    allow: AllowField = None
    """Where instances may be; those elsewhere get no requests. In a service: what the top says, where nothing is
    written. Link-local addresses and those of a cloud's metadata have to be named here one by one, or as a network of
    nothing else.
    """

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        written = [key for key in ("source", "kubernetes", "dns") if getattr(self, key) is not None]
        if len(written) != 1:
            had = f"not {' and '.join(written)}" if written else "and has none"
            raise ValueError(f"needs one of source (redis or admin), kubernetes and dns, {had}")
        return self

    @property
    def directory(self) -> Directory:
        """What knows the instances."""
        if self.kubernetes is not None:
            return "kubernetes"
        if self.dns is not None:
            return "dns"
        assert self.source is not None
        return self.source


def long_discover(value: Any) -> Any:
    """The section that `redis`, `admin` and `false` are short for."""
    if is_word(value, False):
        return None
    return {"source": value} if isinstance(value, str) else value


def _long(value: Any) -> Any:
    """The same in a service, where Kubernetes and DNS may be asked too."""
    if value == "kubernetes" or (isinstance(value, dict) and value.get("kubernetes", value) is None):
        return {**(value if isinstance(value, dict) else {}), "kubernetes": {}}
    if isinstance(value, str) and value not in get_args(Source) and not is_word(value, False):
        raise ValueError("expected redis, admin, kubernetes or a section such as {dns: {name: a.internal, port: 8000}}")
    return long_discover(value)


DiscoverField = Annotated[
    DiscoverSettings | None,
    BeforeValidator(_long, json_schema_input_type=bool | Source | Literal["kubernetes"] | DiscoverSettings),
    NotEmpty("write discover: redis, admin or kubernetes, or leave it out"),
]
