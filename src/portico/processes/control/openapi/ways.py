"""The routes of a configuration as the ways to its services' documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from portico.config import Config, ListenerSettings, ResolvedRoute
from portico.config.endpoints import TOKEN_PATHS
from portico.config.versions import HEADERS, PARAMETER, HeaderSource, QuerySource, VersionChoice
from portico.core.conditions import is_value_pattern
from portico.core.route_paths import literal_of
from portico.openapi import Document
from portico.openapi.objects import Object
from portico.openapi.ways import Part, Way
from portico.processes.control.openapi.addresses import Addresses
from portico.processes.control.openapi.schemes import Schemes

Key: TypeAlias = tuple[str, str | None]
"""A service, or a version of it that has a document of its own."""

LOCAL_PATHS: Final = ("/livez", "/readyz")
"""What workers answer themselves."""


def key_of(config: Config, service: str, version: str | None) -> Key:
    """Whose document it is that says what a version of a service has: the service's, where they share instances."""
    if version is None:
        return service, None
    own, whole = config.services[service].upstream(version), config.services[service].upstream()
    return (service, None) if own.shared and own.openapi == whole.openapi else (service, version)


def parts_for(
    config: Config,
    listener: ListenerSettings,
    documents: Mapping[Key, Document],
    about: Mapping[Key, Mapping[str, Any]],
) -> tuple[list[Part], dict[str, Object]]:
    """The parts of the merged document of one listener, and the gateway's own security schemes.

    `about` says what is known of each document, whether it is there or not.
    """
    return _Parts(config, listener, documents).parts(about)


class _Parts:
    def __init__(self, config: Config, listener: ListenerSettings, documents: Mapping[Key, Document]) -> None:
        self.config = config
        self.documents = documents
        self.routes = config.served_by(listener)
        endpoints = config.gateway.endpoints_of(listener)
        paths = (*endpoints.served(config.token_paths), *endpoints.page_files, *LOCAL_PATHS)
        own = {path: TOKEN_PATHS.get(path, ("GET", "HEAD")) for path in paths}
        self.schemes = Schemes(config, has_tokens="/auth/token" in own)
        self.addresses = Addresses(self.routes, own)

    def parts(self, about: Mapping[Key, Mapping[str, Any]]) -> tuple[list[Part], dict[str, Object]]:
        ways: dict[Key, list[Way]] = {}
        for route in self.routes:
            if route.service is not None and (key := key_of(self.config, route.service, route.version)) in about:
                ways.setdefault(key, []).extend(self._ways(route, self.documents.get(key)))
        order = [(name, version) for name, each in self.config.services.items() for version in (None, *each.versions)]
        parts = []
        for key in order:
            if key in ways:
                service, version = key
                name, label = (
                    (service, service) if version is None else (f"{service} {version}", f"{service}_{version}")
                )
                parts.append(Part(name, label, self.documents.get(key), tuple(ways[key]), about[key]))
        return parts, self.schemes.known

    def _ways(self, route: ResolvedRoute, document: Document | None) -> Iterator[Way]:
        service, version = str(route.service), route.version
        settings = self.config.services[service].versions.get(version) if version is not None else None
        sunset = settings.sunset if settings is not None else None
        if sunset is not None and not sunset.keep_serving and sunset.at <= datetime.now(UTC):
            return
        chosen = _chosen(route.choice, version)
        if chosen is None:
            return
        base = _base(document, route)

        @cache
        def public(path: str, method: str) -> str | None:
            below = self.addresses.public(route, base + path, method) if base else None
            return below or self.addresses.public(route, path, method)

        yield Way(
            route=route.name,
            label=f"{route.name}_{version or service}" if route.is_variant else route.name,
            tag=service if version is None else f"{service} {version}",
            public=public,
            servers=tuple(map(_server, route.hosts)),
            parameters=(*_conditions(route), *chosen),
            security=self.schemes.security(route),
            deprecated=settings is not None and settings.deprecated is not None,
        )


def _base(document: Document | None, route: ResolvedRoute) -> str:
    """The path of the document's server: part of the paths at the service, unless it is what the route takes off.

    FastAPI's `root_path` is where clients find a service, and it is not in the paths that the service gets.
    """
    servers = document.content.get("servers") if document is not None else None
    first = servers[0] if isinstance(servers, list) and servers else None
    url = first.get("url") if isinstance(first, dict) else None
    if not isinstance(first, dict) or not isinstance(url, str):
        return ""
    variables = first.get("variables")
    for name, variable in variables.items() if isinstance(variables, dict) else ():
        if isinstance(variable, dict):
            url = url.replace(f"{{{name}}}", str(variable.get("default", "")))
    try:
        path = urlsplit(url).path.rstrip("/")
    except ValueError:
        return ""
    prefix = literal_of(route.path).rstrip("/")
    is_taken_off = bool(prefix) and route.rewrite == "/{path}" and path.endswith(prefix)
    return path if path.startswith("/") and not is_taken_off else ""


# ---- what else a request needs on a route


def _server(host: str) -> Object:
    """Where a route is that holds for one host only."""
    if not host.startswith("*."):
        return {"url": f"//{host}"}
    return {"url": f"//{{name}}.{host[2:]}", "variables": {"name": {"default": "www"}}}


def _conditions(route: ResolvedRoute) -> Iterator[Object]:
    for place, conditions in (("header", route.headers), ("query", route.query)):
        for name, value in conditions.items():
            schema: Object = {"type": "string"}
            if value is not True and is_value_pattern(str(value)):
                mark, _, pattern = str(value).partition(" ")
                schema |= {"pattern": pattern} if mark == "~" else {}
            elif value is not True:
                schema["enum"] = [value]
            yield {"name": name, "in": place, "required": True, "schema": schema}


def _chosen(choice: VersionChoice | None, version: str | None) -> tuple[Object, ...] | None:
    """What names a version that is not the one of requests that name none; None where that cannot be described."""
    if choice is None or choice.default == version:
        return ()
    for source in choice.sources:
        match source:
            case "header":
                place, name = "header", HEADERS[0]
            case HeaderSource(header=name):
                place = "header"
            case "query":
                place, name = "query", PARAMETER
            case QuerySource(query=name):
                place = "query"
            case _:
                continue
        return ({"name": name, "in": place, "required": True, "schema": {"type": "string", "enum": [version]}},)
    return None
