"""What has to fit together between the addresses on which the gateway listens, and between them and the routes."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from fnmatch import fnmatchcase

from portico.config.found import DiscoverySettings
from portico.config.gateway import LISTENING, GatewaySettings
from portico.config.listen import ListenerSettings
from portico.config.problems import Finding, KeyPath, nearest


def listen_findings(gateway: GatewaySettings) -> Iterator[Finding]:
    """Keys that `listen` stands in place of, and names and addresses that two listeners want."""
    if "listen" in gateway.model_fields_set and not gateway.listen:
        yield Finding(("gateway", "listen"), "names no address: write [{port: 8080}], or leave it out")
    for key in LISTENING:
        if gateway.listen and key in gateway.model_fields_set:
            message = f"gateway.listen says where the gateway listens: write {key} there, or leave listen out"
            yield Finding(("gateway", key), message)
    yield from _shared_names(gateway)
    yield from _shared_ports(gateway)


def _shared_names(gateway: GatewaySettings) -> Iterator[Finding]:
    seen: set[str] = set()
    for path, listener in gateway.written_listeners():
        if listener.key in seen and listener.name is not None:
            yield Finding((*path, "name"), "a listener above has this name already")
        elif listener.key in seen:
            yield Finding((*path, "port"), f"two listeners are called {listener.key} by their port: give one a name")
        seen.add(listener.key)


def _shared_ports(gateway: GatewaySettings) -> Iterator[Finding]:
    seen: list[tuple[ListenerSettings, int]] = []
    for path, listener in gateway.written_listeners():
        for key, port in listener.ports.items():
            others = [each for each, taken in seen if port and taken == port and _meet(each.host, listener.host)]
            if listener in others:
                message = (
                    "has to be another port than gateway.port" if not gateway.listen else "is the port above already"
                )
                yield Finding((*path, *key), message)
            elif others:
                yield Finding((*path, *key), f"the listener {others[0].key} has this address already")
            seen.append((listener, port))


def shared_address(gateway: GatewaySettings) -> Iterator[Finding]:
    """A port on which both clients and the admin API would be served: only one of them can be."""
    host, port = gateway.admin_address
    for path, listener in gateway.written_listeners():
        for key, other in listener.ports.items():
            if port and port == other and _meet(host, listener.host):
                message = f"gateway.admin, {gateway.admin}, wants the same address: give one of them another port"
                yield Finding((*path, *key), message)


def _meet(one: str, other: str) -> bool:
    """Whether one socket cannot listen at a host while another does at the other one, with the same port."""
    hosts = {"127.0.0.1" if host.lower() == "localhost" else host.lower() for host in (one, other)}
    if len(hosts) == 1 or "::" in hosts:
        return True
    return "0.0.0.0" in hosts and not any(":" in host for host in hosts)  # noqa: S104


def route_name_findings(
    gateway: GatewaySettings, names: Collection[str], discover: DiscoverySettings | None
) -> Iterator[Finding]:
    """Routes that listeners name and that there are not, unless services may be found that have them."""
    for index, listener in enumerate(gateway.listen):
        path: KeyPath = ("gateway", "listen", index, "routes")
        seen: set[str] = set()
        for number, name in enumerate(listener.routes or ()):
            if name in seen:
                yield Finding((*path, number), f"{name} is in this list already")
            elif "*" in name or "?" in name:
                if discover is None and not any(fnmatchcase(each, name) for each in names):
                    yield Finding((*path, number), f"no route has a name like {name}; portico routes lists their names")
            elif name not in names and not (discover is not None and discover.admits(name)):
                message = f'there is no route "{name}"; portico routes lists their names'
                yield Finding((*path, number), message, nearest(name, names))
            seen.add(name)
