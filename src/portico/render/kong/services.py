"""Services and upstreams of Kong: one service for each way in which routes speak to one of Portico's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from portico.config import Config, ConsistentHashSettings, CookieKey, HeaderKey, ResolvedRoute, Upstream
from portico.config.instances import InstanceSettings
from portico.config.problems import KeyPath
from portico.config.services import preserved
from portico.render.kong.names import Names
from portico.render.kong.paths import Paths
from portico.render.losses import Losses

ServiceKey: TypeAlias = tuple[Any, ...]
_LONGEST: Final = 2**31 - 2
"""Milliseconds that a timeout may have."""
_HEAVIEST: Final = 65535


@dataclass(slots=True)
class Services:
    """Collects them. `bodies` are the services without their routes, `notes` what is said of them."""

    config: Config
    losses: Losses
    names: Names
    bodies: dict[ServiceKey, dict[str, Any]] = field(default_factory=dict)
    notes: dict[ServiceKey, str] = field(default_factory=dict)
    upstreams: dict[tuple[str, ...], dict[str, Any]] = field(default_factory=dict)
    _known: dict[tuple[str, str | None], Upstream] = field(default_factory=dict)

    def upstream(self, route: ResolvedRoute) -> Upstream:
        """The service of a route, or the version of it."""
        key = (str(route.service), route.version)
        if key not in self._known:
            self._known[key] = self.config.services[key[0]].upstream(key[1])
        return self._known[key]

    def preserves_host(self, route: ResolvedRoute) -> bool:
        """Whether a service gets the client's Host."""
        return preserved(route.preserve_host, self.upstream(route).instances[0])

    def of(self, sides: Sequence[ResolvedRoute], paths: Paths) -> ServiceKey | None:
        """The service of a route with several sides, or one; None where Kong reaches no instance of it."""
        route = sides[0]
        instances = [(each, side) for side in sides for each in self._instances(side)]
        if not any(each.weight for each, _ in instances):
            return None
        labels = tuple(_label(side) for side in sides)
        weights = tuple(side.side.weight for side in sides if side.side is not None) if len(sides) > 1 else ()
        times, retry = route.timeouts, route.retry
        key = (
            labels,
            weights,
            route.name if weights else "",
            times.connect,
            times.response,
            retry.attempts,
            paths.base,
        )
        if key not in self.bodies:
            self._say(sides, instances)
            self.bodies[key] = self._body(sides, instances, paths.base)
            what = f"service {labels[0]}" if len(sides) == 1 else f"services {', '.join(labels)}"
            more = f", below {paths.base}" if paths.base else ""
            self.notes[key] = what.replace("@", ", version ") + more
        if route.choice is not None:
            services: KeyPath = ("services", str(route.service), "version_by")
            self.losses.add(services, "Kong does not choose versions: all requests get the first one")
        if any(cause != "connect" for cause in retry.on) and "on" in retry.model_fields_set:
            at: KeyPath = ("services", str(route.service)) if route.is_default else route.source
            self.losses.add(
                (*at, "retries"), "Kong asks again where it gets no connection, and where one breaks; for no status"
            )
        return key

    def _instances(self, route: ResolvedRoute) -> list[InstanceSettings]:
        at = ("services", str(route.service))
        found = []
        for each in self.upstream(route).instances:
            if each.socket:
                self.losses.add((*at, "url"), "Kong reaches no service by a socket: this instance is left out")
            elif each.backup:
                self.losses.add((*at, "instances"), "Kong has no instances for when the others fail: they are left out")
            else:
                found.append(each)
        return found

    def _say(self, sides: Sequence[ResolvedRoute], instances: Sequence[tuple[InstanceSettings, ResolvedRoute]]) -> None:
        """What Kong does otherwise with these instances."""
        for side in sides:
            at, upstream = ("services", str(side.service)), self.upstream(side)
            own = [each for each, of in instances if of is side]
            if len({each.scheme for each in own}) > 1:
                self.losses.add((*at, "instances"), "Kong speaks either http or https to all instances; this is https")
            if len({preserved(side.preserve_host, each) for each in own}) > 1:
                self.losses.add((*at, "instances"), "Kong sends the client's Host to all of them or to none")
            if upstream.upgrades not in ((), ("websocket",)):
                self.losses.add((*at, "upgrades"), "in Kong clients may switch to websocket alone")
            if upstream.tls.ca is not None or upstream.tls.certificate is not None or upstream.tls.server_name:
                why = "Kong has certificates in its file, by an id: add them there, with ca_certificates of the service"
                self.losses.add((*at, "tls"), why)
        if len({each.scheme for each, _ in instances}) > 1 and len(sides) > 1:
            self.losses.add((*sides[0].source, "split"), "Kong speaks either http or https to all sides; this is https")

    def _body(
        self,
        sides: Sequence[ResolvedRoute],
        instances: Sequence[tuple[InstanceSettings, ResolvedRoute]],
        base: str | None,
    ) -> dict[str, Any]:
        route = sides[0]
        scheme = "https" if any(each.scheme == "https" for each, _ in instances) else "http"
        label = route.name if len(sides) > 1 else _label(route).replace("@", "-")
        body: dict[str, Any] = {"name": self.names.free("service", label)}
        upstream, alone = self.upstream(route), instances[0][0]
        if len(instances) == 1 and not self._is_checked(route):
            host = f"[{alone.host}]" if ":" in alone.host else alone.host
            body["url"] = f"{scheme}://{host}:{alone.port}{base or ''}"
        else:
            port = 443 if scheme == "https" else 80
            body |= {"protocol": scheme, "host": self._upstream(sides, instances, label, scheme), "port": port}
            body |= {"path": base} if base else {}
        times, retry = route.timeouts, route.retry
        if scheme == "https":
            body["tls_verify"] = upstream.tls.verify
        return {
            **body,
            "retries": retry.attempts,
            "connect_timeout": _milliseconds(times.connect),
            "write_timeout": _milliseconds(times.response),
            "read_timeout": _milliseconds(times.response),
        }

    def _is_checked(self, route: ResolvedRoute) -> bool:
        """Whether checks are written: without, a service with one instance needs no upstream."""
        service = self.config.services[str(route.service)]
        written = {
            *service.model_fields_set,
            *(service.versions[route.version].model_fields_set if route.version else ()),
        }
        return self.upstream(route).health is not None and "health_check" in written

    # ---- upstreams

    def _upstream(
        self,
        sides: Sequence[ResolvedRoute],
        instances: Sequence[tuple[InstanceSettings, ResolvedRoute]],
        label: str,
        scheme: str,
    ) -> str:
        is_shared = len(sides) == 1 and self.upstream(sides[0]).shared
        label = str(sides[0].service) if is_shared else label
        key = (scheme, *(_label(side) for side in sides), sides[0].name) if len(sides) > 1 else (scheme, label)
        if key not in self.upstreams:
            upstream = self.upstream(sides[0])
            body: dict[str, Any] = {"name": self.names.upstream(label)}
            body |= self._split_sticky(sides[0]) if len(sides) > 1 else self._balancing(sides[0], upstream)
            if checks := self._checks(sides[0], upstream, scheme):
                body["healthchecks"] = {"active": checks}
            body["targets"] = [*_targets(sides, instances)]
            self.upstreams[key] = body
        return str(self.upstreams[key]["name"])

    def _balancing(self, route: ResolvedRoute, upstream: Upstream) -> dict[str, Any]:
        chosen, at = upstream.load_balancing, ("services", str(route.service), "load_balancing")
        if upstream.sticky is not None:
            return self._sticky(route, upstream)
        if isinstance(chosen, ConsistentHashSettings):
            return _hashed(chosen.consistent_hash)
        if chosen == "least_connections":
            return {"algorithm": "least-connections"}
        if chosen != "round_robin":
            self.losses.add(at, "Kong has no such way to balance: this is round-robin")
        return {}

    def _sticky(self, route: ResolvedRoute, upstream: Upstream) -> dict[str, Any]:
        at = ("services", str(route.service), "sticky")
        assert upstream.sticky is not None
        if upstream.sticky.cookie is None:
            self.losses.add(at, "Kong does not remember what a service issues")
            return {}
        name = f"portico_{route.service}" if upstream.sticky.cookie == "auto" else upstream.sticky.cookie
        self.losses.add(at, "Kong's cookie is hashed: clients move where instances come and go")
        return _hashed(CookieKey(cookie=name))

    def _split_sticky(self, route: ResolvedRoute) -> dict[str, Any]:
        split = route.split
        assert split is not None
        if split.canary is not None:
            self.losses.add((*route.source, "canary"), "Kong moves no weights: they stay as they begin")
        sticky = split.sticky
        if sticky is None:
            return {}
        if sticky.header is not None:
            return _hashed(HeaderKey(header=sticky.header))
        if sticky.cookie is not None:
            return _hashed(
                CookieKey(cookie=f"portico_split_{route.name}" if sticky.cookie == "auto" else sticky.cookie)
            )
        return {"hash_on": "ip" if sticky.by == "client_ip" else "consumer"}

    def _checks(self, route: ResolvedRoute, upstream: Upstream, scheme: str) -> dict[str, Any]:
        health = upstream.health
        if health is None:
            return {}
        at: KeyPath = ("services", str(route.service), "health_check")
        path, query, _ = (health.path or "").partition("?")
        if query:
            self.losses.add(at, "Kong asks for no query in a check")
        found: dict[str, Any] = {"type": scheme if health.path else "tcp", "timeout": max(1, round(health.timeout))}
        if health.path:
            found["http_path"] = path
        healthy: dict[str, Any] = {"interval": round(health.interval, 3), "successes": health.healthy_after}
        failures = dict.fromkeys(("http_failures", "tcp_failures", "timeouts"), health.unhealthy_after)
        unhealthy: dict[str, Any] = {"interval": min(1, round(health.interval, 3)), **failures}
        if health.path:
            expected = [status for status in range(200, 600) if health.expects(status)]
            healthy["http_statuses"] = [status for status in expected if status in _STATUSES or len(expected) < _FEW]
            unhealthy["http_statuses"] = [status for status in _STATUSES if status not in expected]
        return {**found, "healthy": healthy, "unhealthy": unhealthy}


_STATUSES: Final = (
    *(200, 201, 202, 203, 204, 206, 301, 302, 303, 307, 308),
    *(400, 401, 403, 404, 405, 429, 500, 501, 502, 503, 504, 505),
)
"""Those that services answer: Kong has a list of each that passes and that fails."""
_FEW: Final = 20


def _label(route: ResolvedRoute) -> str:
    return str(route.service) + (f"@{route.version}" if route.version else "")


def _hashed(key: Any) -> dict[str, Any]:
    if isinstance(key, HeaderKey):
        return {"hash_on": "header", "hash_on_header": key.header, "hash_fallback": "ip"}
    if isinstance(key, CookieKey):
        return {"hash_on": "cookie", "hash_on_cookie": key.cookie}
    return {"hash_on": "ip"}


def _targets(
    sides: Sequence[ResolvedRoute], instances: Sequence[tuple[InstanceSettings, ResolvedRoute]]
) -> Iterator[dict[str, Any]]:
    """The instances with their weights; those of a side share the weight of that."""
    weights = [_share(each, of, [other for other, its in instances if its is of]) for each, of in instances]
    if len(sides) > 1 or set(weights) != {1}:
        heaviest, least = max(weights, default=1), min((each for each in weights if each), default=1)
        scale = (
            1 / least
            if heaviest / least < _HEAVIEST and _is_whole([each / least for each in weights])
            else (100 if heaviest <= _HEAVIEST / 100 else _HEAVIEST / heaviest)
        )
        scale = 1 if _is_whole(weights) and heaviest <= _HEAVIEST else scale
        for (each, _), weight in zip(instances, weights, strict=True):
            yield {"target": _address(each), "weight": max(1, round(weight * scale)) if weight else 0}
    else:
        yield from ({"target": _address(each)} for each, _ in instances)


def _share(instance: InstanceSettings, route: ResolvedRoute, others: Sequence[InstanceSettings]) -> float:
    if route.side is None or route.split is None or len(route.split.sides) == 1:
        return instance.weight
    total = sum(each.weight for each in others)
    return route.side.weight * instance.weight / total if total else 0


def _is_whole(weights: Sequence[float]) -> bool:
    return all(weight == int(weight) for weight in weights)


def _address(instance: InstanceSettings) -> str:
    host = f"[{instance.host}]" if ":" in instance.host else instance.host
    return f"{host}:{instance.port}"


def _milliseconds(seconds: float) -> int:
    return min(max(1, round(seconds * 1000)), _LONGEST)
