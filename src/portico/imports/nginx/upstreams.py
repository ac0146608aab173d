"""What requests are passed on to: `upstream` blocks and plain addresses, as services."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

from portico.config.instances import instance_url
from portico.imports.draft import Draft, Part, free_name
from portico.imports.nginx.ledger import Ledger
from portico.imports.nginx.scope import Scope
from portico.imports.nginx.syntax import Directive
from portico.imports.nginx.values import duration, field_name, seconds
from portico.imports.nginx.variables import Var, parse
from portico.imports.remarks import Where

_RESERVED: Final = {"gateway", "none"}
_SYSTEM_AUTHORITIES: Final = "/etc/ssl/certs/ca-certificates.crt"
_NAMED: Final = re.compile(r"(?:(?P<host>\[[0-9A-Fa-f:.]+\]|[^:/\s]+))(?::(?P<port>\d{1,5}))?")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a `proxy_pass` leads, but for the path: `http` or `https`, and a name, an address, or a unix socket."""

    scheme: str
    authority: str

    @property
    def url(self) -> str:
        if self.authority.startswith("unix:"):
            return f"unix://{self.authority.removeprefix('unix:')}"
        default = ":443" if self.scheme == "https" else ":80"
        return f"{self.scheme}://{self.authority.removesuffix(default)}"


@dataclass(slots=True)
class Services:
    """Makes services of addresses, each once."""

    draft: Draft
    ledger: Ledger
    blocks: dict[str, Directive] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    """What services are called, where that is not as their `upstream`."""
    _made: dict[tuple[Any, ...], str] = field(default_factory=dict)

    def name(self, address: Address, scope: Scope, where: Where) -> str | None:
        """The name of the service for an address; None where it cannot be one."""
        tls = _tls(scope) if address.scheme == "https" else {}
        if address.scheme == "https":
            names = ("verify", "trusted_certificate", "name", "certificate", "certificate_key")
            self.ledger.taken(*(scope.one(f"proxy_ssl_{name}") for name in names))
        key = (address, repr(tls))
        if key not in self._made:
            block = self.blocks.get(address.authority)
            data = self._block(block, address.scheme) if block is not None else self._single(address)
            if data is None:
                return None
            wanted = address.authority if block is not None else _label(address.authority)
            wanted = self.names.get(address.authority, wanted)
            name = free_name(wanted, {*self.draft.services, *_RESERVED})
            if tls.get("server_name") == _host_of(data):
                del tls["server_name"]
            if tls:
                data["tls"] = tls
            self.draft.services[name] = Part(block.where if block is not None else where, data)
            self._made[key] = name
            if block is not None:
                self._remarks(block, self.draft.services[name])
        return self._made[key]

    def instances(self, name: str) -> list[str]:
        """The URLs of a service's instances."""
        data = self.draft.services[name].data
        if "url" in data:
            return [data["url"]]
        return [each if isinstance(each, str) else each["url"] for each in data["instances"]]

    def urls(self, address: Address) -> list[str]:
        """The URLs of an address: those of the instances, where it is the name of an `upstream`."""
        block = self.blocks.get(address.authority)
        if block is None:
            return [address.url]
        self.ledger.taken(block)
        return [Address(address.scheme, server.value).url for server in block.all("server")]

    def _single(self, address: Address) -> dict[str, Any] | None:
        if not _is_instance(address):
            return None
        return {"default_routes": False, "url": address.url}

    def _block(self, block: Directive, scheme: str) -> dict[str, Any] | None:
        instances: list[Any] = []
        for server in block.all("server"):
            instance = self._instance(server, scheme)
            if instance is not None:
                instances.append(instance)
        if not instances:
            return None
        data: dict[str, Any] = {"default_routes": False}
        if len(instances) == 1 and isinstance(instances[0], str):
            data["url"] = instances[0]
        else:
            data["instances"] = instances
        most = [
            found[1]
            for each in block.all("server")
            for word in each.args
            if (found := re.fullmatch(r"max_conns=(\d+)", word))
        ]
        if most and int(most[0]):
            data["max_connections"] = int(most[0])
        if (balancing := self._balancing(block)) is not None:
            data["load_balancing"] = balancing
        idle = block.last("keepalive_timeout")
        if idle is not None and (time := seconds(idle.value)) and time != 4:
            data["idle_connection_timeout"] = duration(time)
        return data

    def _instance(self, server: Directive, scheme: str) -> Any:
        options = dict(word.partition("=")[::2] for word in server.args[1:])
        authority = server.value
        if not _is_instance(Address(scheme, authority)):
            self.ledger.left(server, "this is no address")
            return None
        instance: dict[str, Any] = {"url": Address(scheme, authority).url}
        weight = options.get("weight", "1")
        if "down" in options:
            instance["weight"] = 0
        elif weight.isdecimal() and weight != "1":
            instance["weight"] = min(int(weight), 1000)
        if "backup" in options:
            instance["backup"] = True
        self.ledger.taken(server)
        return instance if len(instance) > 1 else instance["url"]

    def _balancing(self, block: Directive) -> Any:
        for each in block.block or ():
            if each.name == "least_conn":
                return "least_connections"
            if each.name == "ip_hash":
                return {"consistent_hash": "client_ip"}
            if each.name == "random":
                return "power_of_two" if "two" in each.args else "random"
            if each.name == "hash":
                return self._hash(each)
        return None

    def _hash(self, directive: Directive) -> Any:
        value = parse(directive.value)
        if len(value) == 1 and isinstance(value[0], Var):
            name = value[0].name
            if name in ("remote_addr", "binary_remote_addr"):
                return {"consistent_hash": "client_ip"}
            if name.startswith("http_"):
                return {"consistent_hash": {"header": field_name(name[5:])}}
            if name.startswith("cookie_"):
                return {"consistent_hash": {"cookie": name[7:]}}
        self.ledger.left(directive, "requests are hashed by the client's address, a header field or a cookie")
        return None

    def _remarks(self, block: Directive, part: Part) -> None:
        self.ledger.taken(block)
        for each in block.block or ():
            if each.name in ("server", "least_conn", "hash", "random"):
                self.ledger.taken(each)
                options = dict(word.partition("=")[::2] for word in each.args[1:])
                if each.name == "server" and options.get("max_fails", "1") not in ("0", "1"):
                    self.ledger.changed(
                        each, "passive_health ejects an instance after five failures in a row, for 10 s", part
                    )
                elif each.name == "server" and "slow_start" in options:
                    self.ledger.changed(each, "slow_start is a key of the service", part)
                elif (
                    each.name == "server"
                    and "resolve" not in options
                    and each.value.count(":") == 0
                    and "/" not in each.value
                ):
                    self.ledger.taken(each)
            elif each.name == "ip_hash":
                self.ledger.changed(
                    each, "by the whole address, and those of other instances stay where they are", part
                )
            elif each.name in ("keepalive", "keepalive_timeout", "keepalive_requests", "keepalive_time", "zone"):
                self.ledger.taken(each, why="connections are kept in any case")
            else:
                self.ledger.left(each, part=part)


def _is_instance(address: Address) -> bool:
    """Whether there is an instance at such an address."""
    try:
        instance_url(address.url)
    except ValueError:
        return False
    return True


def _host_of(data: dict[str, Any]) -> str:
    """The host of the first instance."""
    first = data["url"] if "url" in data else data["instances"][0]
    url = first if isinstance(first, str) else first["url"]
    found = _NAMED.match(url.partition("://")[2])
    return found["host"] if found is not None else ""


def _label(authority: str) -> str:
    """A name for the service of a plain address."""
    if authority.startswith("unix:"):
        return authority.rpartition("/")[2].removesuffix(".sock")
    found = _NAMED.fullmatch(authority)
    if found is None:
        return "service"
    host, port = found["host"].strip("[]"), found["port"]
    if re.fullmatch(r"[\d.:A-Fa-f]+", host) and (":" in host or host[0].isdigit()):
        return f"port-{port or 80}" if host in ("127.0.0.1", "::1") else f"{host}-{port}" if port else host
    return f"{host}-{port}" if host == "localhost" and port else host


def _tls(scope: Scope) -> dict[str, Any]:
    """How an https service is verified; nginx does not, unless it is told to."""
    tls: dict[str, Any] = {} if scope.is_on("proxy_ssl_verify") else {"verify": False}
    ca = scope.value("proxy_ssl_trusted_certificate")
    if ca and not tls and ca != _SYSTEM_AUTHORITIES:
        tls["ca"] = ca
    name = scope.value("proxy_ssl_name")
    if name and "$" not in name:
        tls["server_name"] = name
    certificate, key = scope.value("proxy_ssl_certificate"), scope.value("proxy_ssl_certificate_key")
    if certificate and key and "$" not in certificate + key:
        tls |= {"certificate": certificate, "key": key}
    return tls
