"""Kong's declarative file as its entities, nested ones beside those at the top."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from portico.imports.located import Value
from portico.imports.remarks import SourceError, Where

VERSIONS: Final = ("1.1", "2.1", "3.0")
CREDENTIALS: Final = {
    "keyauth_credentials": "key-auth",
    "basicauth_credentials": "basic-auth",
    "jwt_secrets": "jwt",
    "acls": "acl",
    "hmacauth_credentials": "hmac-auth",
    "oauth2_credentials": "oauth2",
    "mtls_auth_credentials": "mtls-auth",
}
"""What consumers prove themselves by, with the plugin that checks it."""
_ABOUT: Final = frozenset({"_format_version", "_transform", "_info", "_comment", "_ignore", "_workspace", "_konnect"})
_ENTITIES: Final = frozenset(
    {"services", "routes", "plugins", "consumers", "upstreams", "targets", "_plugin_configs", "consumer_groups"}
)


@dataclass(frozen=True, slots=True, eq=False)
class Plugin:
    """One plugin; `route`, `service` and `consumer` are the names or ids that it is limited to."""

    value: Value
    name: str
    config: Value
    route: str = ""
    service: str = ""
    consumer: str = ""
    group: str = ""
    """A group of consumers that it is limited to."""

    @property
    def where(self) -> Where:
        return self.value.get("name").where


@dataclass(slots=True, eq=False)
class Entities:
    """All that a file has. Services, routes, consumers and upstreams are with the names that others call them by."""

    version: str
    hashed: bool = False
    """Whether passwords are hashes of Kong's."""
    services: list[Value] = field(default_factory=list)
    routes: list[tuple[Value, str]] = field(default_factory=list)
    """With the service of each, empty where it has none."""
    consumers: list[Value] = field(default_factory=list)
    upstreams: list[Value] = field(default_factory=list)
    targets: list[tuple[Value, str]] = field(default_factory=list)
    plugins: list[Plugin] = field(default_factory=list)
    credentials: list[tuple[str, Value, str]] = field(default_factory=list)
    """The plugin that checks it, the credential, and whose it is."""
    members: dict[str, set[str]] = field(default_factory=dict)
    """The consumers of each group, by its name."""
    others: list[Value] = field(default_factory=list)
    """What is at the top and no such entity."""


def names_of(value: Value, *keys: str) -> set[str]:
    """What others may call an entity by: its id, and the texts at these keys."""
    return {value.text_at(key) for key in ("id", *keys) if value.has(key)}


def reference(value: Value, key: str) -> str:
    """The entity that is named at a key: by its name, or in a section with its id or name."""
    if not value.has(key):
        return ""
    named = value.get(key)
    if isinstance(named.raw, dict):
        return next((named.text_at(each) for each in ("id", "name", "username") if named.has(each)), "")
    return named.text()


def read_entities(root: Value) -> Entities:
    """The entities of a file. Raises SourceError for what Kong would not read either."""
    if not isinstance(root.raw, dict):
        raise SourceError(root.where, "no declarative configuration of Kong: expected keys and values")
    if not root.has("_format_version"):
        raise SourceError(root.where, '_format_version is missing: it says how paths are read; write "3.0" for Kong 3')
    version = root.get("_format_version").text()
    if version not in VERSIONS:
        raise SourceError(root.get("_format_version").where, f"_format_version: it is one of {', '.join(VERSIONS)}")
    found = Entities(version, hashed=not root.flag_at("_transform", default=True))
    configs = root.get("_plugin_configs").entries()
    for service in root.get("services").items():
        found.services.append(service)
        name = _called(service)
        found.routes += [(route, name) for route in service.get("routes").items()]
        found.plugins += _plugins(service, configs, service=name)
    found.routes += [(route, reference(route, "service")) for route in root.get("routes").items()]
    for route, name in found.routes:
        found.plugins += _plugins(route, configs, service=name, route=_called(route))
    for consumer in root.get("consumers").items():
        found.consumers.append(consumer)
        name = consumer_name(consumer)
        found.plugins += _plugins(consumer, configs, consumer=name)
        for key, plugin in CREDENTIALS.items():
            found.credentials += [(plugin, each, name) for each in consumer.get(key).items()]
    for key, plugin in CREDENTIALS.items():
        found.credentials += [(plugin, each, reference(each, "consumer")) for each in root.get(key).items()]
    for upstream in root.get("upstreams").items():
        found.upstreams.append(upstream)
        found.targets += [(target, upstream.text_at("name")) for target in upstream.get("targets").items()]
    found.targets += [(target, reference(target, "upstream")) for target in root.get("targets").items()]
    _read_groups(root, configs, found)
    found.plugins += _plugins(root, configs)
    known = _ABOUT | _ENTITIES | CREDENTIALS.keys()
    found.others = [value for key, value in root.entries().items() if key not in known and value.raw]
    return found


def _read_groups(root: Value, configs: dict[str, Value], found: Entities) -> None:
    """Groups of consumers, whose members either side names."""
    for group in root.get("consumer_groups").items():
        found.plugins += _plugins(group, configs, group=_called(group))
        members = {_member(each) for each in group.get("consumers").items()}
        found.members.setdefault(_called(group), set()).update(members)
    for consumer in found.consumers:
        for each in consumer.get("groups").items():
            found.members.setdefault(_member(each), set()).add(consumer_name(consumer))


def _member(value: Value) -> str:
    """A group of a consumer, or a consumer of a group, which are a name or a section with it."""
    if not isinstance(value.raw, dict):
        return value.text()
    return next((value.text_at(key) for key in ("name", "username", "id") if value.has(key)), "")


def consumer_name(consumer: Value) -> str:
    """What a consumer is called."""
    return next((consumer.text_at(key) for key in ("username", "custom_id", "id") if consumer.has(key)), "")


def _called(value: Value) -> str:
    """What an entity is referred to by here: its id or name, or where it stands."""
    return next((value.text_at(key) for key in ("name", "id") if value.has(key)), f"{value.name}:{value.line}")


called = _called


def _plugins(
    parent: Value,
    configs: dict[str, Value],
    *,
    service: str = "",
    route: str = "",
    consumer: str = "",
    group: str = "",
) -> Iterator[Plugin]:
    for value in parent.get("plugins").items():
        if not value.has("name"):
            raise SourceError(value.where, f"{value.name}: a plugin without a name")
        if not value.flag_at("enabled", default=True):
            continue
        config = value.get("config")
        if value.has("_config"):
            shared = value.get("_config").text()
            if shared not in configs:
                raise SourceError(value.get("_config").where, f"_config: there is no {shared} in _plugin_configs")
            config = _over(config, configs[shared])
        config.entries()
        yield Plugin(
            value,
            value.get("name").text(),
            config,
            reference(value, "route") or route,
            reference(value, "service") or service,
            reference(value, "consumer") or consumer,
            reference(value, "consumer_group") or group,
        )


def _over(own: Value, shared: Value) -> Value:
    """A plugin's own configuration over one that several share."""
    return Value(own.file, own.line, own.name, {**shared.entries(), **own.entries()})


_SECRET: Final = re.compile(r"\{vault://env/([\w-]+)[^}]*\}|\$\{\{\s*env\s+[\"']?(\w+)[\"']?\s*\}\}")


def variable_in(text: str) -> str:
    """The variable of the environment that a text stands for; empty where it means itself."""
    found = _SECRET.fullmatch(text.strip())
    return "" if found is None else (found[1] or found[2]).upper().replace("-", "_")
