"""Where servers listen, as the gateway's listeners; and which of them is asked for hosts that none names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from portico.core.hosts import host_name
from portico.imports.nginx.ledger import Ledger
from portico.imports.nginx.narrowing import host_expression
from portico.imports.nginx.scope import Scope
from portico.imports.nginx.syntax import Directive
from portico.imports.nginx.variables import Choice, literal

_ADDRESS: Final = re.compile(
    r"(?:(?P<host>\[[0-9A-Fa-f:.]+\]|\*|[A-Za-z0-9._-]+):)?(?P<port>\d{1,5})|(?P<alone>\[[0-9A-Fa-f:.]+\]|\*|[A-Za-z0-9._-]+)"
)
ANY: Final = "0.0.0.0"  # noqa: S104
_HARMLESS: Final = (
    "reuseport",
    "deferred",
    "bind",
    "default",
    "default_server",
    "ssl",
    "proxy_protocol",
    "http2",
    "spdy",
)
_HARMLESS_OPTIONS: Final = (
    "backlog",
    "rcvbuf",
    "sndbuf",
    "setfib",
    "fastopen",
    "so_keepalive",
    "accept_filter",
    "ipv6only",
)


@dataclass(slots=True, eq=False)
class Server:
    """A `server` block; `tag` begins the names of its routes."""

    directive: Directive
    scope: Scope
    tag: str = ""
    hosts: list[str] = field(default_factory=list)
    """Names and `*.` names."""
    expressions: list[str] = field(default_factory=list)
    """Patterns of the Host field, in their order."""
    sockets: dict[tuple[str, int], bool] = field(default_factory=dict)
    """Address and port of each `listen`, and whether it says `default_server`."""
    is_tls: set[tuple[str, int]] = field(default_factory=set)

    @property
    def name(self) -> str:
        """The first of its names, or nothing."""
        return self.hosts[0] if self.hosts else ""


@dataclass(slots=True, eq=False)
class Listener:
    """An address and port with its servers in the order of the file; the first that says so, or the first, is the
    default one."""

    host: str
    port: int
    servers: list[Server] = field(default_factory=list)
    is_tls: bool = False
    is_proxy_protocol: bool = False
    default: Server | None = None
    routes: list[str] | None = None
    """The names of its routes, with `*`; None for all of them."""


def read_servers(ledger: Ledger, http: Directive, scope: Scope) -> list[Server]:
    """All `server` blocks."""
    servers = []
    for each in http.all("server"):
        if each.block is None:
            continue
        server = Server(each, scope.inside(each.block))
        _names(ledger, server)
        _sockets(ledger, server)
        servers.append(server)
    tags: set[str] = set()
    for server in servers:
        server.tag = _tag(server, tags)
        tags.add(server.tag)
    return servers


def _tag(server: Server, taken: set[str]) -> str:
    name = server.name.removeprefix("*.") or ("default" if not server.expressions else "hosts")
    labels = name.split(".")
    first = labels[0] if not name[:1].isdigit() and labels[0] else name
    base = re.sub(r"[^A-Za-z0-9]+", "_", first).strip("_") or "server"
    candidates = [base, re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")[:60] or base]
    tag = next((each for each in candidates if each not in taken), "")
    number = 2
    while not tag:
        if f"{base}{number}" not in taken:
            tag = f"{base}{number}"
        number += 1
    return tag


def _names(ledger: Ledger, server: Server) -> None:
    for each in server.directive.all("server_name"):
        ledger.taken(each)
        for name in each.args:
            if not _name(server, name.lower()):
                ledger.left(each, f"no route can ask for the host {name}")


def _name(server: Server, name: str) -> bool:
    if name in ("", "_", "$hostname", "localhost_only") or name.startswith("_"):
        return True
    if name.startswith("~"):
        expression = re.sub(r"\(\?P?<\w+>", "(", name[1:])
        server.expressions.append(f"~* {host_expression(expression)}")
        return True
    if name.endswith(".*"):
        beginning = re.sub(r"[.\[\](){}*+?^$|\\]", r"\\\g<0>", name[:-2].removeprefix("*."))
        start = r"^(.+\.)?" if name.startswith("*.") else "^"
        server.expressions.append(rf"~* {start}{beginning}\.[^:]+(:[0-9]+)?$")
        return True
    names = [name[1:], f"*{name}"] if name.startswith(".") else [name]
    for each in names:
        try:
            server.hosts.append(host_name(each, wildcard=True))
        except ValueError:
            return False
    return True


def _sockets(ledger: Ledger, server: Server) -> None:
    lines = server.directive.all("listen")
    old = server.scope.one("ssl")
    for each in lines:
        if each.value.startswith("unix:"):
            ledger.left(each, "Portico listens on addresses alone")
            continue
        found = _ADDRESS.fullmatch(each.value)
        port = int(found["port"] or 80) if found is not None else 65536
        if found is None or port > 65535:
            ledger.left(each, "this is no address and port")
            continue
        host = (found["host"] or found["alone"] or "*").strip("[]")
        socket = ({"*": ANY, "localhost": "127.0.0.1"}.get(host, host), port)
        words = {*each.args[1:]}
        server.sockets[socket] = bool(words & {"default_server", "default"})
        if "ssl" in words or (old is not None and old.value == "on"):
            server.is_tls.add(socket)
        _options(ledger, each)
    if not lines:
        server.sockets[ANY, 80] = False


def _options(ledger: Ledger, directive: Directive) -> None:
    unknown = [
        word for word in directive.args[1:] if word not in _HARMLESS and word.partition("=")[0] not in _HARMLESS_OPTIONS
    ]
    if unknown:
        ledger.left(
            directive,
            f"{unknown[0]}: Portico speaks HTTP/1.1" if unknown[0] == "quic" else f"{unknown[0]} has no counterpart",
        )
    elif "http2" in directive.args:
        ledger.changed(directive, "clients are spoken to in HTTP/1.1")
    else:
        ledger.taken(directive)


def listeners_of(ledger: Ledger, servers: list[Server]) -> list[Listener]:
    """The addresses on which they listen; `[::]:80` beside `80` of the same servers is one that takes both."""
    found: dict[tuple[str, int], Listener] = {}
    for server in servers:
        for socket, is_default in server.sockets.items():
            listener = found.setdefault(socket, Listener(*socket))
            if server not in listener.servers:
                listener.servers.append(server)
            if is_default and listener.default is None:
                listener.default = server
            listener.is_tls = listener.is_tls or socket in server.is_tls
            for each in server.directive.all("listen"):
                if "proxy_protocol" in each.args[1:]:
                    listener.is_proxy_protocol = True
    for (host, port), listener in [*found.items()]:
        other = found.get((ANY, port))
        if host == "::" and other is not None and other.servers == listener.servers:
            other.host = "::"
            del found[host, port]
    for listener in found.values():
        listener.default = listener.default or listener.servers[0]
    return [*_by_port(ledger, found)]


def _by_port(ledger: Ledger, found: Mapping[tuple[str, int], Listener]) -> Iterator[Listener]:
    """Those of one port as one, where one of them is for all addresses: Portico cannot listen on others beside it."""
    ports: dict[int, list[Listener]] = {}
    for listener in found.values():
        ports.setdefault(listener.port, []).append(listener)
    for several in ports.values():
        everywhere = [each for each in several if each.host in (ANY, "::")]
        if len(several) == 1 or not everywhere:
            yield from several
            continue
        first = everywhere[0]
        first.host = "::" if any(each.host == "::" for each in several) else ANY
        for other in several:
            first.servers += [server for server in other.servers if server not in first.servers]
            first.is_tls = first.is_tls or other.is_tls
            if other is not first:
                line = other.servers[0].directive.last("listen") or other.servers[0].directive
                ledger.changed(line, "all addresses of a port have the same servers")
        yield first


def _by_name(certificate: str, key: str, choices: Mapping[str, Choice]) -> list[dict[str, str]] | None:
    """The pairs of certificates that maps choose by the name that a client asks for, the default one first."""
    first, second = choices.get(certificate.removeprefix("$")), choices.get(key.removeprefix("$"))
    if first is None or second is None or [each[0] for each in first.entries] != [each[0] for each in second.entries]:
        return None
    values = [(first.default, second.default)]
    values += [(one[1], other[1]) for one, other in zip(first.entries, second.entries, strict=True)]
    names = [(literal(one), literal(other)) for one, other in values]
    return [{"certificate": one, "key": other} for one, other in dict.fromkeys(names) if one and other]


def tls_of(ledger: Ledger, listener: Listener, choices: Mapping[str, Choice]) -> dict[str, Any] | None:
    """The certificates of a listener, that of its default server first."""
    servers = sorted(listener.servers, key=lambda server: server is not listener.default)
    pairs = [pair for server in servers for pair in _pairs(ledger, server.scope, choices)]
    if not pairs:
        return None
    tls: dict[str, Any] = dict(pairs[0])
    if others := [pair for index, pair in enumerate(pairs) if index and pair not in pairs[:index]]:
        tls["certificates"] = others
    return tls | _versions(ledger, servers[0].scope) | _clients(ledger, servers[0].scope)


def _pairs(ledger: Ledger, scope: Scope, choices: Mapping[str, Choice]) -> Iterator[dict[str, str]]:
    for certificate, key in zip(scope.all("ssl_certificate"), scope.all("ssl_certificate_key"), strict=False):
        several = _by_name(certificate.value, key.value, choices)
        if several is None and ("$" in certificate.value or re.match("data:|engine:|store:", key.value)):
            ledger.left(certificate, "a certificate is a file with a name of its own")
            continue
        ledger.taken(certificate, key)
        yield from several or [{"certificate": certificate.value, "key": key.value}]


def _versions(ledger: Ledger, scope: Scope) -> dict[str, Any]:
    protocols = scope.one("ssl_protocols")
    if protocols is None:
        return {}
    ledger.taken(protocols)
    if {*protocols.args} & {"SSLv2", "SSLv3", "TLSv1", "TLSv1.1"}:
        ledger.changed(protocols, "TLS 1.2 is the oldest that is spoken")
    return {"min_version": "1.3"} if {*protocols.args} == {"TLSv1.3"} else {}


def _clients(ledger: Ledger, scope: Scope) -> dict[str, Any]:
    """Certificates of clients."""
    verify, authorities = scope.one("ssl_verify_client"), scope.one("ssl_client_certificate")
    if verify is None or verify.value not in ("on", "optional") or authorities is None:
        return {}
    ledger.taken(verify, authorities)
    required = {} if verify.value == "on" else {"required": False}
    return {"client_certificates": {"ca": authorities.value, **required}}
