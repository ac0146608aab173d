"""Which services' OpenAPI documents policies read, and whether they say what those ask of them."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import TypeAlias

from portico.config.model import Config
from portico.config.openapi import OpenApiSettings
from portico.config.problems import Finding, KeyPath, nearest
from portico.config.resolve import ResolvedRoute, scope_path
from portico.core.slices import at_once
from portico.openapi import DocumentError, read_document
from portico.openapi.operations import Operations, operations_of
from portico.policies.authorize import AuthorizeSettings
from portico.policies.validate import ValidateSettings

Key: TypeAlias = tuple[str, str | None]
"""A service, and the version of it that a route leads to, or None for the service itself."""


def documents_wanted(config: Config) -> frozenset[Key]:
    """The services, and versions of them, whose documents policies of routes read."""
    return frozenset(key for route in config.all_routes if any(_reading(route)) and (key := _key(route)))


def documents_of_files(config: Config) -> dict[Key, bytes]:
    """Those of them that are in files of the configuration, as JSON."""
    files = {key: _file(config, key) for key in documents_wanted(config)}
    return {key: file for key, file in files.items() if file is not None}


def document_findings(config: Config) -> Iterator[Finding]:
    """What is wrong with what policies ask of documents: there is none, or it has not the operations that they name."""
    read: dict[Key, Operations | None] = {}
    seen: set[tuple[KeyPath, Key]] = set()
    for route in config.all_routes:
        key = _key(route)
        for path in _reading(route):
            if key is None or (path, key) in seen:
                continue
            seen.add((path, key))
            settings = _settings(config, key)
            if path[-1] == "validate" and find_spec("jsonschema_rs") is None:
                message = "needs jsonschema-rs: pip install 'portico-gateway[validation]'"
                yield Finding(path, message, at_key=True)
            if settings is None:
                message = f"needs the OpenAPI document of {_shown(key)}, which is off: write where it is"
                yield Finding(path, message, at_key=True)
            elif settings.file is not None:
                if key not in read:
                    try:
                        read[key] = at_once(operations_of(read_document(_file(config, key) or b"")))
                    except DocumentError as error:
                        read[key] = None
                        yield Finding((*path, "openapi"), f"{settings.file}: {error}", at_key=True)
                yield from _unknown_operations(route, path, read[key], str(settings.file))


def open_documents(config: Config) -> Iterator[Finding]:
    """Documents of files whose `security` is to be needed, and that have none."""
    seen: set[tuple[KeyPath, Key]] = set()
    for route in config.all_routes:
        authorize, scope = route.policies.get("authorize", (None, ""))
        key, path = _key(route), (*scope_path(route, scope), "authorize", "openapi")
        if not isinstance(authorize, AuthorizeSettings) or not authorize.openapi or key is None or (path, key) in seen:
            continue
        seen.add((path, key))
        text = _file(config, key)
        if text is not None and not at_once(operations_of(read_document(text))).declare_security:
            yield Finding(path, f"the document of {_shown(key)} declares no security: nothing is asked for")


def _reading(route: ResolvedRoute) -> Iterator[KeyPath]:
    """Where the policies of a route are written that read the document of its service."""
    authorize, scope = route.policies.get("authorize", (None, ""))
    if isinstance(authorize, AuthorizeSettings) and authorize.reads_document:
        yield (*scope_path(route, scope), "authorize")
    validate, scope = route.policies.get("validate", (None, ""))
    if isinstance(validate, ValidateSettings) and validate.request:
        yield (*scope_path(route, scope), "validate")


def _unknown_operations(
    route: ResolvedRoute, path: KeyPath, operations: Operations | None, file: str
) -> Iterator[Finding]:
    settings = route.policies[str(path[-1])][0]
    if operations is None or not isinstance(settings, AuthorizeSettings):
        return
    for name in settings.operations:
        if not operations.named(name):
            message = f'{file} has no operation "{name}"'
            yield Finding((*path, "operations", name), message, nearest(name, operations.names), at_key=True)


def _key(route: ResolvedRoute) -> Key | None:
    return None if route.service is None else (route.service, route.version)


def _shown(key: Key) -> str:
    service, version = key
    return f"the service {service}" if version is None else f"version {version} of the service {service}"


def _settings(config: Config, key: Key) -> OpenApiSettings | None:
    return config.services[key[0]].upstream(key[1]).openapi


def _file(config: Config, key: Key) -> bytes | None:
    settings = _settings(config, key)
    if settings is None or settings.file is None:
        return None
    return config.documents.get(settings.file)
