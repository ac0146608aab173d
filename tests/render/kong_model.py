"""How Kong 3 chooses a route and what it sends on, by its documented rules: written apart from what renders for it.

It is the router that Kong calls traditional_compatible, with `path_handling: v0`, and of plugins what changes a path or
answers a request.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any, Final

import yaml

_RESERVED: Final = "!*'();:@&=+$,/?%#[]"
_SAFE: Final = re.compile(r"[^!#$&'()*+,/:;=?@\[\]A-Za-z0-9\-_.~%]")


@dataclass(frozen=True)
class Found:
    """The route that takes a request, the path that its service gets, and the status of what answers it at once."""

    route: Mapping[str, Any]
    service: Mapping[str, Any] | None
    path: str
    status: int | None
    plugins: Mapping[str, Any]
    others: tuple[str, ...]
    """Routes that Kong may take as well: nothing says which comes first."""


@dataclass(frozen=True)
class _Entry:
    """One of the parts that a route is cut into: its expressions, and its prefixes of one length."""

    route: Mapping[str, Any]
    service: Mapping[str, Any] | None
    paths: tuple[str, ...]

    @property
    def done(self) -> dict[str, Any]:
        """What is done with the requests that it takes."""
        asked = ("name", "hosts", "methods", "headers")
        return {key: value for key, value in self.route.items() if key not in asked}

    @property
    def priority(self) -> tuple[int, ...]:
        kinds = sum(bool(self.route.get(key)) for key in ("methods", "hosts", "headers", "snis", "paths"))
        hosts = self.route.get("hosts") or ()
        is_expression = self.paths[0].startswith("~")
        return (
            kinds,
            bool(hosts) and not any("*" in host for host in hosts),
            len(self.route.get("headers") or ()),
            is_expression,
            self.route.get("regex_priority", 0) if is_expression else 0,
            0 if is_expression else len(self.paths[0].encode()),
        )


class Kong:
    """A Kong that has read a file."""

    def __init__(self, text: str) -> None:
        tree = yaml.safe_load(text)
        assert tree["_format_version"] == "3.0"
        self.plugins = {each["name"]: each["config"] for each in tree.get("plugins", ())}
        pairs = [(route, None) for route in tree.get("routes", ())]
        pairs += [(route, service) for service in tree.get("services", ()) for route in service["routes"]]
        entries = [_Entry(route, service, group) for route, service in pairs for group in _groups(route["paths"])]
        self.entries = sorted(entries, key=lambda entry: entry.priority, reverse=True)

    def asked(
        self, method: str, target: str, host: str, fields: Mapping[str, list[str]], size: int = 0
    ) -> Found | None:
        """The route for a request, by the names of fields in lower case; None for 404."""
        path = normalised(target.partition("?")[0])
        fitting = []
        for entry in self.entries:
            match = _matched(entry, method, path, host, fields)
            if match is not None:
                fitting.append((entry, match))
        if not fitting:
            return None
        entry, match = fitting[0]
        equal = [other for other, _ in fitting if other.priority == entry.priority and other.done != entry.done]
        others = tuple(other.route["name"] for other in equal)
        plugins = {**self.plugins, **_named(entry.service or {}), **_named(entry.route)}
        return Found(
            entry.route, entry.service, self._path(entry, path, match, plugins), _status(plugins, size), plugins, others
        )

    def _path(self, entry: _Entry, path: str, match: _Match, plugins: Mapping[str, Any]) -> str:
        uri = plugins.get("request-transformer", {}).get("replace", {}).get("uri")
        return escaped(_filled(uri, match.captures) if uri is not None else _upstream(entry, path, match.text))


def _groups(paths: list[str]) -> Iterator[tuple[str, ...]]:
    found: dict[int, list[str]] = {}
    for path in paths:
        assert re.match(r"~?/", path), path
        assert "//" not in path
        assert path.startswith("~") or normalised(path) == path
        found.setdefault(0 if path.startswith("~") else len(path), []).append(path)
    yield from map(tuple, found.values())


def _named(entity: Mapping[str, Any]) -> dict[str, Any]:
    return {each["name"]: each["config"] for each in entity.get("plugins", ())}


# ---- what fits


@dataclass(frozen=True)
class _Match:
    text: str
    captures: Mapping[str, str | None]


def _matched(entry: _Entry, method: str, path: str, host: str, fields: Mapping[str, list[str]]) -> _Match | None:
    route = entry.route
    if route.get("methods") and method not in route["methods"]:
        return None
    if route.get("hosts") and not any(_is_host(pattern, host) for pattern in route["hosts"]):
        return None
    for name, values in (route.get("headers") or {}).items():
        own = [value.lower() for value in fields.get(name.lower(), ())]
        if not any(_is_value(pattern, value) for pattern in values for value in own):
            return None
    for written in entry.paths:
        if written.startswith("~"):
            match = expression(written[1:]).match(path)
            if match is not None:
                return _Match(match[0], match.groupdict())
        elif path.startswith(written):
            return _Match(written, {})
    return None


def _is_host(pattern: str, host: str) -> bool:
    own = host.partition(":")[0].lower()
    if pattern.startswith("*"):
        return own.endswith(pattern[1:])
    return own.startswith(pattern[:-1]) if pattern.endswith("*") else own == pattern


def _is_value(pattern: str, value: str) -> bool:
    if pattern.startswith("~*"):
        return re.search(pattern[2:].lower(), value) is not None
    return pattern.lower() == value


def expression(text: str) -> re.Pattern[str]:
    """An expression of Rust's, as `re` has it."""
    return re.compile(text.replace("(?i)", "").replace("(?<", "(?P<"), re.IGNORECASE if "(?i)" in text else 0)


# ---- what becomes of the path


def normalised(path: str) -> str:
    """A path as Kong compares it: decoded but for what is reserved, without dot segments and doubled slashes."""

    def one(found: re.Match[str]) -> str:
        data = bytes.fromhex(found[0].replace("%", ""))
        parts = [b"%%%02X" % byte if chr(byte) in _RESERVED else bytes([byte]) for byte in data]
        return b"".join(parts).decode("utf-8", "surrogateescape")

    path = re.sub(r"(?:%[0-9A-Fa-f]{2})+", one, path)
    found: list[str] = []
    parts = re.sub("/+", "/", path).split("/")[1:]
    for index, part in enumerate(parts):
        if part == "..":
            found = found[:-1]
        if part not in (".", ".."):
            found.append(part)
        elif index == len(parts) - 1:
            found.append("")
    return "/" + "/".join(found)


def escaped(path: str) -> str:
    """A path as it is sent."""
    return _SAFE.sub(
        lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogateescape")), path
    )


def _upstream(entry: _Entry, path: str, matched: str) -> str:
    base = _base(entry.service or {})
    strip = entry.route.get("strip_path", True)
    rest = path[len(matched) :]
    if not strip:
        if base.endswith("/"):
            return base + path[1:]
        return base if path == "/" else base + path
    if base.endswith("/"):
        if not rest:
            return base if base == "/" or path.endswith("/") else base[:-1]
        return base[:-1] + rest if rest.startswith("/") else base + rest
    if not rest:
        return base + "/" if len(path) > 1 and path.endswith("/") else base
    return base + rest if rest.startswith("/") else f"{base}/{rest}"


def _base(service: Mapping[str, Any]) -> str:
    if "url" in service:
        return re.sub("^https?://[^/]*", "", service["url"]) or "/"
    return str(service.get("path", "/"))


def _filled(template: str, captures: Mapping[str, str | None]) -> str:
    def one(found: re.Match[str]) -> str:
        value = captures[found[1]]
        assert value is not None or found[2], "a capture that is nil breaks the template"
        return value or ""

    return re.sub(r'\$\(uri_captures\["(\w+)"\]( or "")?\)', one, template)


_UNITS: Final = {"bytes": 1, "kilobytes": 2**10, "megabytes": 2**20}


def _status(plugins: Mapping[str, Any], size: int) -> int | None:
    """What answers a request of a client on 127.0.0.1, in the order in which Kong asks its plugins."""
    if (networks := plugins.get("ip-restriction")) is not None:
        own = ip_address("127.0.0.1")
        is_in = {key: any(own in ip_network(each) for each in networks.get(key, ())) for key in ("allow", "deny")}
        if is_in["deny"] or (networks.get("allow") and not is_in["allow"]):
            return int(networks["status"])
    limit = plugins["request-size-limiting"]
    if size > limit["allowed_payload_size"] * _UNITS[limit["size_unit"]]:
        return 413
    if "request-termination" in plugins:
        return int(plugins["request-termination"]["status_code"])
    if "redirect" in plugins:
        return int(plugins["redirect"]["status_code"])
    if "post-function" in plugins:
        (lua,) = plugins["post-function"]["access"]
        return int(re.search(r"kong\.response\.exit\((\d+)", lua)[1])  # type: ignore[index]
    return None
