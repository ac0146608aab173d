"""From a configuration to a snapshot: every route compiled, every instance with the state that it already had."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from random import randrange
from typing import Any, Final

from portico.config import Config, MaxRequests, ResolvedRoute, ServiceSettings, Upstream
from portico.core.errors import Answer
from portico.core.found import Found
from portico.core.slices import Steps, at_once
from portico.observe.metrics import Metrics
from portico.policies import Policy, State, build_chain
from portico.policies.counters.shared_buckets import BucketTable
from portico.policies.counters.shared_limits import SharedLimits
from portico.policies.identity import Signer
from portico.proxy.gateway import Snapshot
from portico.proxy.headers.forwarded import RESPONSE_DROP
from portico.proxy.routing.places import Places
from portico.proxy.routing.route import Handling, LocalRoute, Rewrite, Route
from portico.proxy.routing.router import Router, Rule
from portico.snapshot.compiled import balancing_of, latency_wanted, retry_of, timeouts_of, trip_of
from portico.snapshot.upstream_tls import UpstreamContexts
from portico.upstreams.adaptive_limit import AdaptiveLimit
from portico.upstreams.breaker import OPEN
from portico.upstreams.breakers import Breakers
from portico.upstreams.hedging import Hedging
from portico.upstreams.instance import Address, Instance
from portico.upstreams.instance_state import InstanceState
from portico.upstreams.latency import Latency
from portico.upstreams.limit import Limit
from portico.upstreams.named_instance import NamedInstance, is_literal
from portico.upstreams.service import Retry, Service, Timeouts
from portico.wire.deadlines import Deadlines
from portico.wire.turn import Turn

CONTROL_PATHS: Final = ("/", "/health", "/metrics")
"""The gateway's own endpoints, which the control process answers."""

UNLIMITED_PATHS: Final = frozenset({"/metrics"})
"""Those of them that no rate limit holds for: a monitor must see a gateway that refuses others."""

_OWN_REQUESTS: Final = 64
"""Requests for each of them that a worker may have under way: what the control process is asked, it works off alone."""
_OWN_WAITING: Final = 448
_OWN_PATIENCE: Final = 5.0
"""How many more may wait for that, and for how many seconds.

To wait costs next to nothing. Clients that are refused come again at once, and each time cost what an answer costs.
"""

_READS: Final = frozenset({b"GET", b"HEAD", b"OPTIONS"})


def upstream_key(service: str, version: str | None, upstream: Upstream) -> str:
    """What names a set of instances: a version that shares its service's instances shares their health too."""
    return service if version is None or upstream.shared else f"{service}@{version}"


class SnapshotBuilder:
    """Builds snapshots; what is alive (connections, health, limits, verified tokens) goes from one to the next."""

    def __init__(
        self,
        deadlines: Deadlines,
        turn: Turn,
        control_socket: Path,
        local_answers: Mapping[str, Callable[[], Answer]],
        metrics: Metrics,
        shared: SharedLimits | None = None,
        table: BucketTable | None = None,
        ejected: Callable[[str, str, bool], None] = lambda *_: None,
    ) -> None:
        self.shared = shared
        """What counts limits in Redis, for the snapshots to come."""
        self.table = table
        """Where workers count those that need no Redis, in the same way."""
        self._deadlines = deadlines
        self._turn = turn
        self._local_answers = local_answers
        self._metrics = metrics
        self._breakers = Breakers(deadlines, metrics.openings, self._refresh, ejected)
        self._state = State()
        self._instances: dict[tuple[str, str, str], Instance] = {}
        self._limits: dict[str, Limit] = {}
        self._services: list[Service] = []
        self._found: dict[str, Sequence[Found]] = {}
        """The instances that registered, by service."""
        self._changing: dict[tuple[str, str | None], tuple[ServiceSettings, Service]] = {}
        """Services, by name and version, whose instances come and go."""
        self._contexts = UpstreamContexts()
        self._shared: dict[object, Any] = {}
        self._control = Instance(Address("portico", path=str(control_socket)), deadlines, turn, RESPONSE_DROP)
        self._own_services = {path: self._own_service() for path in CONTROL_PATHS}

    def build(self, config: Config, generation: int) -> Snapshot:
        """Raises CertificateError where a file of a service's TLS cannot be used; nothing has changed then."""
        return at_once(self.building(config, generation))

    def building(self, config: Config, generation: int) -> Steps[Snapshot]:
        """`build`, in steps; the builder must not be told of health between them, nor asked for another snapshot."""
        self._prepare_tls(config)
        instances: dict[tuple[str, str, str], Instance] = {}
        limits: dict[str, Limit] = {}
        self._shared = {}
        services: dict[tuple[str, str | None], Service] = {}
        changing: dict[tuple[str, str | None], tuple[ServiceSettings, Service]] = {}
        consumers = config.consumer_rates
        router: Router[Route | LocalRoute] = Router()
        for written in config.all_routes:
            key = (written.service, written.version)
            if key not in services:
                services[key] = self._service(config, written, instances, limits)
                if config.services[written.service].discover is not None:
                    changing[key] = config.services[written.service], services[key]
                self._services.append(services[key])  # beside the old ones: breakers may open and close meanwhile
            route = self._route(written, services[key], consumers)
            methods = frozenset(method.encode() for method in written.methods) or None
            if methods and b"GET" in methods:
                methods |= {b"HEAD"}
            headers = tuple((name.lower().encode(), value.encode()) for name, value in written.headers.items())
            router.add(Rule(written.path, route, written.hosts, methods, headers))
            yield
        taken = any(route.path == "/" and not route.hosts for route in config.all_routes)
        for rule in self._own_rules(config, taken):
            router.add(rule)
        self._services, self._changing = [*services.values()], changing
        known, self._instances = self._instances, instances
        self._limits = limits
        for identity, instance in known.items():
            if identity not in instances:
                self._let_go(identity, instance)
        self._state.sweep()
        reads_forwarded = config.gateway.trusted_headers == "forwarded"
        return Snapshot(generation, Places(router), config.gateway.trusted_proxies, reads_forwarded)

    def learn(self, found: Mapping[str, Sequence[Found]]) -> None:
        """All instances that are registered, by service."""
        for service in {*self._found, *found}:
            self.discover(service, found.get(service, ()))

    def discover(self, name: str, found: Sequence[Found]) -> None:
        """All instances of one service that are registered: those that are new get requests, those that went none."""
        if list(self._found.get(name, ())) == list(found):
            return
        self._found[name] = found
        if not found:
            del self._found[name]
        members: dict[tuple[str, str, str], Instance] = {}
        keys = set()
        now = time.monotonic()
        for (service_name, version), (settings, service) in self._changing.items():
            if service_name == name:
                upstream = settings.upstream(version, found)
                keys.add(key := upstream_key(name, version, upstream))
                coming = self._members(key, upstream, members)
                for instance, _ in coming:
                    if instance not in service.instances and instance.in_flight == 0:
                        instance.returned = now
                start = randrange(len(coming)) if coming else 0  # noqa: S311 - turns stay even where sets change often
                service.replace(coming[start:] + coming[:start])
        for identity in [each for each in self._instances if each[0] in keys and each not in members]:
            self._let_go(identity, self._instances.pop(identity))
        self._instances |= members

    def _let_go(self, identity: tuple[str, str, str], instance: Instance) -> None:
        instance.retire()
        if not any(other[:2] == identity[:2] for other in self._instances):
            self._breakers.forget(*identity[:2])

    def set_health(self, states: list[tuple[str, str, bool]]) -> None:
        """Take instances out of the turns or back into them: upstream key, URL, healthy."""
        healthy = {(key, url): is_healthy for key, url, is_healthy in states}
        for (key, url, _), instance in self._instances.items():
            state = healthy.get((key, url), instance.healthy)
            if state != instance.healthy:
                instance.healthy = state
                if state:
                    instance.returned = time.monotonic()
                self._refresh(instance)

    def check_passed(self, key: str, url: str) -> None:
        """An active check of an instance passed that had begun after its breaker opened."""
        for identity, instance in self._instances.items():
            if identity[:2] == (key, url) and instance.breaker is not None:
                instance.breaker.check_passed()

    def ejected(self) -> list[tuple[str, str, bool]]:
        """The instances whose breakers are open: upstream key, URL, `doubts_checks`."""
        return [
            (key, url, instance.breaker.doubts_checks)
            for (key, url, _), instance in self._instances.items()
            if instance.breaker is not None and instance.breaker.state == OPEN
        ]

    def breaker_states(self) -> list[tuple[str, str, int]]:
        """The state of every breaker: upstream key, URL, one of those of `Breaker`."""
        return [
            (key, url, instance.breaker.state)
            for (key, url, _), instance in self._instances.items()
            if instance.breaker is not None
        ]

    def instance_states(self) -> list[tuple[str, str, InstanceState, int, float]]:
        """Instances of which there is more to say than that they are active and idle.

        Each is upstream key, URL, state, exchanges under way, and the seconds that its breaker stays open.
        """
        now = time.monotonic()
        exceptions: dict[Instance, InstanceState] = {}
        for service in self._services:
            exceptions.update(service.exceptions(now))
        return [
            (
                key,
                url,
                exceptions.get(instance, InstanceState.ACTIVE),
                instance.in_flight,
                max(0.0, instance.breaker.seconds_left(now)) if instance.breaker is not None else 0.0,
            )
            for (key, url, _), instance in self._instances.items()
            if instance.in_flight or instance in exceptions
        ]

    def load(self) -> dict[str, tuple[int, int | None, int]]:
        """By upstream key: exchanges under way at the instances, the limit if there is one, and those who wait."""
        running: dict[str, int] = {}
        for (key, _, _), instance in self._instances.items():
            running[key] = running.get(key, 0) + instance.in_flight
        limits = {key: (limit.most, len(limit.waiting)) for key, limit in self._limits.items()}
        return {key: (count, *limits.get(key, (None, 0))) for key, count in running.items()}

    def refresh_files(self) -> bool:
        """Whether files of services' TLS have changed; a new snapshot brings them into use."""
        return self._contexts.refresh()

    def prune(self) -> None:
        """Forget connections that closed while they were idle."""
        for instance in (*self._instances.values(), self._control):
            instance.prune()

    def close(self) -> None:
        """Close every idle connection."""
        for instance in (*self._instances.values(), self._control):
            instance.close()

    def _refresh(self, instance: Instance) -> None:
        """Have the services that use an instance take notice of its state."""
        for service in self._services:
            if instance in service.instances:
                service.refresh()

    def _prepare_tls(self, config: Config) -> None:
        """Have every context that is needed, of files as they are now."""
        upstreams = (
            service.upstream(version) for service in config.services.values() for version in (None, *service.versions)
        )
        used = {each.tls for each in upstreams if each.may_change or _speaks_tls(each)}
        for settings in used:
            self._contexts.get(settings)
        self._contexts.keep(used)
        self._contexts.refresh()

    def _service(
        self,
        config: Config,
        written: ResolvedRoute,
        coming: dict[tuple[str, str, str], Instance],
        limits: dict[str, Limit],
    ) -> Service:
        found = self._found.get(written.service, ())
        upstream = config.services[written.service].upstream(written.version, found)
        key = upstream_key(written.service, written.version, upstream)
        members = self._members(key, upstream, coming)
        timeouts, retry = timeouts_of(upstream.timeouts, upstream.retry), retry_of(upstream.retry)
        balancing, hedging = balancing_of(upstream), self._hedging(written.service, upstream)
        failover = self._failover(written.service, upstream)
        service = Service(written.service, members, timeouts, retry, self._deadlines, balancing, hedging, failover)
        if upstream.max_requests is not None:
            known = limits.get(key) or self._limits.get(key)
            service.limit = limits[key] = _limit(upstream.max_requests, known)
            service.limit.room, service.limit.patience = upstream.queue.size, upstream.queue.timeout
        return service

    def _members(
        self, key: str, upstream: Upstream, coming: dict[tuple[str, str, str], Instance]
    ) -> list[tuple[Instance, int]]:
        """The instances of an upstream with their weights, each with the state that it has already."""
        members = []
        trip = trip_of(upstream)
        wants_latency = latency_wanted(upstream)
        for settings in upstream.instances:
            tls = self._contexts.get(upstream.tls) if settings.scheme == "https" else None
            identity = (key, settings.url, f"{upstream.tls!r} {tls.version}" if tls else "")
            instance = coming.get(identity) or self._instances.get(identity)
            if instance is None:
                address = Address(
                    settings.authority,
                    settings.host,
                    settings.port,
                    tls=tls.value if tls else None,
                    server_name=upstream.tls.server_name,
                )
                kind = Instance if is_literal(settings.host) else NamedInstance
                instance = kind(address, self._deadlines, self._turn, RESPONSE_DROP)
                instance.healthy = all(
                    old.healthy for place, old in self._instances.items() if place[:2] == identity[:2]
                )
            instance.idle_time = upstream.idle_connection_timeout
            instance.latency = (instance.latency or Latency()) if wants_latency else None
            instance.max_connections = upstream.max_connections or sys.maxsize
            if isinstance(instance, NamedInstance):
                instance.host_name.refresh = upstream.dns_refresh
            self._breakers.equip(instance, key, settings.url, trip)
            coming[identity] = instance
            members.append((instance, settings.weight))
        return members

    def _hedging(self, service: str, upstream: Upstream) -> Hedging | None:
        hedge, metrics = upstream.hedge, self._metrics
        if hedge is None:
            return None
        return Hedging(service, hedge.after, hedge.budget, metrics.hedges, metrics.hedges_won)

    def _failover(self, service: str, upstream: Upstream) -> Hedging | None:
        """Second tries beside instances that are silent: within the budget of retries, for those that they are."""
        retry, metrics = upstream.retry, self._metrics
        is_alone = len(upstream.instances) < 2 and not upstream.may_change
        if is_alone or not retry.attempts or not retry.silence:
            return None
        return Hedging(service, retry.silence, retry.budget, metrics.hedges, metrics.hedges_won)

    def _route(self, written: ResolvedRoute, service: Service, consumers: Mapping[str, Any]) -> Route:
        prefix = _prefix_of(written)
        return Route(
            name=written.name,
            handling=self._handling(written, service, consumers),
            rewrite=Rewrite.of(written.rewrite),
            prefix=prefix,
            forwarded=b"X-Forwarded-Prefix: %b\r\n" % prefix if prefix else b"",
        )

    def _handling(self, written: ResolvedRoute, service: Service, consumers: Mapping[str, Any]) -> Handling:
        timeouts = self._alike(
            ("timeouts", id(written.timeouts), id(written.retry)), lambda: timeouts_of(written.timeouts, written.retry)
        )
        handling = Handling(
            service=service,
            service_name=service.name,
            policies=self._chain(written.policies, consumers),
            timeouts=timeouts,
            retry=self._alike(("retry", id(written.retry)), lambda: retry_of(written.retry)),
            preserve_host=written.preserve_host,
            answers_preflights="cors" in written.policies,
            upgrades=frozenset(protocol.encode() for protocol in written.upgrades),
            trailers=frozenset(name.lower().encode() for name in written.trailers),
            signer=self._signer(written),
        )
        values = (getattr(handling, field.name) for field in fields(Handling))
        key = tuple(value if isinstance(value, bool | frozenset) else id(value) for value in values)
        shared: Handling = self._alike(("handling", *key), lambda: handling)
        return shared

    def _signer(self, written: ResolvedRoute) -> Signer | None:
        if "identity" not in written.policies:
            return None
        settings, _ = written.policies["identity"]
        signer: Signer = self._alike(
            ("identity", id(settings), written.service), lambda: Signer(settings, written.service)
        )
        return signer

    def _chain(self, written: Mapping[str, tuple[Any, str]], consumers: Mapping[str, Any]) -> tuple[Policy, ...]:
        key = tuple((name, id(settings), scope) for name, (settings, scope) in written.items())
        chain: tuple[Policy, ...] = self._alike(
            key, lambda: build_chain(written, self._state, consumers, self.shared, self.table)
        )
        return chain

    def _alike(self, key: object, make: Callable[[], Any]) -> Any:
        """What alike routes share: what is in use by all of them stays in the processor's caches."""
        if key not in self._shared:
            self._shared[key] = make()
        return self._shared[key]

    def _own_service(self) -> Service:
        """The control process, for one endpoint: callers of another one do not use up what this one may have."""
        timeouts = Timeouts(response=15.0, silence=15.0)
        service = Service("gateway", [(self._control, 1)], timeouts, Retry(attempts=3), self._deadlines)
        service.limit = Limit(_OWN_REQUESTS, _OWN_WAITING, _OWN_PATIENCE)
        return service

    def _own_rules(self, config: Config, taken: bool) -> list[Rule[Route | LocalRoute]]:
        """The gateway's own endpoints; a route that somebody wrote for `/` gets the front page too."""
        rules: list[Rule[Route | LocalRoute]] = [
            Rule(path, LocalRoute(path, answer), methods=_READS, exact=True)
            for path, answer in self._local_answers.items()
        ]
        for path in CONTROL_PATHS:
            if path == "/" and taken:
                continue
            own = {
                key: settings
                for key, settings in config.own_policies.items()
                if key != "rate_limit" or path not in UNLIMITED_PATHS
            }
            chain = build_chain(own, self._state, {}, self.shared, self.table)
            service = self._own_services[path]
            handling = Handling(
                service=service,
                service_name=service.name,
                policies=chain,
                timeouts=service.timeouts,
                retry=service.retry,
                preserve_host=True,
                answers_preflights="cors" in own,
                upgrades=frozenset(),
                trailers=frozenset(),
            )
            route = Route(path, handling, Rewrite(path.encode(), b"", keeps_path=False), prefix=b"", forwarded=b"")
            rules.append(Rule(path, route, methods=_READS, exact=True))
        return rules


def _speaks_tls(upstream: Upstream) -> bool:
    return any(instance.scheme == "https" for instance in upstream.instances)


def _prefix_of(written: ResolvedRoute) -> bytes:
    """What the public path has before the service's own: `/api/x` for `/{path}`, nothing for `/api/x/{path}`."""
    kept = written.rewrite.removesuffix("/{path}")
    prefix = "" if written.path == "/" else written.path
    return prefix.removesuffix(kept).encode()


def _limit(asked: MaxRequests, known: Limit | None) -> Limit:
    """The limit as it is asked for, with those who are in and those who wait, if there was one of this kind."""
    if isinstance(asked, int):
        limit = known if type(known) is Limit else Limit(asked)
        limit.resize(asked)
        return limit
    least, most = asked.adaptive.least, asked.adaptive.most
    adaptive = known if isinstance(known, AdaptiveLimit) else AdaptiveLimit(least, most)
    adaptive.rebound(least, most)
    return adaptive
