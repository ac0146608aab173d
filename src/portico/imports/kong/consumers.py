"""Kong's consumers, with what they prove themselves by."""

from __future__ import annotations

import hashlib
from typing import Final

from portico.core.passwords import hashed
from portico.imports.draft import Draft, Part
from portico.imports.kong.entities import Entities, Plugin, consumer_name, names_of, variable_in
from portico.imports.kong.limits import numbers, windows_of
from portico.imports.kong.pieces import Reading
from portico.imports.located import Value
from portico.imports.remarks import SourceError

_PASSWORDS: Final = 40
"""How many are hashed, each in a tenth of a second; others are left."""
_HARMLESS: Final = frozenset(
    {
        *("request-transformer", "response-transformer", "correlation-id", "prometheus", "http-log", "file-log"),
        *("tcp-log", "udp-log", "syslog", "statsd", "datadog", "opentelemetry", "zipkin", "loggly", "proxy-cache"),
    }
)


def read_consumers(entities: Entities, draft: Draft) -> Reading:
    """Write the consumers, and give what plugins are read with."""
    names: dict[str, str] = {}
    parts: dict[str, Part] = {}
    for consumer in entities.consumers:
        name = consumer_name(consumer)
        if not name:
            raise SourceError(consumer.where, f"{consumer.name}: a consumer has a username, a custom_id or an id")
        if name in parts:
            raise SourceError(consumer.where, f"{consumer.name}: there is a consumer {name} already")
        parts[name] = Part(consumer.where, {"name": name})
        for each in {*names_of(consumer, "username", "custom_id"), name}:
            names[each] = name
        draft.taken(consumer.where, f"consumer {name}")
    reading = Reading(draft, {}, {}, set(), hashed=entities.hashed)
    for plugin, credential, owner in entities.credentials:
        name = names.get(owner, "")
        if not name:
            raise SourceError(credential.where, f"{credential.name}: there is no consumer {owner}")
        _credential(plugin, credential, parts[name], reading)
    if not any(plugin.name == "jwt" for plugin in entities.plugins):
        for credential, name in reading.credentials.get("jwt", ()):
            draft.left(credential.where, f"jwt_secrets of {name}", "no plugin jwt asks for a token", parts[name])
    reading.anonymous_refused |= _plugins_of(entities, names, parts, draft)
    draft.consumers = list(parts.values())
    return reading


def _credential(plugin: str, credential: Value, part: Part, reading: Reading) -> None:
    name = part.data["name"]
    known = reading.credentials.setdefault(plugin, [])
    if plugin == "acl":
        group = credential.text_at("group")
        reading.groups.setdefault(group, []).append(name)
        scopes = part.data.setdefault("scopes", [])
        scopes += [group] if group and group not in scopes else []
    elif plugin == "key-auth":
        if _key(credential, part, reading.draft):
            known.append((credential, name))
    elif plugin == "basic-auth":
        if _password(credential, part, reading, too_many=len(known) >= _PASSWORDS):
            known.append((credential, name))
    elif plugin == "jwt":
        known.append((credential, name))
    else:
        reading.draft.left(credential.where, f"{plugin} of {name}", "there is no such credential", part)


def _key(credential: Value, part: Part, draft: Draft) -> bool:
    key = credential.text_at("key")
    if not key or variable_in(key) or "{vault:" in key:
        draft.left(
            credential.where, "keyauth_credentials", "there is no key to make a hash of: portico keys makes one", part
        )
        return False
    if credential.has("ttl"):
        draft.left(credential.where, "keyauth_credentials: ttl", "a key that ends is made by portico keys", part)
        return False
    digest = f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"
    keys = part.data.setdefault("keys", [])
    keys += [] if digest in keys else [digest]
    return True


def _password(credential: Value, part: Part, reading: Reading, *, too_many: bool) -> bool:
    draft = reading.draft
    username, password = credential.text_at("username"), credential.text_at("password")
    is_written = bool(password) and not reading.hashed and not variable_in(password) and "{vault:" not in password
    if not is_written or too_many or "password" in part.data:
        why = "a consumer has one password" if "password" in part.data else "portico password makes a hash of it"
        draft.left(credential.where, f"basicauth_credentials: {username}", why, part)
        return False
    if username and username != part.data["name"]:
        draft.changed(credential.where, f"basicauth_credentials: {username}", f"the name is {part.data['name']}", part)
    part.data["password"] = hashed(password)
    return True


def _plugins_of(entities: Entities, names: dict[str, str], parts: dict[str, Part], draft: Draft) -> set[str]:
    """What holds for consumers alone; gives the names of those with a guard, as whom nobody comes in unasked."""
    refused: set[str] = set()
    for plugin in entities.plugins:
        if plugin.group and plugin.name not in _HARMLESS and not plugin.name.startswith("rate-limiting"):
            members = entities.members.get(plugin.group, set()) & names.keys()
            for name in sorted({names[each] for each in members} if members else parts):
                refused |= {each for each, own in names.items() if own == name}
                _shut_out(plugin, name, parts, draft)
        if not plugin.consumer:
            continue
        name = names.get(plugin.consumer, "")
        if not name:
            raise SourceError(plugin.where, f"{plugin.name}: there is no consumer {plugin.consumer}")
        everywhere = not (plugin.route or plugin.service)
        if plugin.name == "rate-limiting" and everywhere:
            limits = numbers(windows_of(plugin.config))
            if limits:
                parts[name].data["rate_limit"] = limits[0]
            if len(limits) > 1:
                draft.changed(plugin.where, f"rate-limiting of {name}", "that of a second holds", parts[name])
        elif plugin.name in _HARMLESS or plugin.name == "rate-limiting":
            draft.left(
                plugin.where, f"{plugin.name} of {name}", "policies are of routes, not of one consumer", parts[name]
            )
        else:
            refused |= {each for each, own in names.items() if own == name}
            _shut_out(plugin, name, parts, draft)
    return refused


def _shut_out(plugin: Plugin, name: str, parts: dict[str, Part], draft: Draft) -> None:
    """A consumer with a guard of its own that cannot be said does not come in."""
    part = parts[name]
    for key in ("keys", "password"):
        part.data.pop(key, None)
    draft.left(
        plugin.where, f"{plugin.name} of {name}", "its credentials are left out, as this cannot be said of one", part
    )
