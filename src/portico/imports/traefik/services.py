"""Traefik's services: instances, and services made of others."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from portico.imports.draft import Draft, Part, free_name
from portico.imports.located import Value
from portico.imports.remarks import Where
from portico.imports.traefik.source import find, flag, seconds, text, texts

_STRATEGIES: Final = {"p2c": "power_of_two", "leasttime": "least_connections", "hrw": {"consistent_hash": "client_ip"}}
_KNOWN: Final = frozenset(
    {
        *("servers", "sticky", "healthcheck", "passhostheader", "responseforwarding", "serverstransport", "strategy"),
        *("passivehealthcheck", "terminationdelay"),
    }
)


@dataclass(slots=True)
class Target:
    """What a route does to reach a service. `closed` is why it cannot."""

    route: dict[str, Any] = field(default_factory=dict)
    closed: str = ""
    key: Any = None
    """What two routes have in common that lead to the same instances."""


class Services:
    """All services by name, written into the draft as routes ask for them."""

    def __init__(self, http: Value, draft: Draft) -> None:
        self._draft = draft
        self._all = find(http, "services").entries()
        self._transports = find(http, "serversTransports").entries()
        self._targets: dict[str, Target] = {}
        self._names: dict[str, str] = {}
        self._has_said = False
        """Whether it is said which timeouts hold where none are written."""

    def target(self, name: str, depth: int = 0) -> Target:
        """What leads to a service."""
        found = self._targets.get(name)
        if found is None:
            self._targets[name] = Target(closed="it leads back to itself")
            found = self._targets[name] = self._read(name, depth)
        return found

    def _read(self, name: str, depth: int) -> Target:
        service = self._all.get(name)
        if service is None:
            return Target(closed=f"there is no service {name} in this file")
        if depth > 8:
            return Target(closed=f"service {name} is made of others too deep")
        kinds = {key.lower(): value for key, value in service.entries().items() if value.raw is not None}
        if "loadbalancer" in kinds:
            return self._balanced(name, kinds["loadbalancer"])
        if "weighted" in kinds:
            return self._weighted(name, kinds["weighted"], depth)
        if "mirroring" in kinds:
            return self._mirrored(name, kinds["mirroring"], depth)
        if "failover" in kinds:
            return self._failing_over(name, kinds["failover"], depth)
        return Target(closed=f"service {name} has no servers")

    def _named(self, name: str) -> str:
        found = free_name(name, self._draft.services)
        if found in ("gateway", "none"):
            found = f"traefik-{found}"
        self._names[name] = found
        return found

    def _balanced(self, name: str, balancer: Value) -> Target:
        part = Part(balancer.where)
        urls: dict[str, int] = {}
        for server in find(balancer, "servers").items():
            written = text(server, "url")
            url = self._url(written, server, part)
            if not url:
                return Target(closed=f"service {name}: {written or 'a server without url'} is not proxied")
            weight = find(server, "weight")
            urls[url] = urls.get(url, 0) + (1 if weight.raw is None else weight.whole())
        if not urls:
            return Target(closed=f"service {name} has no servers")
        if len(urls) == 1:
            part.data["url"] = next(iter(urls))
        else:
            part.data["instances"] = [
                {"url": url} if weight == 1 else {"url": url, "weight": min(weight, 1000)}
                for url, weight in urls.items()
            ]
        own = self._named(name)
        self._treatment(balancer, part)
        part.data["preserve_host"] = flag(balancer, "passHostHeader", default=True)
        part.data["default_routes"] = False
        self._draft.services[own] = part
        self._draft.taken(balancer.where, f"service {name}", "" if own == name else f"it is called {own}")
        return Target({"service": own}, key=frozenset(urls))

    def _url(self, written: str, server: Value, part: Part) -> str:
        try:
            parts = urlsplit(written)
            port = parts.port
        except ValueError:
            return ""
        scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
        if scheme not in ("http", "https") or not parts.hostname or not re.fullmatch(r"[\w.:-]+", parts.hostname):
            return ""
        if parts.path not in ("", "/") and flag(server, "preservePath"):
            self._draft.left(server.where, f"url: {written}", "its path is not put before the request's", part)
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return f"{scheme}://{host}" + (f":{port}" if port else "")

    def _treatment(self, balancer: Value, part: Part) -> None:
        cookie = find(balancer, "sticky", "cookie")
        if cookie.raw not in (None, False, "false"):
            sticky: dict[str, Any] = {"cookie": "auto"}
            if isinstance(cookie.raw, dict):
                sticky["cookie"] = text(cookie, "name", default="auto")
                if (age := find(cookie, "maxAge")).raw is not None and age.whole() > 0:
                    sticky["max_age"] = age.whole()
            part.data["sticky"] = sticky
        self._health(find(balancer, "healthCheck"), part)
        strategy = text(balancer, "strategy", default="wrr").lower()
        if strategy in _STRATEGIES and "sticky" not in part.data:
            part.data["load_balancing"] = _STRATEGIES[strategy]
        passive = find(balancer, "passiveHealthCheck")
        if find(passive, "maxFailedAttempts").raw is not None:
            settings: dict[str, Any] = {"failures": max(1, find(passive, "maxFailedAttempts").whole())}
            if (window := seconds(passive, "failureWindow")) is not None:
                settings["open_for"] = window
            part.data["passive_health"] = settings
        for key, value in balancer.entries().items():
            if key.lower() not in _KNOWN and value.raw:
                self._draft.left(value.where, f"loadBalancer: {key}", "there is no counterpart", part)
        if transport := text(balancer, "serversTransport"):
            self._transport(transport.partition("@")[0], balancer, part)
        self._say_timeouts(balancer.where, part)

    def _health(self, check: Value, part: Part) -> None:
        if not isinstance(check.raw, dict):
            return
        settings: dict[str, Any] = {"path": text(check, "path", default="/")}
        for key in ("interval", "timeout"):
            if (found := seconds(check, key)) is not None and found > 0:
                settings[key] = found
        settings.setdefault("interval", 30)
        status = find(check, "status")
        settings["expect"] = [status.whole()] if status.raw is not None and status.whole() else ["200-399"]
        part.data["health_check"] = settings
        for key, value in check.entries().items():
            if (
                key.lower() in ("scheme", "mode", "hostname", "port", "headers", "method", "unhealthyinterval")
                and value.raw
            ):
                self._draft.left(value.where, f"healthCheck: {key}", "checks are GET requests to the instance", part)

    def _transport(self, name: str, balancer: Value, part: Part) -> None:
        transport = self._transports.get(name)
        if transport is None:
            self._draft.left(balancer.where, f"serversTransport: {name}", "it is not in this file", part)
            return
        tls: dict[str, Any] = {}
        if flag(transport, "insecureSkipVerify"):
            tls["verify"] = False
        elif authorities := [*texts(transport, "rootCAs"), *texts(transport, "rootcas")]:
            tls["ca"] = authorities[0]
        if server_name := text(transport, "serverName"):
            tls["server_name"] = server_name
        for pair in find(transport, "certificates").items()[:1]:
            tls["certificate"], tls["key"] = text(pair, "certFile"), text(pair, "keyFile")
        if tls:
            part.data["tls"] = tls
        timeouts = find(transport, "forwardingTimeouts")
        timeout = {}
        for key, own in (("dialTimeout", "connect"), ("responseHeaderTimeout", "response")):
            if (found := seconds(timeouts, key)) is not None and found > 0:
                timeout[own] = found
        if timeout:
            part.data["timeout"] = timeout
        if (idle := seconds(timeouts, "idleConnTimeout")) is not None and idle > 0:
            part.data["idle_connection_timeout"] = idle

    def _say_timeouts(self, where: Where, part: Part) -> None:
        """That Traefik waits longer where nothing is written, once."""
        if self._has_said or {"connect", "response"} <= part.data.get("timeout", {}).keys():
            return
        self._has_said = True
        why = "a connection may take 5 s, and a response 30 s to begin; Traefik waits 30 s, and without end"
        self._draft.changed(where, "forwardingTimeouts", f"{why}: timeout of a service says otherwise")

    def _weighted(self, name: str, weighted: Value, depth: int) -> Target:
        sides: list[dict[str, Any]] = []
        keys = set()
        for each in find(weighted, "services").items():
            inner = self.target(text(each, "name").partition("@")[0], depth + 1)
            if inner.closed or set(inner.route) != {"service"}:
                return Target(closed=inner.closed or f"service {name} is made of others that are no servers")
            weight = find(each, "weight")
            sides.append({**inner.route, "weight": 1 if weight.raw is None else weight.whole()})
            keys.add(inner.key)
        if not sides:
            return Target(closed=f"service {name} has no services")
        route: dict[str, Any] = {"split": sides}
        cookie = find(weighted, "sticky", "cookie")
        if cookie.raw is not None:
            own = text(cookie, "name", default="auto") if isinstance(cookie.raw, dict) else "auto"
            route["sticky"] = {"cookie": own}
        self._draft.taken(weighted.where, f"service {name}", "it is a split")
        return Target(route, key=frozenset(keys))

    def _mirrored(self, name: str, mirroring: Value, depth: int) -> Target:
        main = self.target(text(mirroring, "service").partition("@")[0], depth + 1)
        if main.closed:
            return main
        mirrors: list[dict[str, Any]] = []
        for each in find(mirroring, "mirrors").items():
            inner = self.target(text(each, "name").partition("@")[0], depth + 1)
            if inner.closed or set(inner.route) != {"service"}:
                self._draft.left(each.where, f"mirror of {name}", inner.closed or "it is made of others")
                continue
            percent = find(each, "percent")
            share = 0 if percent.raw is None else percent.whole()
            if 0 < share <= 100:
                mirrors.append({**inner.route, "share": f"{share}%"})
        size = find(mirroring, "maxBodySize")
        for mirror in mirrors:
            if not flag(mirroring, "mirrorBody", default=True):
                mirror["max_body"] = 0
            elif size.raw is not None and size.whole() >= 0:
                mirror["max_body"] = size.whole()
        self._draft.taken(mirroring.where, f"service {name}", "its copies are a mirror of the route")
        return Target({**main.route, **({"mirror": mirrors} if mirrors else {})}, key=main.key)

    def _failing_over(self, name: str, failover: Value, depth: int) -> Target:
        """The instances of the second as backups of the first's."""
        main = self.target(text(failover, "service").partition("@")[0], depth + 1)
        second = self.target(text(failover, "fallback").partition("@")[0], depth + 1)
        if main.closed or set(main.route) != {"service"}:
            return main if main.closed else Target(closed=f"service {name} fails over from what is no list of servers")
        if second.closed or set(second.route) != {"service"}:
            why = second.closed or "it is made of others"
            self._draft.left(find(failover, "fallback").where, f"fallback of {name}", why)
            return main
        parts = [self._draft.services[each.route["service"]] for each in (main, second)]
        first, backups = (_instances(part.data) for part in parts)
        data = {key: value for key, value in parts[0].data.items() if key not in ("url", "instances")}
        known = {instance["url"] for instance in first}
        every = [*first, *({**each, "backup": True} for each in backups if each["url"] not in known)]
        own = self._named(name)
        part = Part(failover.where, {"instances": every, **data})
        self._draft.services[own] = part
        self._draft.changed(failover.where, f"service {name}", "the fallback's instances are backups", part)
        return Target({"service": own}, key=main.key)


def _instances(data: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"url": data["url"]}] if "url" in data else data["instances"]
