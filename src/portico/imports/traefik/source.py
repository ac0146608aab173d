"""Traefik's dynamic configuration, from a file in YAML or TOML, or from the labels of a Compose file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from portico.imports.located import Value, read_text, read_toml, read_yaml
from portico.imports.remarks import SourceError, Where

_DYNAMIC: Final = ("http", "tcp", "udp", "tls")
_STATIC: Final = ("entrypoints", "providers", "api", "certificatesresolvers", "log", "accesslog", "ping", "metrics")
_PORT: Final = re.compile(r".*:(\d{1,5})(?:/tcp)?")
_VARIABLE: Final = re.compile(r"\$(?:(\$)|\{(\w+)(?:(:?[-?+])([^}]*))?\}|(\w+))")


@dataclass(slots=True)
class Source:
    """What was read. `ports` has those of entry points that are known; `addresses` where containers are by name."""

    root: Value
    ports: dict[str, int] = field(default_factory=dict)
    remarks: list[tuple[Where, str, str]] = field(default_factory=list)
    """What is left, and why."""


def find(value: Value, *path: str) -> Value:
    """The value at some keys, whose case does not count."""
    for key in path:
        entries = value.entries()
        own = next((name for name in entries if name.lower() == key.lower()), None)
        value = entries[own] if own is not None else Value(value.file, value.line, f"{value.name}.{key}", None)
    return value


def text(value: Value, *path: str, default: str = "") -> str:
    """The text at some keys, or the default."""
    found = find(value, *path)
    return default if found.raw is None else found.text()


def flag(value: Value, *path: str, default: bool = False) -> bool:
    """The truth value at some keys, or the default."""
    found = find(value, *path)
    return default if found.raw is None else found.flag()


def texts(value: Value, *path: str) -> list[str]:
    """The texts of a list, which labels write with commas between."""
    found = find(value, *path)
    if isinstance(found.raw, str):
        return [part.strip() for part in found.raw.split(",") if part.strip()]
    return found.texts()


def seconds(value: Value, *path: str) -> float | None:
    """A duration of Go's, such as `1m30s`; a number alone counts seconds. None where nothing is written."""
    found = find(value, *path)
    if found.raw is None:
        return None
    written = found.text()
    if re.fullmatch(r"\d{1,9}(\.\d{1,6})?", written):
        return float(written)
    parts = re.findall(r"(\d{1,9}(?:\.\d{1,9})?)(h|ms|us|µs|ns|m|s)", written)
    if not parts or "".join(number + unit for number, unit in parts) != written:
        raise found.wrong("a duration, such as 30s")
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
    return sum(float(number) * units[unit] for number, unit in parts)


def read_source(file: Path) -> Source:
    """Read a file. Raises SourceError."""
    if file.suffix.lower() == ".toml":
        return _of_file(read_toml(file))
    written = read_text(file)
    try:
        root = read_yaml(file, written)
    except SourceError as error:
        if "{{" in written:
            message = f"{error.message}; templates ({{{{ … }}}}) are not evaluated: give the file that comes of them"
            raise SourceError(error.where, message) from None
        raise
    if not isinstance(root.raw, dict):
        raise SourceError(root.where, "no configuration of Traefik: expected keys and values")
    services = root.raw.get("services")
    if services is not None and "http" not in root.raw:
        return _of_compose(file, root)
    return _of_file(root)


def _of_file(root: Value) -> Source:
    keys = {key.lower() for key in root.entries()}
    if not keys & set(_DYNAMIC):
        if keys & set(_STATIC):
            message = "the static configuration has no routers: give the file that providers.file names"
            raise SourceError(root.where, message)
        message = "no dynamic configuration of Traefik: expected http, with routers and services"
        if "apiversion" in keys:
            message = "resources of Kubernetes are not read: write their routers into a file with http"
        raise SourceError(root.where, message)
    source = Source(root)
    for name, point in find(root, "entryPoints").entries().items():
        if found := _PORT.fullmatch(text(point, "address")):
            source.ports[name] = int(found[1])
    for key, value in root.entries().items():
        if key.lower() not in (*_DYNAMIC, "entrypoints") and value.raw:
            source.remarks.append((value.where, key, "the static configuration has no counterpart here"))
    return source


# ---- Compose


def _of_compose(file: Path, root: Value) -> Source:
    variables = _dot_env(file.parent / ".env")
    tree: dict[str, Any] = {}
    source = Source(Value(root.file, root.line, "", tree))
    containers = root.get("services").entries()
    found = 0
    for name, container in containers.items():
        if not isinstance(container.raw, dict):
            raise container.wrong("a section")
        _entry_points(container, source)
        labels = list(_labels(container, variables))
        if not labels or any(key.lower() == "traefik.enable" and value.text() == "false" for key, value in labels):
            continue
        found += 1
        _container(name, container, labels, tree, source)
    if not found:
        raise SourceError(root.get("services").where, "no service has labels of Traefik")
    return source


def _dot_env(file: Path) -> dict[str, str]:
    """The variables that Compose finds beside its file."""
    if not file.is_file():
        return {}
    pairs = (line.partition("=") for line in read_text(file).split("\n") if not line.lstrip().startswith("#"))
    return {name.strip(): value.strip().strip("\"'") for name, mark, value in pairs if mark}


def _entry_points(container: Value, source: Source) -> None:
    """Ports that the command line of Traefik itself names."""
    command = container.get("command")
    words = command.text().split() if isinstance(command.raw, str) else command.texts()
    for word in words:
        point = re.fullmatch(r"--entrypoints\.([\w-]+)\.address=.*?:(\d{1,5})(?:/tcp)?", word, re.IGNORECASE)
        if point:
            source.ports[point[1]] = int(point[2])


def _labels(container: Value, variables: dict[str, str]) -> Iterator[tuple[str, Value]]:
    found = container.get("labels")
    deployed = container.get("deploy").get("labels")
    for labels in (found, deployed):
        if isinstance(labels.raw, dict):
            pairs = [(key, value, "" if value.raw is None else value.text()) for key, value in labels.raw.items()]
        else:
            pairs = []
            for item in labels.items():
                key, _, written = item.text().partition("=")
                pairs.append((key, item, written))
        for key, item, written in pairs:
            if not key.lower().startswith("traefik."):
                continue
            value, unknown = _interpolated(written, variables)
            name, unknown_name = _interpolated(key, variables)
            if unknown or unknown_name:
                why = "write it into .env, or import what docker compose config prints"
                raise SourceError(item.where, f"{key}: {unknown or unknown_name} is not set: {why}")
            yield name, Value(item.file, item.line, key, value)


def _interpolated(written: str, variables: dict[str, str]) -> tuple[str, str]:
    """A text with Compose's variables in their places, and the name of one that has no value."""
    unknown = ""

    def value(found: re.Match[str]) -> str:
        nonlocal unknown
        if found[1]:
            return "$"
        name = found[2] or found[5]
        if name in variables:
            return variables[name]
        if found[3] in (":-", "-"):
            return found[4] or ""
        unknown = name
        return ""

    return _VARIABLE.sub(value, written), unknown


def _container(
    name: str, container: Value, labels: list[tuple[str, Value]], tree: dict[str, Any], source: Source
) -> None:
    """The routers, services and middlewares that a container's labels describe."""
    own: dict[str, Any] = {}
    for key, value in labels:
        parts = key.split(".")[1:]
        if not parts or parts[0].lower() not in _DYNAMIC:
            if parts and parts[0].lower() not in ("enable", "docker", "swarm"):
                source.remarks.append((value.where, key, "there is no such label"))
            continue
        _insert(own, parts, value)
    http = own.get("http")
    if http is None:
        for part in own.values():
            source.remarks.append((part.where, f"labels of {name}", "only http is proxied"))
        return
    if not isinstance(http.raw, dict):
        raise http.wrong("a section")
    services = http.raw.setdefault("services", Value(http.file, http.line, "http.services", {}))
    if not services.entries():
        services.raw[name] = Value(services.file, services.line, f"http.services.{name}", {})
    for service in services.entries().values():
        _address(name, container, service)
    routers = find(http, "routers")
    for router in routers.entries().values():
        if find(router, "service").raw is None and len(services.entries()) == 1:
            router.entries()["service"] = Value(router.file, router.line, "service", next(iter(services.entries())))
    _merge(tree, own)


def _insert(tree: dict[str, Any], parts: list[str], value: Value) -> None:
    """Put a label's value into the tree, at the keys between its dots; `servers[0]` is an item of a list."""
    for index, part in enumerate(parts):
        key: str = part
        own = next((name for name in tree if name.lower() == key.lower()), key) if index != 2 else key
        name = ".".join(parts[: index + 1])
        if index == len(parts) - 1:
            tree.setdefault(own, value)
            return
        inner = tree.get(own)
        if inner is None or not isinstance(inner.raw, dict):
            inner = tree[own] = Value(value.file, value.line, name, {})
        tree = inner.raw


def _merge(tree: dict[str, Any], own: dict[str, Any]) -> None:
    for key, value in own.items():
        known = tree.get(key)
        if known is not None and isinstance(known.raw, dict) and isinstance(value.raw, dict):
            _merge(known.raw, value.raw)
        else:
            tree.setdefault(key, value)


def _address(name: str, container: Value, service: Value) -> None:
    """Give a service of a container the address of that, unless it is one of another kind."""
    if not isinstance(service.raw, dict):
        raise service.wrong("a section")
    if any(key.lower() in ("weighted", "mirroring", "failover") for key in service.raw):
        return
    balancer = find(service, "loadBalancer")
    if not isinstance(balancer.raw, dict):
        balancer = Value(service.file, service.line, f"{service.name}.loadBalancer", {})
        service.raw["loadBalancer"] = balancer
    server = find(balancer, "server")
    port = text(server, "port") or _port_of(container)
    scheme = text(server, "scheme", default="http")
    url = text(server, "url") or f"{scheme}://{name}" + (f":{port}" if port else "")
    for key in [key for key in balancer.raw if key.lower() == "server"]:
        del balancer.raw[key]
    if find(balancer, "servers").raw is None:
        entry = Value(server.file, server.line, "url", url)
        balancer.raw["servers"] = Value(
            server.file, server.line, "servers", [Value(server.file, server.line, "server", {"url": entry})]
        )


def _port_of(container: Value) -> str:
    """The lowest port that a container is said to have."""
    ports = []
    for key in ("expose", "ports"):
        for item in container.get(key).items():
            written = str(item.raw.get("target", item).raw) if isinstance(item.raw, dict) else item.text()
            if found := re.fullmatch(r"(?:.*:)?(\d{1,5})(?:/tcp)?", written):
                ports.append(int(found[1]))
    return str(min(ports)) if ports else ""
