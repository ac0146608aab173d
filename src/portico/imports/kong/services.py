"""Kong's services and upstreams as services."""

from __future__ import annotations

import re
from functools import reduce
from math import gcd
from typing import Any, Final
from urllib.parse import urlsplit

from portico.imports.draft import Draft, Part, free_name
from portico.imports.kong.entities import Entities, called, names_of, variable_in
from portico.imports.kong.joined import same_services
from portico.imports.located import Value
from portico.imports.remarks import SourceError

_PORTS: Final = {"http": 80, "https": 443}
_HEAVIEST: Final = 1000
_USUAL_TIMEOUTS: Final = {"connect": 5000.0, "response": 30_000.0, "idle": 60_000.0}
"""Milliseconds of timeouts where nothing is written."""
_KONGS_TIMEOUT: Final = 60_000
"""That of Kong, where nothing is written."""
_USUAL_CHECK: Final = {"interval": 5, "timeout": 5, "healthy_after": 1, "unhealthy_after": 3}
"""How instances are checked by connections where nothing is written."""
_BALANCING: Final = {"round-robin": "round_robin", "least-connections": "least_connections", "latency": "power_of_two"}
_WEBSOCKETS: Final = {"ws": "http", "wss": "https"}
_KNOWN: Final = frozenset(
    {
        *("id", "name", "url", "protocol", "host", "port", "path", "retries", "connect_timeout", "read_timeout"),
        *("write_timeout", "enabled", "routes", "plugins", "tags", "tls_verify", "created_at", "updated_at"),
        *("ca_certificates", "client_certificate", "tls_verify_depth", "_comment"),
    }
)


class Services:
    """All services, by what routes call them; `base` is the path before all of a service's paths."""

    def __init__(self, entities: Entities, draft: Draft) -> None:
        self.draft = draft
        self.names: dict[str, str] = {}
        self.base: dict[str, str] = {}
        self.off: set[str] = set()
        self.closed: dict[str, str] = {}
        """Services that there is nothing for, and why: their routes are closed."""
        self.instances: dict[str, frozenset[str]] = {}
        self._upstreams = {upstream.text_at("name"): upstream for upstream in entities.upstreams}
        self._ids = {name: upstream.text_at("name") for upstream in entities.upstreams for name in names_of(upstream)}
        self._targets: dict[str, list[Value]] = {}
        for target, upstream in entities.targets:
            self._targets.setdefault(self._ids.get(upstream, upstream), []).append(target)
        for service in entities.services:
            self._add(service)
        self.same = same_services(draft.services)
        """Services that are another one, but for the paths that come before those of their routes."""
        for name in self.same:
            del draft.services[name]

    def _add(self, service: Value) -> None:
        wanted = called(service)
        known = {*names_of(service, "name"), wanted}
        if service.has("name") and service.text_at("name") in self.names:
            raise SourceError(service.get("name").where, f"{service.name}: there is a service {wanted} already")
        if not service.flag_at("enabled", default=True):
            self.off |= known
            self.draft.left(service.where, f"service {wanted}", "it is not enabled")
            return
        name = free_name(wanted if service.has("name") else _host_of(service) or "service", self.draft.services)
        if name in ("gateway", "none"):
            name = f"kong-{name}"
        part = Part(service.where)
        for each in known:
            self.names[each] = name
        why = self._address(service, part, name)
        if why:
            self.closed[name] = why
            self.draft.left(service.where, f"service {wanted}", why)
            return
        self._treatment(service, part)
        part.data["default_routes"] = False
        self.draft.services[name] = part
        self.draft.taken(service.where, f"service {wanted}", "" if wanted == name else f"it is called {name}")

    def _address(self, service: Value, part: Part, name: str) -> str:
        """Fill in where it is; why that is not possible, else."""
        protocol = service.text_at("protocol", "http")
        host, path = service.text_at("host"), service.text_at("path")
        port = service.get("port").whole() if service.has("port") else None
        if service.has("url"):
            written = service.text_at("url")
            if variable := variable_in(written):
                return f"its address is {variable}: write url: ${{{variable}}}"
            try:
                parts = urlsplit(written)
                protocol, host, port, path = parts.scheme, parts.hostname or "", parts.port, parts.path
            except ValueError:
                raise SourceError(service.get("url").where, f"url: {written} is no address") from None
        if protocol in _WEBSOCKETS:
            protocol = _WEBSOCKETS[protocol]
            self.draft.changed(service.where, f"service {name}", "it gets plain requests beside WebSockets")
        if protocol not in _PORTS:
            return f"{protocol} is not proxied" if protocol else "it has no address"
        if not host:
            raise SourceError(service.where, f"{service.name}: it has neither url nor host")
        self.base[name] = "" if path in ("", "/") else path
        upstream = self._upstreams.get(host)
        if upstream is None:
            url = f"{protocol}://{_in_url(host)}" + ("" if port in (None, _PORTS[protocol]) else f":{port}")
            part.data["url"] = url
            self.instances[name] = frozenset({url})
            return ""
        return self._balanced(upstream, protocol, part, name)

    def _balanced(self, upstream: Value, protocol: str, part: Part, name: str) -> str:
        found: dict[str, int] = {}
        for target in self._targets.get(upstream.text_at("name"), []):
            host, port = _target(target)
            weight = target.get("weight").whole() if target.has("weight") else 100
            found[f"{protocol}://{_in_url(host)}:{port}"] = weight
        if not found:
            return "its upstream has no targets"
        if len(found) == 1 and all(found.values()):
            part.data["url"] = next(iter(found))
        else:
            part.data["instances"] = _weighted(found)
        self.instances[name] = frozenset(found)
        _balancing(upstream, part, self.draft)
        _health(upstream.get("healthchecks"), part, self.draft)
        known = {
            "id",
            "name",
            "algorithm",
            "targets",
            "tags",
            "healthchecks",
            "slots",
            "created_at",
            "updated_at",
            "use_srv_name",
        }
        for key, value in upstream.entries().items():
            if key not in known and not key.startswith(("hash_", "sticky_")) and value.raw not in (None, False, [], ""):
                self.draft.left(
                    value.where, f"upstream {upstream.text_at('name')}: {key}", "there is no counterpart", part
                )
        return ""

    def _treatment(self, service: Value, part: Part) -> None:
        timeout: dict[str, Any] = {}
        for own, key in (("connect", "connect_timeout"), ("response", "read_timeout")):
            timeout[own] = service.get(key).number() if service.has(key) else _KONGS_TIMEOUT
        if timeout["response"] > _USUAL_TIMEOUTS["idle"]:
            timeout["idle"] = timeout["response"]
        timeout = {key: duration(value) for key, value in timeout.items() if value != _USUAL_TIMEOUTS[key]}
        if timeout:
            part.data["timeout"] = timeout
        if service.has("retries"):
            attempts = service.get("retries").whole()
            if attempts != 2:
                part.data["retries"] = min(attempts, 10)
            if attempts > 10:
                self.draft.changed(
                    service.get("retries").where, f"retries: {attempts}", "10 at most", part, ("retries",)
                )
        if service.text_at("protocol") == "https" or service.text_at("url").startswith("https:"):
            self._tls(service, part)
        for key, value in service.entries().items():
            if key not in _KNOWN and value.raw not in (None, False, [], ""):
                self.draft.left(value.where, f"service: {key}", "there is no counterpart", part)

    def _tls(self, service: Value, part: Part) -> None:
        if service.has("tls_verify") and not service.flag_at("tls_verify"):
            part.data["tls"] = {"verify": False}
        elif not service.has("tls_verify"):
            why = (
                "its certificate is verified, which Kong does not unless asked to; tls: {verify: false} turns that off"
            )
            self.draft.changed(service.where, "https", why, part)
        for key in ("ca_certificates", "client_certificate"):
            if service.has(key):
                self.draft.left(service.get(key).where, f"service: {key}", "write the files under tls", part)


def duration(milliseconds: float) -> Any:
    """Kong's milliseconds as a duration; as little as there can be for none."""
    if milliseconds <= 0:
        return "1ms"
    return milliseconds / 1000 if milliseconds % 1000 == 0 else f"{milliseconds:g}ms"


def _host_of(service: Value) -> str:
    if service.has("host"):
        return service.text_at("host")
    found = re.match(r"\w+://([^/:]+)", service.text_at("url"))
    return found[1] if found else ""


def _in_url(host: str) -> str:
    return f"[{host.strip('[]')}]" if ":" in host else host


def _target(target: Value) -> tuple[str, int]:
    text = target.text_at("target")
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\s]+)(?::(\d{1,5}))?", text)
    if found is None:
        raise SourceError(target.where, f"target: expected host:port, not {text}")
    return found[1], int(found[2] or 8000)


def _weighted(found: dict[str, int]) -> list[Any]:
    """Instances with the smallest weights that say the same."""
    unit = reduce(gcd, found.values()) or 1
    weights = {url: weight // unit for url, weight in found.items()}
    most = max(weights.values(), default=1)
    if most > _HEAVIEST:
        weights = {url: max(1, round(each * _HEAVIEST / most)) if each else 0 for url, each in weights.items()}
    return [{"url": url} if weight == 1 else {"url": url, "weight": weight} for url, weight in weights.items()]


def _balancing(upstream: Value, part: Part, draft: Draft) -> None:
    algorithm = upstream.text_at("algorithm", "consistent-hashing" if upstream.has("hash_on") else "round-robin")
    hash_on = upstream.text_at("hash_on", "none")
    if algorithm == "consistent-hashing" or (hash_on != "none" and algorithm == "round-robin"):
        if hash_on == "ip":
            part.data["load_balancing"] = {"consistent_hash": "client_ip"}
        elif hash_on == "header" and upstream.has("hash_on_header"):
            part.data["load_balancing"] = {"consistent_hash": {"header": upstream.text_at("hash_on_header")}}
        elif hash_on == "cookie" and upstream.has("hash_on_cookie"):
            part.data["load_balancing"] = {"consistent_hash": {"cookie": upstream.text_at("hash_on_cookie")}}
        elif hash_on != "none":
            value = upstream.get("hash_on")
            draft.changed(
                value.where, f"hash_on: {hash_on}", "by client_ip, a field or a cookie; it is round robin", part
            )
    elif algorithm == "sticky-sessions":
        name = upstream.text_at("sticky_sessions_cookie", "auto")
        part.data["sticky"] = {"cookie": name}
    elif algorithm in _BALANCING:
        if algorithm != "round-robin":
            part.data["load_balancing"] = _BALANCING[algorithm]
    else:
        draft.changed(upstream.get("algorithm").where, f"algorithm: {algorithm}", "it is round robin", part)


def _health(checks: Value, part: Part, draft: Draft) -> None:
    active = checks.get("active")
    healthy, unhealthy = active.get("healthy"), active.get("unhealthy")
    intervals = [each.get("interval").number() for each in (healthy, unhealthy) if each.has("interval")]
    if any(interval > 0 for interval in intervals):
        check: dict[str, Any] = {}
        if active.text_at("type", "http") in ("http", "https", "grpc", "grpcs"):
            check["path"] = active.text_at("http_path", "/")
            statuses = [item.whole() for item in healthy.get("http_statuses").items()]
            check["expect"] = statuses or [200, 302]
        check["interval"] = next(interval for interval in intervals if interval > 0)
        if active.has("timeout"):
            check["timeout"] = active.get("timeout").number() or 1
        for key, section, name in (
            ("healthy_after", healthy, "successes"),
            ("unhealthy_after", unhealthy, "http_failures"),
        ):
            if section.has(name) and section.get(name).whole() > 0:
                check[key] = min(section.get(name).whole(), 100)
        if check != _USUAL_CHECK:
            part.data["health_check"] = check
        for key in ("headers", "https_sni"):
            if active.has(key) and active.get(key).raw:
                draft.left(active.get(key).where, f"healthchecks.active.{key}", "checks send no such thing", part)
    passive = checks.get("passive").get("unhealthy")
    counts = [passive.get(key).whole() for key in ("http_failures", "tcp_failures", "timeouts") if passive.has(key)]
    if any(counts):
        part.data["passive_health"] = {"failures": min(count for count in counts if count > 0)}
