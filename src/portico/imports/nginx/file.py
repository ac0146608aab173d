"""From nginx.conf to a draft of a portico.yaml."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from portico.imports.draft import Draft
from portico.imports.nginx.ledger import Ledger
from portico.imports.nginx.listeners import ANY, Listener, Server, listeners_of, read_servers, tls_of
from portico.imports.nginx.policies import Policies, body_size, zones_of
from portico.imports.nginx.rendered import Rendered, comments_of, is_rendered
from portico.imports.nginx.scope import Level, Scope
from portico.imports.nginx.servers import Hosts, Reader, Site, leaks
from portico.imports.nginx.settings import gateway_settings
from portico.imports.nginx.syntax import Directive, read_file
from portico.imports.nginx.tidy import tidied
from portico.imports.nginx.upstreams import Services
from portico.imports.nginx.variables import Choice, choices_of
from portico.imports.remarks import SourceError, Where

Choices = Mapping[str, Choice]


def import_nginx(file: Path, *, prefix: Path | None = None) -> Draft:
    """Read nginx's configuration, and what it includes. Raises SourceError for what nginx would not read either."""
    draft = Draft(str(file), "nginx")
    top = read_file(file, prefix)
    https = [each for each in top if each.name == "http" and each.block is not None]
    if len(https) > 1:
        raise SourceError(https[1].where, "there is an http block before this one already")
    if not https:
        https = [_bare(file, top)]
    ledger = Ledger(draft)
    _http(draft, ledger, file, top, https[0], (prefix or file.parent).absolute())
    ledger.close(top)
    return draft


def _bare(file: Path, top: Sequence[Directive]) -> Directive:
    """A file that is included in an `http` block, such as those in sites-enabled."""
    if not any(each.name in ("server", "upstream") and each.block is not None for each in top):
        raise SourceError(Where(str(file), 1), "there is no http block in it, and no server")
    return Directive("http", (), Where(str(file)), [*top])


def _http(draft: Draft, ledger: Ledger, file: Path, top: Sequence[Directive], http: Directive, root: Path) -> None:
    scope = Scope((Level(top), Level(http.block or ())))
    services = Services(draft, ledger, {each.value: each for each in http.all("upstream") if each.block is not None})
    servers = read_servers(ledger, http, scope)
    listeners = listeners_of(ledger, servers)
    policies = Policies(ledger, zones_of(http))
    choices = choices_of(http)
    gateway_settings(draft, ledger, scope)
    reader = Reader(draft, ledger, services, policies, choices, root, body_size(scope))
    if is_rendered(file):
        _rendered(file, http, reader, servers, listeners)
    else:
        is_one = len(servers) == 1
        defaults = {listener.default for listener in listeners}
        for server in sorted(servers, key=lambda server: _breadth(server, defaults)):
            _server(reader, server, listeners, "" if is_one else server.tag)
        for listener in listeners if not is_one else ():
            listener.routes = [f"{server.tag}-*" for server in listener.servers]
    _listen(draft, ledger, listeners, choices)
    for name, block in services.blocks.items():
        if not ledger.is_known(block):
            ledger.left(block, f"no location passes anything on to {name}")
    tidied(draft)


def _breadth(server: Server, defaults: Collection[Server | None]) -> tuple[int, int]:
    """How many hosts a server may be for: names, names below one, those of a pattern, and any."""
    wildcards = [len(host) for host in server.hosts if host.startswith("*.")]
    if server in defaults:
        return 3, 0
    if server.expressions:
        return 2, 0
    return (1, -min(wildcards)) if wildcards else (0, 0)


def _rendered(
    file: Path, http: Directive, reader: Reader, servers: Sequence[Server], listeners: Sequence[Listener]
) -> None:
    """The routes of a file that Portico has written."""
    comments = comments_of(file)
    for name, block in reader.services.blocks.items():
        title = re.match(r"service ([\w.-]+)(?:, version ([\w.-]+))?", comments.get((block.where.line or 0) - 2, ""))
        if title is not None:
            reader.services.names[name] = "-".join(filter(None, title.groups()))
    found = []
    for server in servers:
        mine = [each for each in listeners if server in each.servers]
        is_default = any(each.default is server for each in mine)
        hosts = Hosts() if is_default else Hosts(tuple(server.hosts), tuple(server.expressions))
        found.append((server, hosts, "https" if any(each.is_tls for each in mine) else "http"))
        reader.ledger.taken(server.directive)
    rendered = Rendered(reader.draft, reader.ledger, reader, comments, http.block or ())
    rendered.servers(found)
    for listener in listeners:
        listener.routes = rendered.names_on(listener.servers)


def _server(reader: Reader, server: Server, listeners: Sequence[Listener], tag: str) -> None:
    """The routes of a server on all of its listeners."""
    mine = [each for each in listeners if server in each.servers]
    if not mine:
        reader.ledger.left(server.directive, "it listens nowhere that Portico can listen")
        return
    reader.ledger.taken(server.directive)
    schemes = {"https" if each.is_tls else "http" for each in mine}
    scheme = next(iter(schemes)) if len(schemes) == 1 else None
    is_default = any(each.default is server for each in mine)
    alone = all(len(each.servers) == 1 for each in mine)
    neighbours = [other for each in mine for other in each.servers if other is not server]
    for hosts in _hosts(server, is_default, alone, neighbours):
        wider = [
            other for each in mine for other in each.servers if other is not server and _is_wider(other, each, hosts)
        ]
        in_patterns, exact = leaks(wider)
        reader.routes(Site.of(server, hosts, scheme, tag), in_patterns=in_patterns, others_exact=exact)


def _hosts(server: Server, is_default: bool, alone: bool, neighbours: Sequence[Server]) -> Iterator[Hosts]:
    if not alone and (server.hosts or server.expressions) and (not is_default or _is_covered(server, neighbours)):
        yield Hosts(tuple(server.hosts), tuple(server.expressions))
    if is_default or alone:
        yield Hosts()


def _is_covered(server: Server, others: Sequence[Server]) -> bool:
    """Whether a wildcard or a pattern of another server takes hosts of this one, if it does not name them."""
    wildcards = [host[1:] for other in others for host in other.hosts if host.startswith("*.")]
    return bool(any(other.expressions for other in others)) or any(
        host.endswith(end) for host in server.hosts for end in wildcards
    )


def _is_wider(other: Server, listener: Listener, hosts: Hosts) -> bool:
    """Whether routes of another server would take requests for these hosts, where they have none of their own."""
    if not hosts.names and not hosts.expressions:
        return bool(other.expressions) and False
    if listener.default is other or other.expressions:
        return True
    wildcards = [host for host in other.hosts if host.startswith("*.")]
    return any(name != each and name.removeprefix("*").endswith(each[1:]) for name in hosts.names for each in wildcards)


def _listen(draft: Draft, ledger: Ledger, listeners: Sequence[Listener], choices: Choices) -> None:
    """Where the gateway listens."""
    head: dict[str, Any] = {}
    if len(listeners) == 1:
        head = _one(ledger, listeners[0], choices)
    elif listeners:
        head = {"listen": [*_several(ledger, listeners, choices)]}
    draft.gateway.data = {**head, **draft.gateway.data}


def _one(ledger: Ledger, listener: Listener, choices: Choices) -> dict[str, Any]:
    data: dict[str, Any] = {}
    if listener.host != ANY:
        data["host"] = listener.host
    data["port"] = listener.port
    if listener.is_tls and (tls := tls_of(ledger, listener, choices)) is not None:
        data["tls"] = tls
    if listener.is_proxy_protocol:
        data["proxy_protocol"] = True
    return data


def _several(ledger: Ledger, listeners: Sequence[Listener], choices: Choices) -> Iterator[dict[str, Any]]:
    names: set[str] = set()
    for listener in listeners:
        name = f"{'https' if listener.is_tls else 'http'}-{listener.port}"
        if name in names:
            name = re.sub(r"[^A-Za-z0-9.-]+", "-", f"{name}-{listener.host}").strip("-")
        names.add(name)
        data = {"name": name, **_one(ledger, listener, choices)}
        if listener.routes is not None:
            data["routes"] = listener.routes
        yield data
