"""Traefik's dynamic configuration, from a file in YAML or TOML, or from the labels of a Compose file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from portico.imports.located import Value, read_text, read_toml, read_yaml
from portico.imports.remarks import SourceError, Where

_DYNAMIC: Final = ("http", "tcp", "udp", "tls")
_STATIC: Final = ("entrypoints", "providers", "api", "certificatesresolvers", "log", "accesslog", "ping", "metrics")
_PORT: Final = re.compile(r".*:(\d{1,5})(?:/tcp)?")
_DOCKER: Final = re.compile(r"(?:--|traefik_)providers[._](?:docker|swarm)")
_DEFAULT: Final = re.compile(_DOCKER.pattern + r"[._]exposedbydefault(?:=(.*))?")
"""What Traefik is told of containers, by its command line or its environment, in small letters."""
_VARIABLE: Final = re.compile(r"\$(?:(\$)|\{(\w+)(?:(:?[-?+])([^}]*))?\}|(\w+))")


@dataclass(slots=True)
class Source:
    """What was read. `ports` has those of entry points that are known; `addresses` where containers are by name."""

    root: Value
    ports: dict[str, int] = field(default_factory=dict)
    remarks: list[tuple[Where, str, str]] = field(default_factory=list)
    """What is left, and why."""
    doubtful: dict[str, str] = field(default_factory=dict)
    """Routers of which it is not known whether Traefik serves them, and why."""


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
    found: list[tuple[str, Value, list[tuple[str, Value]]]] = []
    for name, container in containers.items():
        if not isinstance(container.raw, dict):
            raise container.wrong("a section")
        _entry_points(container, source)
        several = (container.get("labels"), container.get("deploy").get("labels"))
        found += [(name, container, labels) for each in several if (labels := list(_labels(each, variables)))]
    if not found:
        raise SourceError(root.get("services").where, "no service has labels of Traefik")
    is_exposed = _exposes_all(containers.values())
    some_say_so = any(_enabled(labels) for _, _, labels in found)
    for name, container, labels in found:
        enabled = _enabled(labels)
        if enabled is None and is_exposed is False:
            why = "exposedByDefault is false, and traefik.enable is not written"
            source.remarks.append((labels[0][1].where, f"container {name}", why))
        elif enabled is not False:
            doubtful = enabled is None and is_exposed is None and some_say_so
            _container(name, container, labels, tree, source, is_doubtful=doubtful)
    return source


def _exposes_all(containers: Iterable[Value]) -> bool | None:
    """What Traefik's own container says of those without `traefik.enable`; None where it is not in this file."""
    found: bool | None = None
    for container in containers:
        is_traefik = str(container.get("image").raw or "").rpartition("/")[2].startswith("traefik")
        for word in (*_words(container.get("command")), *_words(container.get("environment"))):
            said = _DEFAULT.fullmatch(word)
            if said:
                return said[1] in (None, "true", "1")
            if _DOCKER.match(word) or (is_traefik and word.startswith("--")):
                found = True  # the default of what is configured here, and nowhere else
    return found


def _words(value: Value) -> list[str]:
    """The words of a command, or the variables of an environment, in small letters."""
    if isinstance(value.raw, dict):
        return [f"{name}={each.text() if each.raw is not None else ''}".lower() for name, each in value.raw.items()]
    return value.text().split() if isinstance(value.raw, str) else [each.lower() for each in value.texts()]


def _enabled(labels: list[tuple[str, Value]]) -> bool | None:
    """What `traefik.enable` says; None where it is not there."""
    said = [value.text().lower() for key, value in labels if key.lower() == "traefik.enable"]
    return said[-1] in ("true", "1", "t") if said else None


def _dot_env(file: Path) -> dict[str, str]:
    """The variables that Compose finds beside its file."""
    if not file.is_file():
        return {}
    pairs = (line.partition("=") for line in read_text(file).split("\n") if not line.lstrip().startswith("#"))
    return {name.strip(): value.strip().strip("\"'") for name, mark, value in pairs if mark}


def _entry_points(container: Value, source: Source) -> None:
    """Ports that the command line of Traefik itself names."""
    for word in _words(container.get("command")):
        point = re.fullmatch(r"--entrypoints\.([\w-]+)\.address=.*?:(\d{1,5})(?:/tcp)?", word, re.IGNORECASE)
        if point:
            source.ports[point[1]] = int(point[2])


def _labels(labels: Value, variables: dict[str, str]) -> Iterator[tuple[str, Value]]:
    """Those of Traefik, in a mapping or in a list."""
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
    name: str,
    container: Value,
    labels: list[tuple[str, Value]],
    tree: dict[str, Any],
    source: Source,
    *,
    is_doubtful: bool,
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
        _address(name, container, service, source)
    routers = find(http, "routers")
    for own_name, router in routers.entries().items():
        if is_doubtful:
            source.doubtful[own_name] = "traefik.enable is not written, as it is for others: say whether it is served"
        if find(router, "service").raw is None and len(services.entries()) == 1:
            router.entries()["service"] = Value(router.file, router.line, "service", next(iter(services.entries())))
    _merge(tree, own)


def _insert(tree: dict[str, Any], parts: list[str], value: Value) -> None:
    """Put a label's value into the tree, at the keys between its dots; `servers[0]` is an item of a list."""
    for index, part in enumerate(parts):
        key: str = part
        if index > 2 and (numbered := re.fullmatch(r"(\w+)\[\d+\]", part)):
            _insert_item(tree, numbered[1], parts[index + 1 :], part, value)
            return
        own = next((name for name in tree if name.lower() == key.lower()), key) if index != 2 else key
        name = ".".join(parts[: index + 1])
        if index == len(parts) - 1:
            tree.setdefault(own, value)
            return
        inner = tree.get(own)
        if inner is None or not isinstance(inner.raw, dict):
            inner = tree[own] = Value(value.file, value.line, name, {})
        tree = inner.raw


def _insert_item(tree: dict[str, Any], key: str, rest: list[str], numbered: str, value: Value) -> None:
    """The same at an item of a list; the labels of one item follow one another."""
    own = next((name for name in tree if name.lower() == key.lower()), key)
    items = tree.setdefault(own, Value(value.file, value.line, own, []))
    if not isinstance(items.raw, list):
        raise items.wrong("a list")
    if not rest:
        items.raw.append(value)
        return
    item = next((each for each in items.raw if each.name == numbered and isinstance(each.raw, dict)), None)
    if item is None:
        item = Value(value.file, value.line, numbered, {})
        items.raw.append(item)
    inner: dict[str, Any] = item.raw
    for part in rest[:-1]:
        inner = inner.setdefault(part, Value(value.file, value.line, part, {})).raw
    inner.setdefault(rest[-1], value)


def _merge(tree: dict[str, Any], own: dict[str, Any]) -> None:
    for key, value in own.items():
        known = tree.get(key)
        if known is not None and isinstance(known.raw, dict) and isinstance(value.raw, dict):
            _merge(known.raw, value.raw)
        elif known is not None and key == "servers" and isinstance(known.raw, list) and isinstance(value.raw, list):
            known.raw.extend(value.raw)  # containers that share a service are its instances
        else:
            tree.setdefault(key, value)


def _address(name: str, container: Value, service: Value, source: Source) -> None:
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
    if not port and not text(server, "url") and find(balancer, "servers").raw is None:
        why = "the port that its image exposes is not in this file: 80 is written"
        source.remarks.append((service.where, f"container {name}", why))
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
