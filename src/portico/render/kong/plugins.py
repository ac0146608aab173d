"""Policies as Kong's plugins."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from portico.config import Config, ResolvedRoute
from portico.config.problems import KeyPath
from portico.policies.cache import CacheSettings
from portico.policies.cors import OWN_FIELDS, CorsSettings
from portico.policies.headers import FieldEdits, HeadersSettings
from portico.policies.rate_limit import ByHeader, RateLimit
from portico.render.expressions import literal
from portico.render.kong.auth import Credentials
from portico.render.losses import Losses
from portico.render.policies import SECURITY, filled, policy_path

_METHODS: Final = ("GET", "HEAD", "PUT", "PATCH", "POST", "DELETE", "OPTIONS", "TRACE", "CONNECT")
_PERIODS: Final = ("minute", "hour", "day", "month")
_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Entry:
    """The configuration of a plugin."""

    config: dict[str, Any]
    is_everywhere: bool = False
    """Whether Portico has it for its own endpoints as well."""
    counts_at: tuple[KeyPath, ...] = ()
    """Where the limits are written that it counts."""


@dataclass(slots=True)
class Plugins:
    """Those of a route, of a service, or of all, by their names."""

    entries: dict[str, Entry] = field(default_factory=dict)

    def set(
        self, name: str, config: dict[str, Any], *, everywhere: bool = False, counts_at: tuple[KeyPath, ...] = ()
    ) -> None:
        self.entries[name] = Entry(config, everywhere, counts_at)

    def rewrite(self, uri: str) -> None:
        """What becomes of the path, beside what becomes of fields."""
        known = self.entries.get("request-transformer", Entry({})).config
        self.set("request-transformer", {**known, "replace": {"uri": uri, **known.get("replace", {})}})

    def add_field(self, name: str, value: str) -> None:
        """A field of what the gateway itself answers."""
        known = self.entries.get("response-transformer", Entry({})).config
        added = known.get("add", {}).get("headers", [])
        self.set("response-transformer", {**known, "add": {"headers": [*added, f"{name}:{value}"]}})

    def copy(self) -> Plugins:
        return Plugins(dict(self.entries))

    def update(self, others: Plugins) -> None:
        self.entries |= others.entries

    def drop(self, others: Plugins) -> None:
        """Leave out what holds anyway."""
        self.entries = {name: each for name, each in self.entries.items() if others.entries.get(name) != each}

    def written(self) -> list[dict[str, Any]]:
        return [{"name": name, "config": entry.config} for name, entry in self.entries.items()]


def plugins_of(config: Config, losses: Losses, route: ResolvedRoute, credentials: Credentials) -> Plugins:
    """Those of a route that is open."""
    plugins = Plugins()
    for key in ("ip_filter", "cors", "rate_limit", "headers", "cache"):
        settings, scope = route.policies.get(key, (None, ""))
        if settings:
            _PLUGINS[key](plugins, losses, settings, route, policy_path(route, scope, key))
    for name, entry in credentials.plugins(route).items():
        plugins.set(name, entry)
    if route.body_size is not None and route.body_size != config.gateway.limits.body_size:
        plugins.set("request-size-limiting", size_limit(route.body_size))
    return plugins


def size_limit(size: int) -> dict[str, Any]:
    """How long a body may be."""
    for unit, bytes_of in (("megabytes", 2**20), ("kilobytes", 2**10)):
        if size and size % bytes_of == 0:
            return {"allowed_payload_size": size // bytes_of, "size_unit": unit}
    return {"allowed_payload_size": size, "size_unit": "bytes"}


def _networks(plugins: Plugins, losses: Losses, settings: Any, route: ResolvedRoute, at: KeyPath) -> None:  # noqa: ARG001
    lists = {"allow": settings.allow, "deny": settings.deny}
    said = {key: [str(each) for each in networks] for key, networks in lists.items() if networks}
    plugins.set("ip-restriction", {**said, "status": 403}, everywhere=True)


# ---- CORS


def _cors(plugins: Plugins, losses: Losses, settings: CorsSettings, route: ResolvedRoute, at: KeyPath) -> None:  # noqa: ARG001
    anyone = "*" in settings.allow_origins
    credentials = settings.allow_credentials and not anyone
    listed = {name.lower() for name in settings.expose_headers}
    own = [] if "*" in listed and not credentials else [name for name in OWN_FIELDS if name.lower() not in listed]
    said: dict[str, Any] = {"origins": ["*"] if anyone else [*map(_origin, settings.allow_origins)]}
    if "*" in settings.allow_methods:
        methods = [*_METHODS]
    else:
        methods = [each for each in settings.allow_methods if each in _METHODS]
        if len(methods) < len(settings.allow_methods):
            losses.add((*at, "allow_methods"), f"Kong's list of methods has {', '.join(_METHODS)} alone")
    said["methods"] = methods
    if "*" not in settings.allow_headers:
        said["headers"] = [*settings.allow_headers]
        if not settings.allow_headers:
            losses.add((*at, "allow_headers"), "Kong takes no list for any: it allows all fields that are asked for")
    said |= {"exposed_headers": [*settings.expose_headers, *own], "max_age": int(settings.max_age)}
    plugins.set("cors", {**said, "credentials": credentials, "preflight_continue": False}, everywhere=True)


def _origin(origin: str) -> str:
    """Kong takes what has other characters than these for an expression."""
    if re.fullmatch(r"[A-Za-z0-9.:/-]+", origin):
        return origin
    return "^" + literal(origin).replace(r"\*", "[a-z0-9-]+(?:[.][a-z0-9-]+)*") + "$"


# ---- limits


def _limits(plugins: Plugins, losses: Losses, settings: Any, route: ResolvedRoute, at: KeyPath) -> None:  # noqa: ARG001
    several = isinstance(settings, list)
    found: dict[str, Any] = {}
    counted: list[KeyPath] = []
    for index, limit in enumerate(settings if several else [settings]):
        place = (*at, index) if several else at
        if not limit.enforce:
            losses.add(place, "Kong has no limit that refuses nothing: it is left out")
            continue
        if limit.cost is not None:
            losses.add(place, "Kong does not read what responses cost: it is left out")
            continue
        by = _by(limit)
        numbers = {
            period: limit.numbers[key] for period in _PERIODS if (key := f"requests_per_{period}") in limit.numbers
        }
        known = {key: found[key] for key in ("limit_by", "header_name") if key in found}
        if known and (known != by or numbers.keys() & found.keys()):
            losses.add(place, "Kong has one plugin for the limits of a route: this one is left out")
            continue
        merged = {**found, **numbers}
        ordered = [merged[period] for period in _PERIODS if period in merged]
        if ordered != sorted(ordered):
            losses.add(place, "Kong takes no lower number for a longer period: this one is left out")
            continue
        found = {**{period: merged[period] for period in _PERIODS if period in merged}, **by}
        counted.append(place)
    if found:
        numbers = {key: int(value) if value == int(value) else value for key, value in found.items() if key in _PERIODS}
        rest = {key: value for key, value in found.items() if key not in _PERIODS}
        said = {**numbers, **rest, "policy": "local", "fault_tolerant": True}
        plugins.set("rate-limiting", said, everywhere=True, counts_at=tuple(counted))


def _by(limit: RateLimit) -> dict[str, Any]:
    if isinstance(limit.by, ByHeader):
        return {"limit_by": "header", "header_name": limit.by.header}
    return {"limit_by": "consumer" if limit.by == "consumer" else "ip"}


# ---- fields


def _fields(plugins: Plugins, losses: Losses, settings: HeadersSettings, route: ResolvedRoute, at: KeyPath) -> None:
    request = _edits(losses, settings.request, route, (*at, "request"))
    if request:
        plugins.set("request-transformer", request)
    response = _edits(losses, settings.response, route, (*at, "response"))
    if settings.security:
        written = {name.lower() for part in (settings.response.set, settings.response.add) for name in part}
        written |= {name.lower() for name in settings.response.remove}
        added = [f"{name}:{value}" for name, value in SECURITY.items() if name.lower() not in written]
        response.setdefault("add", {}).setdefault("headers", []).extend(added)
    if response:
        plugins.set("response-transformer", response, everywhere=not _names_routes(settings))


def _names_routes(settings: HeadersSettings) -> bool:
    edits = settings.response
    return any("{" in value for values in (*edits.set.values(), *edits.add.values()) for value in values or ())


def _edits(losses: Losses, edits: FieldEdits, route: ResolvedRoute, at: KeyPath) -> dict[str, Any]:
    """`set` is `replace` where there is such a field and `add` where there is none; `add` is `append`."""
    replaced: list[str] = []
    appended: list[str] = []
    for verb, fields in (("set", edits.set), ("add", edits.add)):
        for name, values in fields.items():
            for index, value in enumerate(values or ()):
                line = _line(losses, name, value, route, (*at, verb, name))
                if line is not None:
                    (replaced if verb == "set" and index == 0 else appended).append(line)
    parts: Mapping[str, list[str]] = {
        "remove": [name for name in edits.remove if _has_name(losses, name, (*at, "remove"))],
        "replace": replaced,
        "add": replaced,
        "append": appended,
    }
    return {verb: {"headers": [*lines]} for verb, lines in parts.items() if lines}


def _has_name(losses: Losses, name: str, at: KeyPath) -> bool:
    if _NAME.fullmatch(name) is None:
        losses.add(at, f"Kong takes no field of the name {name}")
        return False
    return True


def _line(losses: Losses, name: str, value: str, route: ResolvedRoute, at: KeyPath) -> str | None:
    """`name:value`; None, and a loss, where Kong has no words for it."""
    text = filled(value, route)
    if text is None:
        losses.add(at, "Kong fills nothing into fields: this one is left out")
    elif not text or text.startswith(":"):
        losses.add(at, "Kong has no fields that are empty or begin with a colon: this one is left out")
    elif "$(" in text:
        losses.add(at, "Kong takes $( for the beginning of an expression: this field is left out")
    elif _has_name(losses, name, at):
        return f"{name}:{text}"
    return None


# ---- cache


def _cache(plugins: Plugins, losses: Losses, settings: CacheSettings, route: ResolvedRoute, at: KeyPath) -> None:  # noqa: ARG001
    methods = [each for each in settings.methods if each != "QUERY"]
    if len(methods) < len(settings.methods):
        losses.add((*at, "methods"), "Kong stores no answers to QUERY")
    key = settings.key
    if key.cookies or key.query == "none" or not isinstance(key.query, (str, list)):
        losses.add((*at, "key"), "Kong's key has the whole query or named parameters, and fields; nothing is stored")
        return
    losses.add(at, "Kong follows no Vary, stores for the same time whatever a response says, and answers no conditions")
    said: dict[str, Any] = {
        "strategy": "memory",
        "cache_ttl": max(1, round(settings.ttl or 1)),
        "cache_control": True,
        "request_method": methods or ["GET"],
        "response_code": [200, 301, 404],
        "content_type": ["*/*", "*/*; charset=utf-8"],
    }
    if isinstance(key.query, list):
        said["vary_query_params"] = [*key.query]
    if key.headers:
        said["vary_headers"] = [*key.headers]
    plugins.set("proxy-cache", said)


_PLUGINS: Final = {
    "ip_filter": _networks,
    "cors": _cors,
    "rate_limit": _limits,
    "headers": _fields,
    "cache": _cache,
}
