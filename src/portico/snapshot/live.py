"""The live state of all services: instances, their health, their load, and which are registered.

It goes from one snapshot to the next: a new configuration that leaves an instance alone leaves its connections, its
breaker and what is known about it alone too.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Final, TypeAlias
from weakref import WeakSet

from portico.config import Config, MaxRequests, ServiceSettings, Upstream
from portico.core.fields import RESPONSE_NOTED
from portico.core.found import Found
from portico.core.overrides import Override
from portico.net.addresses import Network
from portico.proxy.split import SplitWeights
from portico.snapshot.compiled import latency_wanted, trip_of
from portico.snapshot.upstream_tls import UpstreamContexts
from portico.upstreams.adaptive_limit import AdaptiveLimit
from portico.upstreams.breaker import OPEN
from portico.upstreams.breakers import Breakers
from portico.upstreams.instance import Address, Instance
from portico.upstreams.instance_state import InstanceState
from portico.upstreams.latency import Latency
from portico.upstreams.limit import Limit
from portico.upstreams.named_instance import NamedInstance, is_literal
from portico.upstreams.reachability import Reachability
from portico.upstreams.service import Service
from portico.wire.deadlines import Deadlines
from portico.wire.turn import Turn

logger: Final = logging.getLogger("portico.upstreams")

Identity: TypeAlias = tuple[str, str, str]
"""What identifies an instance: upstream key, URL, and its TLS settings."""
SplitKey: TypeAlias = tuple[str, tuple[tuple[str, float], ...]]
"""A split route: its name, and its sides with the weights that are written."""


def upstream_key(service: str, version: str | None, upstream: Upstream) -> str:
    """What names a set of instances: a version that shares its service's instances shares their health too."""
    return service if version is None or upstream.shared else f"{service}@{version}"


@dataclass
class Coming:
    """What the snapshot that is being built will use."""

    services: dict[tuple[str, str | None], Service] = field(default_factory=dict)
    """By name and version."""
    changing: dict[tuple[str, str | None], tuple[ServiceSettings, Service, Sequence[Network]]] = field(
        default_factory=dict
    )
    """Those whose instances come and go, with the networks that are allowed by name."""
    instances: dict[Identity, Instance] = field(default_factory=dict)
    limits: dict[str, Limit] = field(default_factory=dict)
    """By upstream key: how many requests may be in flight there."""
    splits: dict[SplitKey, SplitWeights] = field(default_factory=dict)


class LiveServices:
    """All services of a worker, and the control process, which is one more instance in every worker."""

    def __init__(
        self,
        deadlines: Deadlines,
        turn: Turn,
        openings: dict[str, dict[str, int]],
        control: Instance,
        ejected: Callable[[str, str, bool], None] = lambda *_: None,
    ) -> None:
        self._deadlines = deadlines
        self._turn = turn
        self._control = control
        self._breakers = Breakers(deadlines, openings, lambda instance: self._refresh({instance}), ejected)
        self._contexts = UpstreamContexts()
        self._current = Coming()
        self._services: list[Service] = []
        """Those of the current snapshot, and of the next one while that is being built."""
        self._found: dict[str, Sequence[Found]] = {}
        """The instances that registered, by service."""
        self._sent_weights: Mapping[str, Mapping[str, float]] = {}
        self._overrides: Mapping[tuple[str, str], Override] = {}
        """What somebody has said about instances, by upstream key and URL; also of those that are not there now."""
        self._by_url: dict[tuple[str, str], list[Instance]] | None = None
        """The current instances by upstream key and URL; None from a change until they are next needed."""
        self.asked: WeakSet[Instance] = WeakSet()
        """What policies ask, at addresses of their own, for as long as one of them does."""

    # ---- a new snapshot

    def prepare(self, config: Config) -> None:
        """Load every TLS context that is needed, from files as they are now. Raises CertificateError."""
        upstreams = (
            service.upstream(version) for service in config.services.values() for version in (None, *service.versions)
        )
        used = {each.tls for each in upstreams if each.may_change or _speaks_tls(each)}
        for settings in used:
            self._contexts.get(settings)
        self._contexts.keep(used)
        self._contexts.refresh()

    def upstream(self, settings: ServiceSettings, service: str, version: str | None) -> Upstream:
        """A service's or version's settings with the instances that are registered now."""
        return settings.upstream(version, self._found.get(service, ()))

    def members(
        self, key: str, upstream: Upstream, coming: dict[Identity, Instance], named: Sequence[Network]
    ) -> list[tuple[Instance, int]]:
        """The instances of an upstream with their weights, each with the state that it already has.

        Registered names must not resolve to an address that no service may have, unless it is in a `named` network.
        """
        members = []
        trip = trip_of(upstream)
        wants_latency = latency_wanted(upstream)
        for settings in upstream.instances:
            tls = self._contexts.get(upstream.tls) if settings.scheme == "https" else None
            identity = (key, settings.url, f"{upstream.tls!r} {tls.version}" if tls else "")
            instance = coming.get(identity) or self._current.instances.get(identity)
            if instance is None:
                address = Address(
                    settings.authority,
                    "" if settings.socket else settings.host,
                    settings.port,
                    settings.socket,
                    tls=tls.value if tls else None,
                    server_name=upstream.tls.server_name,
                    name=f"unix:{settings.socket}" if settings.socket else "",
                )
                kind = Instance if settings.socket or is_literal(settings.host) else NamedInstance
                instance = kind(address, self._deadlines, self._turn, RESPONSE_NOTED)
                instance.reachability = Reachability(key, settings.url)
                for known in self._at(key, settings.url):
                    instance.follow(known)
            self._override(instance, key, settings.url)
            instance.is_backup = settings.backup
            instance.rebound(upstream.idle_connection_timeout, upstream.max_connections)
            instance.latency = (instance.latency or Latency()) if wants_latency else None
            if isinstance(instance, NamedInstance):
                instance.host_name.refresh = upstream.dns_refresh
                instance.host_name.screen(named if settings.url in upstream.registered else None)
            self._breakers.equip(instance, key, settings.url, trip)
            coming[identity] = instance
            members.append((instance, settings.weight))
        return members

    def limit(self, key: str, upstream: Upstream, coming: dict[str, Limit]) -> Limit | None:
        """How many requests an upstream may have in flight, with those that run and wait now; None: any number."""
        if upstream.max_requests is None:
            return None
        known = coming.get(key) or self._current.limits.get(key)
        limit = coming[key] = _limit(upstream.max_requests, known)
        limit.queue_size, limit.timeout = upstream.queue.size, upstream.queue.timeout
        return limit

    def weights(self, route: str, written: Mapping[str, float], coming: dict[SplitKey, SplitWeights]) -> SplitWeights:
        """The weights of a split route's sides: those that it has now, unless the file has others by now.

        The same at every listener.
        """
        key = route, tuple(written.items())
        weights = coming[key] = coming.get(key) or self._current.splits.get(key) or SplitWeights(written)
        return weights

    def service(self, name: str, version: str | None) -> Service:
        """A service of the current snapshot, or a version of one. Raises KeyError."""
        return self._current.services[name, version]

    def add(self, service: Service) -> None:
        """Have a service of the coming snapshot follow its instances: breakers may open and close meanwhile."""
        self._services.append(service)

    def abandon(self) -> None:
        """The coming snapshot will not come."""
        self._services = [*self._current.services.values()]

    def adopting(self, coming: Coming) -> Iterator[None]:
        """Make the coming snapshot's services the current ones, in steps; then what they do not use is removed."""
        current = self._current
        for key, service in coming.services.items():  # as late as possible: requests go on meanwhile
            if key in current.services:
                service.follow(current.services[key])
            yield
        self._current, self._by_url = coming, None
        self._services = [*coming.services.values()]
        self.apply_weights()
        self._apply_overrides()
        self._remove({each: known for each, known in current.instances.items() if each not in coming.instances})

    # ---- changes between snapshots

    def learn(self, found: Mapping[str, Sequence[Found]]) -> None:
        """All instances that are registered, by service."""
        for service in {*self._found, *found}:
            self.discover(service, found.get(service, ()))

    def discover(self, name: str, found: Sequence[Found]) -> None:
        """All instances of one service that are registered: new ones get requests, removed ones get none."""
        if list(self._found.get(name, ())) == list(found):
            return
        self._found[name] = found
        if not found:
            del self._found[name]
        members: dict[Identity, Instance] = {}
        keys = set()
        now = time.monotonic()
        for (service_name, version), (settings, service, named) in self._current.changing.items():
            if service_name == name:
                upstream = settings.upstream(version, found)
                keys.add(key := upstream_key(name, version, upstream))
                coming = self.members(key, upstream, members, named)
                before = frozenset(service.instances)
                for instance, _ in coming:
                    if instance not in before and instance.in_flight == 0:
                        instance.returned = now
                service.replace(coming)
        instances = self._current.instances
        gone = [identity for identity in instances if identity[0] in keys and identity not in members]
        removed = {identity: instances.pop(identity) for identity in gone}
        instances |= members
        self._by_url = None
        self._remove(removed)

    def set_health(self, states: list[tuple[str, str, bool]]) -> None:
        """Eject or readmit instances: upstream key, URL, healthy."""
        healthy = {(key, url): is_healthy for key, url, is_healthy in states}
        changed: set[Instance] = set()
        for (key, url, _), instance in self._current.instances.items():
            state = healthy.get((key, url), instance.healthy)
            if state != instance.healthy:
                instance.healthy = state
                if state:
                    instance.returned = time.monotonic()
                changed.add(instance)
        self._refresh(changed)

    def set_weights(self, sent: Mapping[str, Mapping[str, float]]) -> None:
        """Weights of split routes' sides in place of those in the file, by route and side, in this snapshot and later.

        A side is called by its service, or `service@version`. Routes that are not named, or have other sides, go by the
        file (again) with the next snapshot: until then, what a promoted canary has must not go back.
        """
        self.learn_weights(sent)
        for (route, _), weights in self._current.splits.items():
            shares = sent.get(route)
            if shares is not None and shares.keys() <= weights.written.keys():
                weights.set(shares)

    def override(self, overrides: Sequence[Override]) -> None:
        """All that somebody has said about instances: it holds for those that there are now, and that will come."""
        self._overrides = {each.identity: each for each in overrides}
        self._apply_overrides()

    def _apply_overrides(self) -> None:
        changed = [each for (key, url, _), each in self._current.instances.items() if self._override(each, key, url)]
        for service in self._services if changed else ():
            if not set(changed).isdisjoint(service.instances):
                service.weigh()

    def _override(self, instance: Instance, key: str, url: str) -> bool:
        """Whether that changed something."""
        said = self._overrides.get((key, url))
        wanted = (False, None) if said is None else (said.is_drained, said.weight)
        is_new = (instance.is_drained, instance.weight) != wanted
        if instance.is_drained and not wanted[0]:
            instance.returned = time.monotonic()  # it may have been started anew meanwhile
        instance.is_drained, instance.weight = wanted
        return is_new

    def learn_weights(self, sent: Mapping[str, Mapping[str, float]]) -> None:
        """The same from the coming snapshot on alone."""
        self._sent_weights = sent

    def apply_weights(self) -> None:
        """What was learned is for all routes of this snapshot."""
        for (route, _), weights in self._current.splits.items():
            weights.set(self._sent_weights.get(route))

    def check_passed(self, key: str, url: str) -> None:
        """An active check of an instance passed that had begun after its breaker opened."""
        for instance in self._at(key, url):
            if instance.breaker is not None:
                instance.breaker.check_passed()

    def refresh_files(self) -> bool:
        """Whether files of services' TLS have changed; a new snapshot brings them into use."""
        return self._contexts.refresh()

    def prune(self) -> None:
        """Forget connections that closed while they were idle."""
        for instance in self.instances():
            try:
                instance.prune()
            except Exception:  # the others' idle connections are not its own
                logger.exception("idle connections were not looked after", extra={"instance": instance.name})

    def close(self) -> None:
        """Close every idle connection."""
        for instance in self.instances():
            instance.close()

    def _at(self, key: str, url: str) -> Sequence[Instance]:
        """The current instances at a URL, which differ by TLS; indexed, because there may be ten thousand instances."""
        if self._by_url is None:
            self._by_url = {}
            for (own_key, own_url, _), instance in self._current.instances.items():
                self._by_url.setdefault((own_key, own_url), []).append(instance)
        return self._by_url.get((key, url), ())

    def _remove(self, removed: Mapping[Identity, Instance]) -> None:
        """Retire instances that are no longer current."""
        for (key, url, _), instance in removed.items():
            instance.retire()
            if not self._at(key, url):
                self._breakers.forget(key, url)

    def _refresh(self, changed: Set[Instance]) -> None:
        """Notify the services that use these instances of their state."""
        for service in self._services if changed else ():
            if not changed.isdisjoint(service.instances):
                try:
                    service.refresh()
                except Exception:  # the others still have to be notified
                    logger.exception("a service took no notice of its instances", extra={"service": service.name})

    # ---- views

    def instances(self) -> list[Instance]:
        """Every instance, what policies ask and the control process last."""
        return [*self._current.instances.values(), *self.asked, self._control]

    def urls(self) -> dict[tuple[str, str], str]:
        """The URL of each instance, by its upstream's key and its name in the log."""
        return {(key, instance.name): url for (key, url, _), instance in self._current.instances.items()}

    def ejected(self) -> list[tuple[str, str, bool]]:
        """The instances whose breakers are open: upstream key, URL, `doubts_checks`."""
        return [
            (key, url, instance.breaker.doubts_checks)
            for (key, url, _), instance in self._current.instances.items()
            if instance.breaker is not None and instance.breaker.state == OPEN
        ]

    def breaker_states(self) -> list[tuple[str, str, int]]:
        """The state of every breaker: upstream key, URL, one of those of `Breaker`."""
        return [
            (key, url, instance.breaker.state)
            for (key, url, _), instance in self._current.instances.items()
            if instance.breaker is not None
        ]

    def instance_states(self) -> list[tuple[str, str, InstanceState, int, float]]:
        """Instances that are not merely active and idle.

        Each is upstream key, URL, state, exchanges in flight, and the seconds that its breaker stays open.
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
            for (key, url, _), instance in self._current.instances.items()
            if instance.in_flight or instance in exceptions
        ]

    def unreachable(self) -> list[tuple[str, str, str]]:
        """Instances to which no connection could be opened lately: upstream key, URL, and why."""
        now = time.monotonic()
        return [
            (key, url, problem)
            for (key, url, _), instance in self._current.instances.items()
            if (problem := instance.reachability.problem(now))
        ]

    def load(self) -> dict[str, tuple[int, int | None, int]]:
        """By upstream key: exchanges in flight at the instances, the limit if there is one, and the number waiting."""
        running: dict[str, int] = {}
        for (key, _, _), instance in self._current.instances.items():
            running[key] = running.get(key, 0) + instance.in_flight
        limits = {key: (limit.most, len(limit.waiting)) for key, limit in self._current.limits.items()}
        return {key: (count, *limits.get(key, (None, 0))) for key, count in running.items()}


def _speaks_tls(upstream: Upstream) -> bool:
    return any(instance.scheme == "https" for instance in upstream.instances)


def _limit(wanted: MaxRequests, known: Limit | None) -> Limit:
    """The limit as configured, with its admitted and waiting requests, if there was one of this kind."""
    if isinstance(wanted, int):
        limit = known if type(known) is Limit else Limit(wanted)
        limit.resize(wanted)
        return limit
    least, most = wanted.adaptive.least, wanted.adaptive.most
    adaptive = known if isinstance(known, AdaptiveLimit) else AdaptiveLimit(least, most)
    adaptive.rebound(least, most)
    return adaptive
