"""What a route of Kong's asks for beside its path."""

from __future__ import annotations

import re
from typing import Any, Final

from portico.imports.draft import Draft
from portico.imports.located import Value
from portico.imports.order import literal
from portico.imports.patterns import why_not

SOME_HOSTS: Final = "some of its hosts cannot be said"
"""Why a route without a guard is still one for its other hosts."""
_KNOWN: Final = frozenset(
    {
        *("id", "name", "paths", "hosts", "methods", "headers", "protocols", "strip_path", "preserve_host", "service"),
        *("regex_priority", "path_handling", "https_redirect_status_code", "snis", "plugins", "tags", "created_at"),
        *("updated_at", "request_buffering", "response_buffering", "_comment"),
    }
)


def conditions(route: Value, draft: Draft) -> tuple[dict[str, Any], str]:
    """Hosts, methods and fields, and why that is not all that the route asks for; empty where it is."""
    data: dict[str, Any] = {}
    why = _unsaid(route)
    hosts = _hosts(route, draft)
    if len(hosts) < len(set(map(_name, route.get("hosts").texts()))):
        why = why or (SOME_HOSTS if hosts else "none of its hosts can be said")
    if hosts:
        data["hosts"] = hosts
    if methods := route.get("methods").texts():
        data["methods"] = [each for each in methods if each != "HEAD" or "GET" not in methods]
    fields: dict[str, Any] = {}
    for name, values in route.get("headers").entries().items():
        condition = _condition(values.texts())
        if condition is None:
            draft.left(values.where, f"headers: {name}", "there is no such pattern here")
            why = why or f"what it asks of the field {name} cannot be said"
        else:
            fields[name] = condition
    if fields:
        data["headers"] = fields
    return data, why


def _unsaid(route: Value) -> str:
    if route.has("expression"):
        return "its expression is not read; write path, hosts, methods and headers"
    for key in ("sources", "destinations"):
        if route.get(key).items():
            return f"requests are not chosen by their {key}"
    return ""


def transport(route: Value, protocols: list[str], has_paths: bool, comments: list[str], draft: Draft) -> None:
    if "http" not in protocols and route.has("protocols"):
        why = "it is served by plain HTTP, too, unless gateway.tls is written; redirect_from leads clients to HTTPS"
        draft.changed(route.get("protocols").where, "protocols: https", why)
    if route.has("https_redirect_status_code") and "http" not in protocols:
        value = route.get("https_redirect_status_code")
        draft.changed(value.where, f"https_redirect_status_code: {value.text()}", "gateway.tls.redirect_from: 308")
    if route.text_at("path_handling") == "v1" and has_paths:
        value = route.get("path_handling")
        draft.changed(value.where, "path_handling: v1", "paths are joined by one slash")
    for key, value in route.entries().items():
        if key not in _KNOWN and value.raw not in (None, False, [], ""):
            draft.left(value.where, f"route: {key}", "there is no counterpart")
            comments.append(f"{value.where}: route: {key}: there is no counterpart")


def _name(host: str) -> str:
    name, mark, port = host.partition(":")
    return name if mark and port.isdigit() else host


def _hosts(route: Value, draft: Draft) -> list[str]:
    """Hosts, or else server names, which clients send as hosts, too."""
    items = route.get("hosts").items()
    hosts = []
    for item in items:
        host = item.text()
        name = _name(host)
        if name != host:
            draft.changed(item.where, f"hosts: {host}", "at every port")
        if name.endswith("*") or "*" in name.removeprefix("*."):
            draft.left(item.where, f"hosts: {host}", "a host is named, or *.example.com")
        else:
            hosts.append(name)
    names = route.get("snis")
    if names.items():
        draft.changed(names.where, "snis", "the name in TLS is not looked at, but the host that is asked for")
        if not items:
            hosts = [name for name in names.texts() if not name.endswith("*")]
    return list(dict.fromkeys(hosts))


def _condition(values: list[str]) -> str | None:
    """The condition of a field with one of several values, whose case does not count; None for no pattern of ours."""
    if len(values) == 1 and values[0].startswith("~*"):
        pattern = values[0].removeprefix("~*").strip()
        return None if why_not(pattern, is_path=False, ignores_case=True) else f"~* {pattern}"
    if len(values) == 1 and not re.search(r"[A-Za-z]", values[0]):
        return values[0]
    escaped = [literal(value) for value in values]
    text = escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"
    return None if not values or why_not(f"^{text}$", is_path=False) else f"~* ^{text}$"
