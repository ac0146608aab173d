"""The live state of all services: instances, their health, their load, and which are registered.

It goes from one snapshot to the next: a new configuration that leaves an instance alone leaves its connections, its
breaker and what is known about it alone too.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any, Final, NamedTuple, TypeAlias
from weakref import WeakSet

from portico.config import Config, InstanceSettings, MaxRequests, ServiceSettings, Upstream
from portico.core.fields import RESPONSE_NOTED
from portico.core.found import Found
from portico.core.overrides import Override
from portico.core.slices import Steps, at_once
from portico.net.addresses import Network
from portico.proxy.split import SplitWeights
from portico.snapshot.compiled import latency_wanted, trip_of
from portico.snapshot.instances import Instances
from portico.snapshot.upstream_tls import UpstreamContext, UpstreamContexts
from portico.upstreams.adaptive_limit import AdaptiveLimit
from portico.upstreams.breaker import OPEN, Trip
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

_STEP: Final = 32
"""Instances of which one step reports."""
SplitKey: TypeAlias = tuple[str, tuple[tuple[str, float], ...]]
"""A split route: its name, and its sides with the weights that are written."""


def upstream_key(service: str, version: str | None, upstream: Upstream) -> str:
    """What names a set of instances: a version that shares its service's instances shares their health too."""
    return service if version is None or upstream.shared else f"{service}@{version}"


class Changing(NamedTuple):
    """A service or version whose instances come and go, with the networks that are allowed by name."""

    settings: ServiceSettings
    version: str | None
    service: Service
    named: Sequence[Network]


@dataclass
class Coming:
    """What the snapshot that is being built will use."""

    services: dict[tuple[str, str | None], Service] = field(default_factory=dict)
    """By name and version."""
    of_upstream: dict[str, list[Service]] = field(default_factory=dict)
    """By upstream key."""
    changing: dict[str, list[Changing]] = field(default_factory=dict)
    """By name: those whose instances come and go."""
    instances: Instances = field(default_factory=Instances)
    limits: dict[str, Limit] = field(default_factory=dict)
    """By upstream key: how many requests may be in flight there."""
    splits: dict[SplitKey, SplitWeights] = field(default_factory=dict)

    def parts(self) -> Iterator[object]:
        """All services and instances."""
        yield from self.services.values()
        for _, _, instance in self.instances:
            yield instance


@dataclass(frozen=True)
class _Alike:
    """What all instances of an upstream have in common. `named` are the networks that registered ones may name."""

    key: str
    upstream: Upstream
    named: Sequence[Network]
    contexts: UpstreamContexts

    @cached_property
    def trip(self) -> Trip | None:
        return trip_of(self.upstream)

    @cached_property
    def wants_latency(self) -> bool:
        return latency_wanted(self.upstream)

    @cached_property
    def context(self) -> UpstreamContext:
        return self.contexts.get(self.upstream.tls)

    @cached_property
    def tls(self) -> str:
        """What identifies it."""
        return f"{self.upstream.tls!r} {self.context.version}"


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
        self._breakers = Breakers(deadlines, openings, self._refresh_one, ejected)
        self._contexts = UpstreamContexts()
        self._current = Coming()
        self._coming = Coming()
        """What the next snapshot will use, while it is being built; its services follow their instances already."""
        self._removed: list[tuple[str, str, Instance]] = []
        """Those that are no longer current and still have to be retired."""
        self._found: dict[str, dict[str, Sequence[Found]]] = {}
        """The instances that registered, by service and URL."""
        self._breakers_reported = -1
        """The version of the states of breakers that control knows."""
        self._sent_weights: Mapping[str, Mapping[str, float]] = {}
        self._overrides: Mapping[tuple[str, str], Override] = {}
        """What somebody has said about instances, by upstream key and URL; also of those that are not there now."""
        self.asked: WeakSet[Instance] = WeakSet()
        """What policies ask, at addresses of their own, for as long as one of them does."""

    # ---- a new snapshot

    def preparing(self, config: Config) -> Steps[None]:
        """Load every TLS context that is needed, from files as they are now, in steps. Raises CertificateError."""
        used = set()
        for service in config.services.values():
            for version in (None, *service.versions):
                upstream = service.upstream(version)
                if upstream.may_change or _speaks_tls(upstream):
                    used.add(upstream.tls)
            yield
        for settings in used:
            self._contexts.get(settings)
        self._contexts.keep(used)
        self._contexts.refresh()

    def upstream(self, settings: ServiceSettings, service: str, version: str | None) -> Steps[Upstream]:
        """A service's or version's settings with the instances that are registered now, in steps."""
        return settings.finding(version, [*chain.from_iterable(self._found.get(service, {}).values())])

    def begin(self, service: Service, name: str, version: str | None) -> None:
        """A service of the coming snapshot has most instances of the current one."""
        if (name, version) in self._current.services:
            service.begin_with(self._current.services[name, version])

    def filling(
        self, service: Service, key: str, upstream: Upstream, coming: Coming, named: Sequence[Network]
    ) -> Steps[None]:
        """Give a service of the coming snapshot its instances, each with the state that it already has, in steps.

        Registered names must not resolve to an address that no service may have, unless it is in a `named` network.
        From now on the service follows its instances: breakers may open and close meanwhile.
        """
        self._coming = coming
        coming.of_upstream.setdefault(key, []).append(service)
        alike, members = _Alike(key, upstream, named, self._contexts), {}
        for settings in upstream.instances:
            members[self._instance(alike, settings, coming.instances)] = settings.weight
            yield
        yield from service.changing(members, ())

    def _instance(self, alike: _Alike, settings: InstanceSettings, coming: Instances) -> Instance:
        """An instance among the `coming` ones: the current one, where it differs in nothing that identifies it."""
        key, upstream = alike.key, alike.upstream
        tls = alike.context if settings.scheme == "https" else None
        identity = (key, settings.url, alike.tls if tls else "")
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
            for known in self._current.instances.at(key, settings.url):
                instance.follow(known)
        self._override(instance, key, settings.url)
        instance.is_backup = settings.backup
        instance.rebound(upstream.idle_connection_timeout, upstream.max_connections)
        instance.latency = (instance.latency or Latency()) if alike.wants_latency else None
        if isinstance(instance, NamedInstance):
            instance.host_name.refresh = upstream.dns_refresh
            instance.host_name.screen(alike.named if settings.url in upstream.registered else None)
        self._breakers.equip(instance, key, settings.url, alike.trip)
        coming.put(identity, instance)
        return instance

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

    def abandon(self) -> None:
        """The coming snapshot will not come."""
        self._coming = Coming()

    def adopting(self, coming: Coming) -> Steps[None]:
        """Make the coming snapshot's services the current ones, in steps.

        What they do not use any more is retired by `retiring`, which may wait until the snapshot is in use.
        """
        current, removed = self._current, []
        for key, url, instance in current.instances:
            if instance not in coming.instances.at(key, url):
                removed.append((key, url, instance))
            yield
        for named, service in coming.services.items():  # as late as possible: requests go on meanwhile
            if named in current.services:
                service.follow(current.services[named])
            yield
        self._current, self._coming = coming, Coming()
        self._removed += removed
        self.apply_weights()

    def retiring(self) -> Steps[None]:
        """Retire what is no longer current, in steps."""
        while self._removed:
            key, url, instance = self._removed.pop()
            instance.retire()
            if not self._current.instances.at(key, url):
                self._breakers.forget(key, url)
            yield

    # ---- changes between snapshots

    def learn(self, found: Mapping[str, Sequence[Found]]) -> None:
        """All instances that are registered, by service."""
        at_once(self.learning(found))

    def learning(self, found: Mapping[str, Sequence[Found]]) -> Steps[None]:
        """The same in steps."""
        for service in {*self._found, *found}:
            yield from self.discovering(service, self._changes(service, found.get(service, ())))

    def discover(self, service: str, found: Sequence[Found]) -> None:
        """All instances of one service that are registered: new ones get requests, removed ones get none."""
        at_once(self.discovering(service, self._changes(service, found)))

    def _changes(self, service: str, found: Sequence[Found]) -> dict[str, Sequence[Found]]:
        """What is registered otherwise than before, by URL."""
        before, now = self._found.get(service, {}), dict[str, Sequence[Found]]()
        for each in found:
            now[each.url] = (*now.get(each.url, ()), each)
        changed = {url: at for url, at in now.items() if tuple(before.get(url, ())) != at}
        return changed | {url: () for url in before if url not in now}

    def discovering(self, name: str, changed: Mapping[str, Sequence[Found]]) -> Steps[None]:
        """What is registered of a service at these URLs now, in steps: where that is nothing, its instance is gone."""
        known = self._found.setdefault(name, {})
        known.update(changed)
        for url in [url for url, at in changed.items() if not at]:
            del known[url]
        if not known:
            del self._found[name]
        found, instances = [*chain.from_iterable(changed.values())], self._current.instances
        keys, now = dict[str, None](), time.monotonic()
        for settings, version, service, named in self._current.changing.get(name, ()):
            upstream = settings.upstream(version, found)
            keys[key := upstream_key(name, version, upstream)] = None
            alike, came = _Alike(key, upstream, named, self._contexts), dict[Instance, int]()
            kept = {each.url for each in upstream.instances}
            for each in upstream.instances:
                if each.url in upstream.registered:
                    instance = self._instance(alike, each, instances)
                    came[instance] = each.weight
                    if not service.has(instance) and instance.in_flight == 0:
                        instance.returned = now
                yield
            gone = [each for url in changed if url not in kept for each in instances.at(key, url)]
            yield from service.changing(came, gone)
        self._drop_unused(name, keys, changed)
        yield from self.retiring()

    def _drop_unused(self, name: str, keys: Iterable[str], urls: Iterable[str]) -> None:
        """Those at these URLs that no version of the service has any more are no longer current."""
        services = [each.service for each in self._current.changing.get(name, ())]
        for key in keys:
            for url in urls:
                for instance in self._current.instances.at(key, url):
                    if not any(service.has(instance) for service in services):
                        self._current.instances.pop(key, url, instance)
                        self._removed.append((key, url, instance))

    def set_health(self, states: list[tuple[str, str, bool]]) -> None:
        """Eject or readmit instances: upstream key, URL, healthy."""
        changed: dict[str, list[Instance]] = {}
        for key, url, is_healthy in states:
            for instance in self._current.instances.at(key, url):
                if is_healthy != instance.healthy:
                    instance.healthy = is_healthy
                    if is_healthy:
                        instance.returned = time.monotonic()
                    changed.setdefault(key, []).append(instance)
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
        before, self._overrides = self._overrides, {each.identity: each for each in overrides}
        changed: dict[str, list[Instance]] = {}
        for key, url in before.keys() | self._overrides.keys():
            for instance in (*self._current.instances.at(key, url), *self._coming.instances.at(key, url)):
                if self._override(instance, key, url):
                    changed.setdefault(key, []).append(instance)
        self._refresh(changed)

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
        for instance in self._current.instances.at(key, url):
            if instance.breaker is not None:
                instance.breaker.check_passed()

    def refresh_files(self) -> bool:
        """Whether files of services' TLS have changed; a new snapshot brings them into use."""
        return self._contexts.refresh()

    def pruning(self) -> Steps[None]:
        """Forget connections that closed while they were idle, in steps; instances may come and go meanwhile."""
        for instance in self.instances():
            try:
                instance.prune()
            except Exception:  # the others' idle connections are not its own
                logger.exception("idle connections were not looked after", extra={"instance": instance.name})
            yield

    def close(self) -> None:
        """Close every idle connection."""
        for instance in self.instances():
            instance.close()

    def _refresh(self, changed: Mapping[str, Collection[Instance]]) -> None:
        """Notify the services that use these instances, by upstream key, of their state."""
        for key, instances in changed.items():
            for service in (*self._current.of_upstream.get(key, ()), *self._coming.of_upstream.get(key, ())):
                try:
                    service.refresh(instances)
                except Exception:  # the others still have to be notified
                    logger.exception("a service took no notice of its instances", extra={"service": service.name})

    def _refresh_one(self, key: str, instance: Instance) -> None:
        self._refresh({key: (instance,)})

    # ---- views

    def parts(self) -> Iterator[object]:
        """All services and instances of the snapshot that is current now, also once there is another one."""
        return self._current.parts()

    def instances(self) -> list[Instance]:
        """Every instance, what policies ask and the control process last."""
        return [*(each for _, _, each in self._current.instances), *self.asked, self._control]

    def urls(self) -> dict[tuple[str, str], str]:
        """The URL of each instance, by its upstream's key and its name in the log."""
        return {(key, instance.name): url for key, url, instance in self._current.instances}

    def ejected(self) -> list[tuple[str, str, bool]]:
        """The instances whose breakers are open: upstream key, URL, `doubts_checks`."""
        return [
            (key, url, instance.breaker.doubts_checks)
            for key, url, instance in self._current.instances
            if instance.breaker is not None and instance.breaker.state == OPEN
        ]

    def reporting(self) -> Steps[dict[str, Any]]:
        """What control has to know of the instances, in steps; they may come and go meanwhile.

        `breakers`: upstream key, URL and state (one of those of `Breaker`) of each; None: as they were reported last.
        `instances`: those that are not merely active and idle, each as upstream key, URL, state, exchanges in flight,
        and the seconds that its breaker stays open. `unreachable`: those to which no connection could be opened lately:
        upstream key, URL, and why. `services`: by upstream key, exchanges in flight at the instances, the limit if
        there is one, and the number waiting.
        """
        now, version = time.monotonic(), self._breakers.version
        exceptions: dict[Instance, InstanceState] = {}
        for service in [*chain.from_iterable(self._current.of_upstream.values())]:
            exceptions.update(service.exceptions(now))
            yield
        report = _Report([] if version != self._breakers_reported else None)
        for count, (key, url, instance) in enumerate(self._current.instances.walk()):
            report.add(key, url, instance, exceptions.get(instance), now)
            if not count % _STEP:
                yield
        self._breakers_reported = version
        limits = {key: (limit.most, len(limit.waiting)) for key, limit in self._current.limits.items()}
        services = {key: (count, *limits.get(key, (None, 0))) for key, count in report.running.items()}
        return {
            "breakers": report.breakers,
            "instances": report.instances,
            "unreachable": report.unreachable,
            "services": services,
        }

    def report_anew(self) -> None:
        """Control knows nothing of what was reported."""
        self._breakers_reported = -1


@dataclass
class _Report:
    """What is reported of the instances that were added."""

    breakers: list[tuple[str, str, int]] | None
    instances: list[tuple[str, str, InstanceState, int, float]] = field(default_factory=list)
    unreachable: list[tuple[str, str, str]] = field(default_factory=list)
    running: dict[str, int] = field(default_factory=dict)

    def add(self, key: str, url: str, instance: Instance, state: InstanceState | None, now: float) -> None:
        breaker, in_flight = instance.breaker, instance.in_flight
        self.running[key] = self.running.get(key, 0) + in_flight
        if breaker is not None and self.breakers is not None:
            self.breakers.append((key, url, breaker.state))
        if in_flight or state is not None:
            left = max(0.0, breaker.seconds_left(now)) if breaker is not None else 0.0
            self.instances.append((key, url, state or InstanceState.ACTIVE, in_flight, left))
        if instance.reachability.is_failing and (problem := instance.reachability.problem(now)):
            self.unreachable.append((key, url, problem))


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
