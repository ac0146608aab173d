"""Services of Kubernetes: those that are there by their names, and for instances by address their endpoints."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Final

from portico.config import Config, ResolvedRoute, Upstream
from portico.config.instances import InstanceSettings
from portico.config.problems import KeyPath
from portico.render.gateway_api.names import Names, is_hostname
from portico.render.losses import Losses
from portico.render.yaml_text import Noted

_LABEL: Final = "[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_OF_CLUSTER: Final = re.compile(rf"((?=[a-z]){_LABEL})(?:\.({_LABEL})\.svc(?:\.cluster\.local)?)?")
"""`SERVICE`, or `SERVICE.NAMESPACE.svc`."""
MOST: Final = 16
"""Backends of a rule."""
_HEAVIEST: Final = 1_000_000
CLOSED: Final = "portico-closed"
"""A Service without endpoints, for which a Gateway answers 503."""


@dataclass(slots=True)
class Backends:
    """Collects the resources that rules name."""

    config: Config
    losses: Losses
    names: Names
    resources: list[Noted] = field(default_factory=list)
    _refs: dict[tuple[str, str | None], list[tuple[dict[str, Any], float]]] = field(default_factory=dict)
    _upstreams: dict[tuple[str, str | None], Upstream] = field(default_factory=dict)
    _is_closed: bool = False

    def upstream(self, service: str, version: str | None) -> Upstream:
        """A service, or a version of it."""
        key = (service, version)
        if key not in self._upstreams:
            self._upstreams[key] = self.config.services[service].upstream(version)
        return self._upstreams[key]

    def of_route(self, route: ResolvedRoute, sides: Sequence[ResolvedRoute]) -> list[dict[str, Any]]:
        """The `backendRefs` of a route, with weights where they differ."""
        found: list[tuple[dict[str, Any], float]] = []
        for side in sides:
            own = self.refs(str(side.service), side.version)
            total = sum(weight for _, weight in own)
            share = side.side.weight if side.side is not None and len(sides) > 1 else total
            found += [(ref, share * weight / total if total else 0) for ref, weight in own]
        if len(found) > MOST:
            self.losses.add(route.source, f"a rule has {MOST} backends at most: the rest of them is left out")
            found = found[:MOST]
        return weighted(found)

    def closed(self) -> list[dict[str, Any]]:
        """Those of a route that is closed."""
        if not self._is_closed:
            self._is_closed = True
            note = "has no endpoints, so that a Gateway answers 503 for it: routes that are closed lead here"
            body = _service(CLOSED, 80)
            self.resources.append(Noted(note, body))
        return [{"name": CLOSED, "port": 80}]

    def refs(self, service: str, version: str | None) -> list[tuple[dict[str, Any], float]]:
        """The Services of one of Portico's, with their weights: instances of one weight are one Service."""
        upstream = self.upstream(service, version)
        key = (service, None if upstream.shared else version)
        if key not in self._refs:
            self._refs[key] = self._made(service, key[1], upstream)
        return self._refs[key]

    def _made(self, service: str, version: str | None, upstream: Upstream) -> list[tuple[dict[str, Any], float]]:
        at: KeyPath = ("services", service)
        found: list[tuple[dict[str, Any], float]] = []
        addresses: dict[tuple[int, str], list[InstanceSettings]] = {}
        for each in upstream.instances:
            if each.socket:
                self.losses.add((*at, "url"), "Kubernetes reaches no service by a socket: this instance is left out")
            elif each.backup:
                why = "the Gateway API has no instances for when the others fail: they are left out"
                self.losses.add((*at, "instances"), why)
            elif (named := _OF_CLUSTER.fullmatch(each.host)) is not None and each.host != "localhost":
                ref = {"name": named[1], "port": each.port}
                if named[2]:
                    ref["namespace"] = named[2]
                    why = "a Service of another namespace needs a ReferenceGrant there, which is not written"
                    self.losses.add((*at, "url"), why)
                found.append((ref, each.weight))
                self._tls(service, version, ref, each, upstream)
            else:
                addresses.setdefault((each.weight, each.scheme), []).append(each)
        label = service + (f"-{version}" if version else "")
        for (weight, scheme), instances in addresses.items():
            name = self.names.free("Service", label)
            port = (
                instances[0].port if len({each.port for each in instances}) == 1 else 443 if scheme == "https" else 80
            )
            self._say(service, version, name, port, instances)
            ref = {"name": name, "port": port}
            found.append((ref, weight * len(instances)))
            self._tls(service, version, ref, instances[0], upstream)
        return found

    def _say(
        self, service: str, version: str | None, name: str, port: int, instances: Sequence[InstanceSettings]
    ) -> None:
        """The Service of some instances, and where they are."""
        at: KeyPath = ("services", service)
        note = f"service {service}" + (f", version {version}" if version else "")
        by_name = [each for each in instances if not _is_address(each.host)]
        if by_name and by_name[0].host != "localhost":
            if len(instances) > 1:
                self.losses.add(
                    (*at, "instances"), "a Service has one name outside of the cluster: the others are left out"
                )
            why = "whether a Service of the type ExternalName is taken is up to the implementation"
            self.losses.add((*at, "url"), why)
            body = _service(name, port)
            body["spec"] = {"type": "ExternalName", "externalName": by_name[0].host, "ports": body["spec"]["ports"]}
            self.resources.append(Noted(note, body))
            return
        self.resources.append(Noted(note, _service(name, port)))
        slices: dict[tuple[str, int], list[str]] = {}
        for each in instances:
            if each.host == "localhost" or ip_address(each.host).is_loopback or ip_address(each.host).is_link_local:
                why = f"Kubernetes takes no endpoint at {each.host}: {name} is answered with 503 until it has others"
                self.losses.add((*at, "url"), why)
            else:
                kind = "IPv6" if ":" in each.host else "IPv4"
                slices.setdefault((kind, each.port), []).append(each.host)
        for (kind, number), hosts in slices.items():
            self.resources.append(Noted(f"where {note} is", self._slice(name, kind, number, hosts)))

    def _slice(self, name: str, kind: str, port: int, hosts: Sequence[str]) -> dict[str, Any]:
        own = self.names.free("EndpointSlice", f"{name}-{kind}" if kind == "IPv6" else name)
        labels = {"kubernetes.io/service-name": name, "endpointslice.kubernetes.io/managed-by": "portico"}
        return {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": own, "labels": labels},
            "addressType": kind,
            "ports": [{"name": "http", "protocol": "TCP", "port": port}],
            "endpoints": [{"addresses": [host]} for host in hosts],
        }

    def _tls(
        self, service: str, version: str | None, ref: dict[str, Any], instance: InstanceSettings, upstream: Upstream
    ) -> None:
        """How a Gateway speaks TLS to a Service."""
        if instance.scheme != "https":
            return
        at: KeyPath = ("services", service)
        name = upstream.tls.server_name or instance.host
        if not upstream.tls.verify:
            self.losses.add((*at, "tls", "verify"), "the Gateway API verifies certificates in any case")
        if not is_hostname(name) or "namespace" in ref:
            why = "a BackendTLSPolicy needs a name, not an address, and is of the Service's namespace: it is left out"
            self.losses.add((*at, "tls" if "tls" in self.config.services[service].model_fields_set else "url"), why)
            return
        note = f"TLS to service {service}" + (f", version {version}" if version else "")
        check: dict[str, Any] = {"hostname": name, "wellKnownCACertificates": "System"}
        if upstream.tls.ca is not None:
            own = self.names.once("ConfigMap", upstream.tls.ca, f"{service}-ca")
            note += f"; kubectl create configmap {own} --from-file=ca.crt={upstream.tls.ca}"
            check = {"hostname": name, "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": own}]}
        policy = {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "BackendTLSPolicy",
            "metadata": {"name": self.names.free("BackendTLSPolicy", str(ref["name"]))},
            "spec": {
                "targetRefs": [{"group": "", "kind": "Service", "name": ref["name"]}],
                "validation": check,
            },
        }
        self.resources.append(Noted(note, policy))


def weighted(found: Sequence[tuple[dict[str, Any], float]]) -> list[dict[str, Any]]:
    """Backends with whole weights, or without where all have the same."""
    weights = [weight for _, weight in found]
    if len(set(weights)) <= 1 and (not weights or weights[0]):
        return [dict(ref) for ref, _ in found]
    scale = 1.0
    if any(weight != int(weight) for weight in weights):
        scale = 1000 if max(weights) * 1000 <= _HEAVIEST else _HEAVIEST / max(weights)
    return [{**ref, "weight": max(1, round(weight * scale)) if weight else 0} for ref, weight in found]


def _service(name: str, port: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"ports": [{"name": "http", "protocol": "TCP", "port": port}]},
    }


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
