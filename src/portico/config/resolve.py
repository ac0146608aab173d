"""The resolved routes of a configuration: written ones, then the default ones of each service."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Literal

from portico.config.answers import RedirectSettings, RespondSettings
from portico.config.failover import FailoverSettings, failovers_of
from portico.config.levels import Level, Merged, Merger, Policies
from portico.config.mirror import MirrorSettings, mirrors_of
from portico.config.problems import Finding, KeyPath
from portico.config.retries import RetrySettings
from portico.config.rewrites import KEEP, strips
from portico.config.routes import RouteSettings
from portico.config.section import inherit
from portico.config.services import PreserveHost, ServiceSettings, Timeouts, Upstream
from portico.config.split import SideSettings, SplitChoice
from portico.config.sticky import StickySettings
from portico.config.versions import VersionChoice
from portico.core.slices import Steps, at_once
from portico.policies import GATEWAY_KEYS
from portico.policies.auth import AuthSettings
from portico.policies.maintenance import MaintenanceSettings

_NOWHERE: Final = ServiceSettings(url="http://localhost").upstream()
"""What a route without a service has of one: it calls none."""


@dataclass(slots=True, unsafe_hash=True)  # nothing changes one, but frozen ones take half as long again to make
class ResolvedRoute:
    """A route ready to be compiled: `policies` maps each active policy to its settings and scope.

    It has a service, or the `answer` that it gives itself. `source` is where it was written; for a default route, where
    its service was. One to several versions of a service is there for each of them, with the `choice` between them:
    all but the first are its `is_variant`s. So is one with a `split`, for each `side`.
    """

    name: str
    service: str | None
    answer: RespondSettings | RedirectSettings | None
    version: str | None
    path: str
    hosts: tuple[str, ...]
    methods: tuple[str, ...]
    headers: Mapping[str, str]
    query: Mapping[str, str | Literal[True]]
    rewrite: str
    redirect_slash: bool
    encoded_slashes: bool
    case_insensitive: bool
    timeouts: Timeouts
    retry: RetrySettings
    preserve_host: PreserveHost
    body_size: int | None
    upgrades: tuple[str, ...]
    trailers: tuple[str, ...]
    maintenance: MaintenanceSettings | None
    sticky: StickySettings | None
    policies: Merged
    source: KeyPath
    is_default: bool = False
    is_fallback: bool = False
    choice: VersionChoice | None = None
    split: SplitChoice | None = None
    side: SideSettings | None = None
    is_variant: bool = False
    mirrors: tuple[MirrorSettings, ...] = ()
    failovers: tuple[tuple[FailoverSettings, ResolvedRoute], ...] = ()
    """The same to the services that are asked in its place, in their order."""

    @property
    def match(self) -> tuple[Any, ...]:
        """What it matches: equal for two routes that match the very same requests."""
        headers = tuple(sorted((name.lower(), value) for name, value in self.headers.items()))
        query = tuple(sorted(self.query.items()))
        return self.place, tuple(sorted(set(self.hosts))), tuple(sorted(set(self.methods))), headers, query

    @property
    def place(self) -> str:
        """Its path, as it is shown."""
        return "fallback" if self.is_fallback else self.path


def scope_path(route: ResolvedRoute, scope: str) -> KeyPath:
    """Where the policies of a scope are written."""
    kind = scope.partition(":")[0]
    if kind == "gateway":
        return ("policies",)
    if kind == "route":
        return (*route.source, "policies")
    service: KeyPath = ("services", str(route.service))
    return (*service, "versions", str(route.version), "policies") if "@" in scope else (*service, "policies")


@dataclass(frozen=True, slots=True)
class Resolved:
    """All routes in order, the policies of the gateway's own responses, and problems of policies."""

    routes: tuple[ResolvedRoute, ...]
    own_policies: Merged
    own_auth: AuthSettings | None
    """How callers of the gateway's own endpoints prove who they are, where those ask for it."""
    findings: list[Finding]


def resolve(
    services: Mapping[str, ServiceSettings],
    routes: Sequence[RouteSettings],
    policies: Policies,
    defaults: Mapping[str, Any],
) -> Resolved:
    """Resolve every route. A written route to an unknown service or version is left out."""
    return at_once(resolving(services, routes, policies, defaults))


def resolving(
    services: Mapping[str, ServiceSettings],
    routes: Sequence[RouteSettings],
    policies: Policies,
    defaults: Mapping[str, Any],
    found: Collection[str] = (),
) -> Steps[Resolved]:
    """`resolve`, in steps. Services that were `found` are written at `discover.service`."""
    resolver = _Resolver(services, routes, policies, Merger(defaults), frozenset(found))
    resolved = []
    yield from resolver.merging()
    for route in resolver.routes():
        resolved.append(route)
        yield
    gateway = resolver.merger.merge([resolver.gateway], complete=False)
    own = {key: policy for key, policy in gateway.items() if key in GATEWAY_KEYS}
    auth = resolver.merger.alone("auth", resolver.gateway)
    own_auth = auth if isinstance(auth, AuthSettings) else None
    return Resolved(tuple(resolved), own, own_auth, resolver.merger.findings)


class _Resolver:
    def __init__(
        self,
        services: Mapping[str, ServiceSettings],
        written: Sequence[RouteSettings],
        policies: Policies,
        merger: Merger,
        found: frozenset[str],
    ) -> None:
        self.services = services
        self.found = found
        self.written = written
        self.merger = merger
        self.gateway = Level("gateway", policies, ("policies",))
        self.names = {route.name for route in written if route.name}
        self.numbers: dict[str, int] = {}
        self.upstreams: dict[tuple[str, str | None], tuple[Upstream, list[Level]]] = {}

    def merging(self) -> Iterator[None]:
        """Find what is wrong with the policies of every service, also of one that no route leads to, in steps."""
        for name, service in self.services.items():
            for version in (None, *service.versions):
                self.merger.merge(self._upstream(name, version)[1], complete=False)
            yield

    def routes(self) -> Iterator[ResolvedRoute]:
        for index, route in enumerate(self.written):
            split = route.choice
            if split is not None:
                yield from self._split(route, index, split)
                continue
            if route.service is None:
                if route.respond or route.redirect:
                    name = route.name or self._free_name("respond" if route.respond else "redirect", None)
                    yield self._written(route, index, name, None, None, [self.gateway], _NOWHERE)
                continue
            target = self.services.get(route.service)
            if target and (route.version is None or route.version in target.versions):
                choice = target.choice(route.service) if route.version is None else None
                name = route.name or self._free_name(route.service, route.version)
                make = partial(self._to_service, route, index, name, route.service)
                yield from self._for_each(choice, route.version, make)
        open_routes = [route for route in self.written if not (route.narrows or route.fallback)]
        taken = {(service, route.path) for route in open_routes for service, _ in route.targets}
        for name, service in self.services.items():
            if service.default_routes:
                yield from (route for route in self._defaults(name, service) if (name, route.path) not in taken)

    def _upstream(self, name: str, version: str | None) -> tuple[Upstream, list[Level]]:
        key = (name, version)
        if key not in self.upstreams:
            service, path = self.services[name], self._source(name)
            levels = [self.gateway, Level(f"service:{name}", service.policies, (*path, "policies"))]
            if version is not None:
                policies = service.versions[version].policies
                levels.append(Level(f"service:{name}@{version}", policies, (*path, "versions", version, "policies")))
            self.upstreams[key] = service.upstream(version), levels
        return self.upstreams[key]

    def _for_each(
        self, choice: VersionChoice | None, version: str | None, make: Callable[[str | None], ResolvedRoute]
    ) -> Iterator[ResolvedRoute]:
        """A route to one version, or to each that it chooses from."""
        if choice is None:
            yield make(version)
            return
        for index, each in enumerate(choice.order):
            yield replace(make(each), choice=choice, is_variant=index > 0)

    def _split(self, route: RouteSettings, index: int, split: SplitChoice) -> Iterator[ResolvedRoute]:
        """A route to each side, if all of them exist."""
        if any(side.service not in self.services for side in split.sides):
            return
        if any(side.version not in (None, *self.services[side.service].versions) for side in split.sides):
            return
        name = route.name or self._free_name(split.sides[0].service, split.sides[0].version)
        for number, side in enumerate(split.sides):
            made = self._to_service(route, index, name, side.service, side.version)
            yield replace(made, split=split, side=side, is_variant=number > 0)

    def _to_service(
        self, route: RouteSettings, index: int, name: str, service: str, version: str | None
    ) -> ResolvedRoute:
        upstream, levels = self._upstream(service, version)
        made = self._written(route, index, name, service, version, levels, upstream)
        if route.failover is None:
            return made
        failovers = [each for each in failovers_of(route.failover) if self._exists(each.service, each.version)]
        return replace(made, failovers=tuple([(each, self._instead(route, index, name, each)) for each in failovers]))

    def _exists(self, service: str, version: str | None) -> bool:
        return service in self.services and version in (None, *self.services[service].versions)

    def _instead(self, route: RouteSettings, index: int, name: str, failover: FailoverSettings) -> ResolvedRoute:
        """The same route to another service."""
        upstream, levels = self._upstream(failover.service, failover.version)
        made = self._written(route, index, name, failover.service, failover.version, levels, upstream)
        timeouts, retry = upstream.timeouts, upstream.retry
        return replace(made, rewrite=failover.rewrite or made.rewrite, timeouts=timeouts, retry=retry, mirrors=())

    def _written(
        self,
        route: RouteSettings,
        index: int,
        name: str,
        service: str | None,
        version: str | None,
        levels: list[Level],
        upstream: Upstream,
    ) -> ResolvedRoute:
        source: KeyPath = ("routes", index)
        rewrite = route.becomes
        if route.rewrite is None and upstream.rewrite is not None and rewrite != KEEP:
            rewrite = upstream.rewrite
        own = Level(f"route:{name}", route.policies, (*source, "policies"))
        strips_prefix = not route.fallback and strips(route.place, rewrite)
        return ResolvedRoute(
            name=name,
            service=service,
            answer=route.respond or route.redirect,
            version=version,
            path=route.place,
            hosts=tuple(route.hosts),
            methods=tuple(route.methods),
            headers=route.headers,
            query=route.query,
            rewrite=rewrite,
            redirect_slash=strips_prefix
            and (upstream.redirect_slash if route.redirect_slash is None else route.redirect_slash),
            encoded_slashes=route.encoded_slashes,
            case_insensitive=upstream.case_insensitive,
            retry=inherit(route.retries, upstream.retry) if route.retries else upstream.retry,
            timeouts=inherit(route.timeout, upstream.timeouts) if route.timeout else upstream.timeouts,
            preserve_host=upstream.preserve_host if route.preserve_host is None else route.preserve_host,
            body_size=upstream.body_size if route.body_size is None else route.body_size,
            upgrades=upstream.upgrades if route.upgrades is None else route.upgrades,
            trailers=upstream.trailers if route.trailers is None else route.trailers,
            maintenance=route.maintenance if "maintenance" in route.model_fields_set else upstream.maintenance,
            sticky=upstream.sticky,
            policies=self.merger.merge([*levels, own]),
            source=source,
            is_fallback=route.fallback,
            mirrors=mirrors_of(route.mirror),
        )

    def _defaults(self, name: str, service: ServiceSettings) -> Iterator[ResolvedRoute]:
        choice = service.choice(name)
        if service.has_instances or choice:
            make = partial(self._default, name, self._free_name(name, None), f"/api/{name}", "/{path}")
            yield from self._for_each(choice, None, make)
        for version in service.versions if "path" in service.version_by else ():
            make = partial(self._default, name, self._free_name(name, version), f"/{version}/{name}", "/api/{path}")
            yield from self._for_each(service.choice(name, version), version, make)

    def _default(self, service: str, name: str, path: str, rewrite: str, version: str | None) -> ResolvedRoute:
        upstream, levels = self._upstream(service, version)
        rewrite = upstream.rewrite or rewrite
        return ResolvedRoute(
            name=name,
            service=service,
            answer=None,
            version=version,
            path=path,
            hosts=(),
            methods=(),
            headers={},
            query={},
            rewrite=rewrite,
            redirect_slash=upstream.redirect_slash and strips(path, rewrite),
            encoded_slashes=False,
            case_insensitive=upstream.case_insensitive,
            timeouts=upstream.timeouts,
            retry=upstream.retry,
            preserve_host=upstream.preserve_host,
            body_size=upstream.body_size,
            upgrades=upstream.upgrades,
            trailers=upstream.trailers,
            maintenance=upstream.maintenance,
            sticky=upstream.sticky,
            policies=self.merger.merge(levels),
            source=(*self._source(service), *(("versions", version) if version else ())),
            is_default=True,
        )

    def _source(self, service: str) -> KeyPath:
        """Where a service is written."""
        return ("discover", "service") if service in self.found else ("services", service)

    def _free_name(self, service: str, version: str | None) -> str:
        """`SERVICE` or `SERVICE-VERSION`, with a number appended where that is taken."""
        wanted = name = f"{service}-{version}" if version else service
        while name in self.names:
            self.numbers[wanted] = number = self.numbers.get(wanted, 1) + 1
            name = f"{wanted}-{number}"
        self.names.add(name)
        return name
