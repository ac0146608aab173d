"""EndpointSlices: which pods of a Service get requests, and where (Kubernetes API, discovery.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address
from typing import Final, TypeAlias

import msgspec

from portico.config import KubernetesService
from portico.processes.control.registration import Entry

SERVICE_LABEL: Final = "kubernetes.io/service-name"
"""The label of a slice that names its Service."""
_FAMILIES: Final = ("IPv4", "IPv6")
"""Kinds of slices that are used. A slice of kind FQDN is deprecated, and no controller writes any."""
_LISTED: Final = 10


class Conditions(msgspec.Struct, frozen=True):
    """Unknown conditions (None) count as `ready`, as `serving` where it is ready, and as not `terminating`."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class Target(msgspec.Struct, frozen=True):
    """The pod behind an endpoint."""

    name: str = ""
    uid: str = ""


class Endpoint(msgspec.Struct, frozen=True, rename="camel"):
    """One pod; of its addresses only the first may be used."""

    addresses: tuple[str, ...] = ()
    conditions: Conditions | None = None
    target_ref: Target | None = None

    @property
    def is_terminating(self) -> bool:
        return self.conditions is not None and self.conditions.terminating is True

    @property
    def is_ready(self) -> bool:
        """Whether it gets new requests; also where a Service publishes pods that are not ready, not while it ends."""
        ready = self.conditions is None or self.conditions.ready is not False
        return ready and not self.is_terminating

    @property
    def is_last_resort(self) -> bool:
        """Whether it ends and still answers: it gets requests while no other is there, as from kube-proxy."""
        return self.is_terminating and self.conditions is not None and self.conditions.serving is True


class Port(msgspec.Struct, frozen=True):
    """A port of all endpoints of a slice; one without a name is called "", one without a number may be any."""

    name: str | None = None
    port: int | None = None
    protocol: str | None = None

    @property
    def is_tcp(self) -> bool:
        return self.protocol in (None, "TCP")

    def __str__(self) -> str:
        return f"{self.name} ({self.port})" if self.name else str(self.port)


class Metadata(msgspec.Struct, frozen=True, rename="camel"):
    """What every object has."""

    name: str = ""
    resource_version: str = ""
    labels: dict[str, str] | None = None


class Slice(msgspec.Struct, frozen=True, rename="camel"):
    """Some endpoints of a Service, all of one family and with the same ports."""

    metadata: Metadata
    address_type: str = "IPv4"
    endpoints: tuple[Endpoint, ...] | None = None
    ports: tuple[Port, ...] | None = None

    def is_of(self, service: str) -> bool:
        """Whether it belongs to this Service."""
        return (self.metadata.labels or {}).get(SERVICE_LABEL) == service

    @property
    def tcp_ports(self) -> list[Port]:
        return [port for port in self.ports or () if port.is_tcp]


class PortError(Exception):
    """The port that is configured is none of the Service, or none is and it has several; the message lists them."""


_Placed: TypeAlias = tuple[Endpoint, int]


def entries(name: str, settings: KubernetesService, slices: Iterable[Slice]) -> list[Entry]:
    """The instances of the service `name`: every pod once, however many slices it is in.

    Raises PortError.
    """
    of_families = sorted((each for each in slices if each.address_type in _FAMILIES), key=_order)
    placed = list(_placed(of_families, settings.port))
    found = _distinct((endpoint, port) for endpoint, port in placed if endpoint.is_ready)
    if not found:
        found = _distinct((endpoint, port) for endpoint, port in placed if endpoint.is_last_resort)
    made = (_entry(name, settings.scheme, endpoint, port) for endpoint, port in found)
    return [entry for entry in made if entry is not None]


def _order(each: Slice) -> tuple[str, str]:
    """Where a pod has two families, IPv4 comes first."""
    return each.address_type, each.metadata.name


def _placed(slices: Sequence[Slice], wanted: str | int | None) -> Iterator[_Placed]:
    """Every endpoint that has the wanted port, with its number there."""
    known = list(dict.fromkeys(port for each in slices for port in each.tcp_ports))
    if wanted is None and len({port.name for port in known}) > 1:
        raise PortError(f"it has several ports: write port with one of {_names(known)}")
    is_found = not known
    for each in slices:
        number = _number(each, wanted)
        is_found = is_found or number is not None
        if number is not None:
            yield from ((endpoint, number) for endpoint in each.endpoints or () if endpoint.addresses)
    if not is_found and wanted is None:
        raise PortError("its port has no number: write it as port")
    if not is_found:
        raise PortError(f"it has no port {wanted}: write one of {_names(known)}")


def _number(each: Slice, wanted: str | int | None) -> int | None:
    """The number of the wanted port in a slice; None where it is not there."""
    ports = each.tcp_ports
    if isinstance(wanted, int) and (not each.ports or any(port.port is None for port in ports)):
        return wanted  # a Service without ports, or with any
    for port in ports:
        if wanted in (None, port.name, port.port):
            return port.port
    return None


def _names(ports: Sequence[Port]) -> str:
    listed = ", ".join(map(str, ports[:_LISTED]))
    return f"{listed} and {len(ports) - _LISTED} more" if len(ports) > _LISTED else listed


def _distinct(placed: Iterable[_Placed]) -> list[_Placed]:
    """Each pod once: by its uid where it has one, else by its address."""
    seen: dict[tuple[str, int], _Placed] = {}
    for endpoint, port in placed:
        target = endpoint.target_ref
        identity = target.uid if target is not None and target.uid else endpoint.addresses[0]
        seen.setdefault((identity, port), (endpoint, port))
    return list(seen.values())


def _entry(name: str, scheme: str, endpoint: Endpoint, port: int) -> Entry | None:
    """None for what is no address that could be reached from here."""
    try:
        address = ip_address(endpoint.addresses[0])
    except ValueError:
        return None
    if getattr(address, "scope_id", None) is not None or not 0 < port < 1 << 16:
        return None
    host = f"[{address.compressed}]" if address.version == 6 else address.compressed
    instance = f"{address.exploded.replace(':', '-')}-{port}"
    target = endpoint.target_ref
    metadata = {"pod": target.name} if target is not None and target.name else {}
    default = {"http": 80, "https": 443}[scheme]
    url = f"{scheme}://{host}" if port == default else f"{scheme}://{host}:{port}"
    return Entry(name, instance, "kubernetes", url, metadata=metadata, ttl=0.0)
