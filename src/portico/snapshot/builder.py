"""From a configuration to a snapshot: every route compiled, every instance with the state that it already had."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from portico.config import (
    CacheBounds,
    Config,
    FailoverSettings,
    MirrorSettings,
    ResolvedRoute,
    ServiceSettings,
    StickySettings,
    Upstream,
    documents_of_files,
    documents_wanted,
)
from portico.config.listen import ListenerSettings
from portico.core.consumers import Consumers
from portico.core.errors import Answer
from portico.core.exchange import Exchange
from portico.core.fields import RESPONSE_DROP
from portico.core.paths import folded_segments
from portico.core.patterns.pattern import Pattern
from portico.core.proxy_status import ProxyStatus
from portico.core.route_paths import is_pattern
from portico.core.slices import Steps, at_once
from portico.observe.metrics import Metrics
from portico.policies import Hooks, Made, Policy, State, build_chain
from portico.policies.cache import PurgeSettings
from portico.policies.counters.shared_buckets import BucketTable
from portico.policies.counters.shared_limits import SharedLimits
from portico.policies.error_pages import ErrorPages
from portico.policies.limit_report import Listed
from portico.policies.maintenance import MaintenanceSettings
from portico.policies.mcp import first_contact
from portico.policies.plugins.lifecycle import PluginSet
from portico.policies.rewriting import RewriteCookiesSettings, RewriteLocationSettings
from portico.policies.versions import announcing
from portico.proxy.body_limit import body_limit
from portico.proxy.cache.caches import Caches
from portico.proxy.cache.purge_method import purge_policy
from portico.proxy.failing_over import failing_over
from portico.proxy.forward import REPLAY_LIMIT, Forwarding
from portico.proxy.gateway import Snapshot
from portico.proxy.mirror import Mirror
from portico.proxy.mirroring import mirrored
from portico.proxy.routing.challenges import Challenges
from portico.proxy.routing.matcher import NO_ROUTE, Matcher, Routes
from portico.proxy.routing.route import (
    Handling,
    LocalRoute,
    Rewriting,
    Route,
    TakesOver,
    VersionedRoutes,
)
from portico.proxy.routing.router import Router, Rule
from portico.proxy.routing.slash import redirect_to_slash
from portico.proxy.split import SplitWeights, forward_chosen
from portico.proxy.traced import kind_of, traced
from portico.snapshot.askers import asking
from portico.snapshot.caching import cache_of, cache_scope
from portico.snapshot.compiled import balancing_of, retry_of, timeouts_of
from portico.snapshot.handling import in_maintenance, parts_of, rewriting_of, sticking
from portico.snapshot.latest import LatestRoutes
from portico.snapshot.live import Changing, Coming, LiveServices, SplitKey, upstream_key
from portico.snapshot.mirrors import mirror_of
from portico.snapshot.own_endpoints import OwnEndpoints, own_services
from portico.snapshot.routing import answering, prefix_of, rewrite_of, rule_of
from portico.snapshot.split import behind_choice, split_of, split_vary_lines
from portico.snapshot.sticky import cookie_key, sticky_hooks, sticky_of
from portico.snapshot.versions import (
    PathVersion,
    chooser_of,
    is_ending,
    paths_of,
    vary_lines,
    with_variants,
    with_version,
)
from portico.upstreams.hedging import Hedging
from portico.upstreams.instance import Address, Instance
from portico.upstreams.service import Retry, Service, Timeouts
from portico.upstreams.shared_bindings import SharedBindings
from portico.upstreams.sticky import Sticky
from portico.wire.deadlines import Deadlines
from portico.wire.turn import Turn

_REWRITE_LOCATION: Final = RewriteLocationSettings()
_REWRITE_COOKIES: Final = RewriteCookiesSettings()
"""What holds where nothing is written."""

_OF_HEADS: Final = ("headers", "identity")
"""The policies that a service has of its own where it is asked in place of another one."""

_NO_ROUTE_HERE: Final = "no route of this listener leads from this path to a service"


class Counting(NamedTuple):
    """Where limits are counted: in Redis, if the configuration names one, and in what workers share without it.

    `bindings` is where they share which instance issued a value.
    """

    shared: SharedLimits | None = None
    table: BucketTable | None = None
    bindings: SharedBindings | None = None


class SnapshotBuilder:
    """Builds snapshots; live state (`live`, limits, verified tokens) goes from one to the next."""

    def __init__(
        self,
        deadlines: Deadlines,
        turn: Turn,
        control_socket: Path,
        local_answers: Mapping[str, Callable[[], Answer]],
        metrics: Metrics,
        counting: Counting = Counting(),  # noqa: B008 - it is immutable
        ejected: Callable[[str, str, bool], None] = lambda *_: None,
        caches: Caches | None = None,
        secret: bytes = b"",
    ) -> None:
        self._counting = counting
        """That of the last snapshot."""
        self._secret = secret or os.urandom(32)
        """What cookies are signed with where no key is configured; the same in all workers."""
        self._router: Routes = Router()
        self._latest: dict[object, LatestRoutes] = {}
        self._routes = LatestRoutes()
        """Those of the listener whose routes are being built."""
        self._coming = Coming()
        self.plugins = PluginSet()
        """The users' policies of the last snapshot."""
        self._deadlines = deadlines
        self._local_answers = local_answers
        self._metrics = metrics
        self.caches = caches or Caches(CacheBounds().memory, metrics)
        """What the caches of all routes share, and of all snapshots."""
        self._shared: dict[object, Any] = {}
        self._proxy_status: ProxyStatus | None = None
        self._page_texts: Mapping[str, str] = {}
        self._directory = Consumers()
        self._traces = False
        """Whether exchanges may have spans."""
        self._made: Made = _as_it_is
        """What takes the place of each policy."""
        self._version_paths: frozenset[PathVersion] = frozenset()
        self._splits: dict[SplitKey, SplitWeights] = {}
        """The weights of the routes of the snapshot that is being built."""
        control = Instance(Address("portico", path=str(control_socket)), deadlines, turn, RESPONSE_DROP)
        self.live = LiveServices(deadlines, turn, metrics.openings, control, ejected)
        """The live state that goes from one snapshot to the next."""
        self.challenges = Challenges()
        """What authorities are answered, as control says."""
        self._state = State(asking(deadlines, turn, self.live.asked.add))
        self.api_keys = self._state.api_keys
        """The API keys that hold, as control says."""
        self.revoked = self._state.revoked
        """The gateway's own tokens that were revoked, as control says."""
        self.key_sets = self._state.key_sets
        """The keys of issuers of tokens, as control fetches them."""
        self.documents = self._state.documents
        """The OpenAPI documents that policies read: those of files, and those that control fetches."""
        self._answering = Service("gateway", [], Timeouts(), Retry(attempts=1), deadlines)
        """What routes that answer themselves have in place of a service."""
        self._own_services = own_services(control, deadlines)

    def limits(self) -> list[Listed]:
        """Every rate limit and quota, for whoever asks what is left of them."""
        return self._state.all_of(Listed)

    def build(self, config: Config, generation: int, plugins: PluginSet | None = None) -> Snapshot:
        """Raises CertificateError where a file of a service's TLS cannot be used; nothing has changed then."""
        snapshot = at_once(self.building(config, generation, plugins=plugins))
        at_once(self.live.retiring())
        return snapshot

    def building(
        self, config: Config, generation: int, counting: Counting | None = None, plugins: PluginSet | None = None
    ) -> Steps[Snapshot]:
        """`build`, in steps; between them `live` must not change and no other snapshot may be requested.

        `live.retiring` is to follow once the snapshot is in use.
        `counting` is where limits are counted from this snapshot on, `plugins` are the users' policies that it uses;
        None: as now.
        """
        current = self._counting, self.plugins
        self._counting, self.plugins = counting or self._counting, plugins or self.plugins
        try:
            snapshot = yield from self._building(config, generation)
        except BaseException:  # one that is abandoned too
            self._counting, self.plugins = current
            self.live.abandon()
            raise
        return snapshot

    def _building(self, config: Config, generation: int) -> Steps[Snapshot]:
        yield from self.live.retiring()
        yield from self.live.preparing(config)
        self._shared = {}
        self._proxy_status = proxy_status_of(config)
        self._page_texts = config.page_texts
        self._directory = config.consumer_directory
        self._traces = config.gateway.tracing is not None
        self.revoked.secret = config.issuing_secret
        coming = self._coming = Coming()
        self._splits = coming.splits
        matchers: dict[object, Matcher] = {}
        routers: dict[object, Routes] = {}
        for listener, routes in config.route_sets():
            self._routes = self._latest.setdefault(listener.kind, LatestRoutes())
            matchers[listener.kind] = yield from self._matcher(config, listener, routes)
            routers[listener.kind] = self._router
        yield from self.live.adopting(coming)
        self._state.sweep()
        self.documents.keep(documents_wanted(config))
        for key, document in documents_of_files(config).items():
            yield from self.documents.learning(key, document)
        self._use_latest(routers)
        of_listeners = {listener.key: matchers[listener.kind] for listener in config.gateway.listeners}
        reads_forwarded = config.gateway.trusted_headers == "forwarded"
        return Snapshot(
            generation,
            next(iter(of_listeners.values())),
            config.gateway.trusted_proxies,
            reads_forwarded,
            self._error_pages(config.own_policies),
            of_listeners,
        )

    def _use_latest(self, routers: Mapping[object, Routes]) -> None:
        """Have all routes ask these about each other, also those of earlier snapshots."""
        anyone = next(iter(routers.values()))
        for kind, latest in [*self._latest.items()]:
            latest.routes = routers.get(kind, anyone)
            if kind not in routers:
                del self._latest[kind]

    def _matcher(self, config: Config, listener: ListenerSettings, routes: Sequence[ResolvedRoute]) -> Steps[Matcher]:
        """What finds the routes of one listener, and of all that have the same ones."""
        own = self._own_endpoints(config).rules(listener)
        consumers, own_paths = config.consumer_rates, {rule.path for rule in own}
        router: Routes = Router()
        self._router = router
        folded: Routes | None = None
        if any(route.case_insensitive for route in routes):
            folded = Router(read=folded_segments, form=Pattern.folded)
        self._version_paths = paths_of(routes)
        for written, variants in with_variants(routes):
            for each in (written, *variants):
                yield from self._services_of(each, config)
            rule: Rule[Route | LocalRoute] = rule_of(written, self._whole_route(written, variants, consumers, config))
            router.add(rule)
            if folded is not None:
                folded.add(rule)
            if rule.path in own_paths and (rule.path == "/" or rule.hosts) and not rule.fallback:
                router.add(replace(rule, exact=True))  # where it matches, it replaces the gateway's own page
            yield
        for rule in own:
            router.add(rule)
        yield from router.warming()
        challenges = self.challenges if config.gateway.ordered_certificates else None
        return Matcher(router, folded, _NO_ROUTE_HERE if config.gateway.listen else NO_ROUTE, challenges)

    def _whole_route(
        self, written: ResolvedRoute, variants: Sequence[ResolvedRoute], consumers: Mapping[str, Any], config: Config
    ) -> Route:
        """A route with those to further versions of its service, or sides of its split."""
        coming = self._coming
        route = self._route(written, self._service_of(written, config, coming), consumers, config)
        if not variants and written.side is None:
            return route
        others = [self._route(each, self._service_of(each, config, coming), consumers, config) for each in variants]
        if written.choice is not None:
            return self._choosing(written, [route, *others], consumers, config)
        return self._splitting([written, *variants], [route, *others], consumers)

    def _service_of(self, written: ResolvedRoute, config: Config, coming: Coming) -> Service:
        """The service of a route, or what stands for one; each is made once."""
        if written.service is None:
            return self._answering
        return self._service_named(written.service, written.version, config, coming)

    def _service_named(self, name: str, version: str | None, config: Config, coming: Coming) -> Service:
        if (name, version) not in coming.services:
            at_once(self._making_service(name, version, config, coming))
        return coming.services[name, version]

    def _services_of(self, written: ResolvedRoute, config: Config) -> Steps[None]:
        """Make the services that a route may send requests to, in steps."""
        named = [(written.service, written.version), *((each.service, each.version) for each in written.mirrors)]
        named += [(each.service, each.version) for _, each in written.failovers]
        for name, version in named:
            if name is not None and (name, version) not in self._coming.services:
                yield from self._making_service(name, version, config, self._coming)

    def _making_service(self, name: str, version: str | None, config: Config, coming: Coming) -> Steps[None]:
        live, settings, named = self.live, config.services[name], config.networks_allowed(name)
        upstream = yield from live.upstream(settings, name, version)
        key = upstream_key(name, version, upstream)
        timeouts, retry = timeouts_of(upstream.timeouts, upstream.retry), retry_of(upstream.retry)
        balancing, hedging = balancing_of(upstream), self._hedging(name, upstream)
        failover = self._failover(name, upstream)
        cookies = cookie_key(config, upstream, self._secret)
        sticky = sticky_of(name, version, upstream, cookies, self._state, self._counting.bindings)
        service = Service(name, None, timeouts, retry, self._deadlines, balancing, hedging, failover, sticky)
        live.begin(service, name, version)
        yield from live.filling(service, key, upstream, coming, named)
        service.limit = live.limit(key, upstream, coming.limits)
        coming.services[name, version] = service
        if settings.discover is not None:
            coming.changing.setdefault(name, []).append(Changing(settings, version, service, named))

    def _hedging(self, service: str, upstream: Upstream) -> Hedging | None:
        hedge, metrics = upstream.hedge, self._metrics
        if hedge is None:
            return None
        return Hedging(service, hedge.after, hedge.budget, metrics.hedges, metrics.hedges_won)

    def _failover(self, service: str, upstream: Upstream) -> Hedging | None:
        """Second attempts beside silent instances: they are retries and count against the retry budget."""
        retry, metrics = upstream.retry, self._metrics
        is_alone = len(upstream.instances) < 2 and not upstream.may_change
        if is_alone or not retry.attempts or not retry.silence:
            return None
        return Hedging(service, retry.silence, retry.budget, metrics.hedges, metrics.hedges_won)

    def _route(self, written: ResolvedRoute, service: Service, consumers: Mapping[str, Any], config: Config) -> Route:
        prefix = prefix_of(written)
        handling = self._handling(written, service, consumers, config)
        if written.answer is not None:
            handling = replace(handling, policies=(*handling.policies, answering(written.answer, config.files)))
        if written.failovers:
            handling = self._failing_over(written, handling)
        route = Route(
            name=written.name,
            handling=handling,
            rewrite=rewrite_of(written),
            prefix=prefix,
            forwarded=b"X-Forwarded-Prefix: %b\r\n" % prefix if prefix else b"",
            at_prefix=self._redirecting(handling) if written.redirect_slash else None,
            encoded_slashes=written.encoded_slashes,
            case_insensitive=written.case_insensitive,
            by_pattern=is_pattern(written.path),
        )
        if not written.failovers:
            return route
        others = [self._instead(route, written, *each, consumers, config) for each in written.failovers]
        return replace(route, sides=(route, *others))

    def _failing_over(self, written: ResolvedRoute, handling: Handling) -> Handling:
        """The same for a route with other services to ask."""
        counter, most = self._metrics.failovers, max(REPLAY_LIMIT, *(each.max_body for each, _ in written.failovers))
        kind = kind_of(handling.forward)
        failing_kind = self._alike(("failing over", kind, most), lambda: failing_over(kind, counter, most))
        forward = self._traced(failing_kind)
        failing: Handling = self._alike(
            ("failing over", id(handling), id(forward)), lambda: replace(handling, forward=forward)
        )
        return failing

    def _instead(
        self,
        route: Route,
        first: ResolvedRoute,
        failover: FailoverSettings,
        written: ResolvedRoute,
        consumers: Mapping[str, Any],
        config: Config,
    ) -> Route:
        """The way of a route's requests to a service that is asked in place of its own.

        They have passed the route's policies by then; what is the other's own is how heads for it are composed.
        """
        service = self._service_named(str(written.service), written.version, config, self._coming)
        policies = {key: policy for key, policy in first.policies.items() if key not in _OF_HEADS}
        policies |= {key: policy for key, policy in written.policies.items() if key in _OF_HEADS}
        handling = replace(
            route.handling,
            service=service,
            service_name=service.name,
            compose=self._policies(policies, consumers, None)["compose"],
            timeouts=timeouts_of(written.timeouts, written.retry),
            retry=retry_of(written.retry),
            preserve_host=None if written.preserve_host == "auto" else written.preserve_host,
            rewriting=self._rewriting(written),
            version=written.version,
            mirrors=(),
            takes_over=TakesOver(frozenset(failover.on), failover.max_body),
        )
        prefix = prefix_of(written)
        forwarded = b"X-Forwarded-Prefix: %b\r\n" % prefix if prefix else b""
        return replace(
            route, handling=handling, rewrite=rewrite_of(written), prefix=prefix, forwarded=forwarded, at_prefix=None
        )

    def _choosing(
        self, written: ResolvedRoute, routes: Sequence[Route], consumers: Mapping[str, Any], config: Config
    ) -> Route:
        """The routes to several versions as the one that stands in the router; `written` is the first of them."""
        choice, first = written.choice, routes[0]
        assert choice is not None
        chooser = self._alike(("chooser", choice), lambda: chooser_of(choice, config.services[choice.service]))
        marks = self._policies(written.policies, consumers, written.maintenance)["marks"]
        if lines := vary_lines(choice):
            marks = (announcing(lines), *marks)
        refused = replace(first.handling, policies=marks, marks=marks, version=None)
        versions = VersionedRoutes(chooser, dict(zip(choice.order, routes, strict=True)), refused)
        return replace(first, versions=versions, case_insensitive=any(route.case_insensitive for route in routes))

    def _splitting(
        self, sides: Sequence[ResolvedRoute], routes: Sequence[Route], consumers: Mapping[str, Any]
    ) -> Route:
        """The routes to the sides of a split as the one that stands in the router."""
        written, first = sides[0], routes[0]
        assert written.split is not None
        weights = self.live.weights(written.name, written.split.weights, self._splits)
        maintenance = written.maintenance if all(each.maintenance is not None for each in sides) else None
        parts = self._policies(written.policies, consumers, maintenance)
        if written.body_size is not None:
            parts = self._limited(parts, written.body_size)
        parts = self._purging(written, parts)
        split = split_of(written, weights)
        choosing = [split.choose] if any(route.handling.policies for route in routes) else []
        announce = [announcing(lines)] if (lines := split_vary_lines(written.split)) else []
        handling = replace(
            first.handling,
            policies=(*announce, *parts["policies"], *choosing),
            marks=(*announce, *parts["marks"]),
            response_hooks=parts["response_hooks"],
            pages=parts["pages"],
            body_limit=written.body_size,
            forward=forward_chosen if choosing else split.forward,
            version=None,
            side=None,
        )
        at_prefix = self._redirecting(handling) if written.redirect_slash else None
        folds = any(route.case_insensitive for route in routes)
        return replace(first, handling=handling, at_prefix=at_prefix, sides=tuple(routes), case_insensitive=folds)

    def _redirecting(self, handling: Handling) -> Handling:
        """The same for requests for a bare prefix: once all policies let a browser pass, it is redirected."""
        redirecting: Handling = self._alike(
            ("redirecting", id(handling)),
            lambda: replace(handling, policies=(*handling.policies, redirect_to_slash)),
        )
        return redirecting

    def _handling(
        self, written: ResolvedRoute, service: Service, consumers: Mapping[str, Any], config: Config
    ) -> Handling:
        timeouts = self._alike(
            ("timeouts", id(written.timeouts), id(written.retry)), lambda: timeouts_of(written.timeouts, written.retry)
        )
        is_side = written.side is not None
        policies = self._policies(written.policies, consumers, written.maintenance, is_side=is_side)
        if written.body_size is not None and not is_side:
            policies = self._limited(policies, written.body_size)
        if written.sticky is not None and service.sticky is not None:
            policies = self._sticking(written.sticky, service.sticky, policies)
        if written.version is not None:
            policies = self._versioned(written, policies, config.services[str(written.service)])
        policies = self._cached(written, policies)
        if not is_side:
            policies = self._purging(written, policies)
        handling = Handling(
            service=self._answering if is_side and written.maintenance is not None else service,
            service_name=service.name,
            **policies,
            timeouts=timeouts,
            retry=self._alike(("retry", id(written.retry)), lambda: retry_of(written.retry)),
            preserve_host=None if written.preserve_host == "auto" else written.preserve_host,
            answers_preflights="cors" in written.policies,
            upgrades=frozenset(protocol.encode() for protocol in written.upgrades),
            trailers=frozenset(name.lower().encode() for name in written.trailers),
            rewriting=self._rewriting(written),
            proxy_status=self._proxy_status,
            side=self._metrics.side(written.name, written.side.label) if written.side is not None else None,
            first_contact=self._first_contact(written),
        )
        if written.mirrors:
            return replace(handling, mirrors=self._mirrors(written, handling, config))
        values = (getattr(handling, field.name) for field in fields(Handling))
        key = tuple(value if isinstance(value, int | frozenset) else id(value) for value in values)
        shared: Handling = self._alike(("handling", *key), lambda: handling)
        return shared

    def _first_contact(self, written: ResolvedRoute) -> Callable[[Exchange], bool] | None:
        """What admits clients' first requests to an MCP server."""
        settings, scope = written.policies.get("mcp", (None, ""))
        if settings is None:
            return None
        admits: Callable[[Exchange], bool] = self._alike(("mcp", scope), lambda: first_contact(self._state, scope))
        return admits

    def _mirrors(self, written: ResolvedRoute, handling: Handling, config: Config) -> tuple[Mirror, ...]:
        """Which services get copies of a route's requests."""

        def mirror(settings: MirrorSettings) -> Mirror:
            service = self._service_named(settings.service, settings.version, config, self._coming)
            upstream = config.services[settings.service].upstream(settings.version)
            return mirror_of(written.name, settings, handling, service, upstream, self._state, self._metrics)

        return tuple(map(mirror, written.mirrors))

    def _versioned(self, written: ResolvedRoute, parts: Mapping[str, Any], service: ServiceSettings) -> dict[str, Any]:
        """The same for a version; only what says where its successor is depends on the path."""
        path = written.path if is_ending(written, service) else ""
        key = ("version", id(self._router), written.service, written.version, written.choice, path)
        versioned: Mapping[str, Any] = self._alike(
            (*key, id(parts["policies"]), id(parts["marks"])),
            lambda: with_version(written, service, parts, self._version_paths),
        )
        return {**parts, **versioned}

    def _limited(self, parts: dict[str, Any], size: int) -> dict[str, Any]:
        """The same parts for a route whose bodies have a limit of their own."""
        limit = self._alike(("body_limit", size), lambda: body_limit(size))
        limited: dict[str, Any] = self._alike(
            ("limited", id(parts), size),
            lambda: {**parts, "policies": (*parts["policies"], limit), "body_limit": size},
        )
        return limited

    def _sticking(self, settings: StickySettings, sticky: Sticky, parts: dict[str, Any]) -> dict[str, Any]:
        """The same parts for a route to a sticky service."""
        hooks = self._alike(("sticky hooks", id(sticky)), lambda: sticky_hooks(settings, sticky))
        stuck: dict[str, Any] = self._alike(("sticky", id(sticky), id(parts)), lambda: sticking(parts, hooks))
        return stuck

    def _rewriting(self, written: ResolvedRoute) -> Rewriting:
        """What is on where nothing is written, and None where it is off."""
        location, _ = written.policies.get("rewrite_location", (_REWRITE_LOCATION, ""))
        cookies, _ = written.policies.get("rewrite_cookies", (_REWRITE_COOKIES, ""))
        is_public = self._routes.has_prefix
        rewriting: Rewriting = self._alike(
            ("rewriting", id(self._router), id(location), id(cookies)),
            lambda: rewriting_of(location, cookies, is_public),
        )
        return rewriting

    def _policies(
        self,
        written: Mapping[str, tuple[Any, str]],
        consumers: Mapping[str, Any],
        maintenance: MaintenanceSettings | None,
        *,
        is_side: bool = False,
    ) -> dict[str, Any]:
        """The parts of a handling that its policies decide, or that its service is in maintenance."""
        key: tuple[object, ...] = tuple((name, id(settings), scope) for name, (settings, scope) in written.items())
        parts: dict[str, Any] = self._alike(key, lambda: self._parts(written, consumers))
        if is_side:
            key = ("side", *key)
            parts = self._alike(key, lambda: behind_choice(parts))
        if maintenance is not None:
            errors, _ = written.get("errors", ({}, ""))
            parts = self._alike(
                ("maintenance", id(maintenance), *key),
                lambda: in_maintenance(parts, maintenance, errors, self._page_texts),
            )
        return parts

    def _cached(self, written: ResolvedRoute, parts: dict[str, Any]) -> dict[str, Any]:
        """The same for a route that has a cache: that stands before its forwarding, which may be mirrored."""
        kind, traces = parts["forward"], self._traces
        if "cache" not in written.policies or written.service is None:
            forward = self._traced(mirrored(kind) if written.mirrors else kind)
            return parts if forward is kind else {**parts, "forward": forward}
        scope = cache_scope(written)
        cache: Callable[..., Any] = self._alike(
            ("cache", scope, kind, bool(written.mirrors)),
            lambda: cache_of(self.caches, written, scope, kind, traces=traces).forward,
        )
        return {**parts, "forward": cache}

    def _traced(self, kind: type[Forwarding]) -> Any:
        """What makes forwardings of a kind, with spans for those exchanges that are recorded."""
        return self._alike(("traced", kind), lambda: traced(kind)) if self._traces else kind

    def _purging(self, written: ResolvedRoute, parts: dict[str, Any]) -> dict[str, Any]:
        """The same for a route whose cache clients may purge."""
        settings, _ = written.policies.get("cache", (None, ""))
        if settings is None or written.service is None or settings.purge is False:
            return parts
        who = settings.purge if isinstance(settings.purge, PurgeSettings) else None
        purging = self._alike(("purge", id(who)), lambda: purge_policy(who, lambda purges: self.caches.purge(purges)))
        policies = self._alike(("purging", id(parts["policies"]), id(purging)), lambda: (*parts["policies"], purging))
        return {**parts, "policies": policies}

    def _parts(
        self, written: Mapping[str, tuple[Any, str]], consumers: Mapping[str, Any], *, is_own: bool = False
    ) -> dict[str, Any]:
        pages = self._error_pages(written)
        shared, table, _ = self._counting
        metrics = self._metrics
        counters = metrics.shadowed, pages, metrics.untransformed, metrics.compressed
        surroundings = self._state, consumers, shared, table, self.plugins, *counters
        chain = build_chain(
            *(written, *surroundings),
            denied=metrics.denied,
            costs=metrics.costs,
            directory=self._directory,
            is_own=is_own,
            made=self._made,
        )
        return parts_of(chain, written, pages, is_own=is_own, traces=self._traces and not is_own)

    def _own_endpoints(self, config: Config) -> OwnEndpoints:
        def parts_of(written: Mapping[str, tuple[Any, str]]) -> dict[str, Any]:
            return self._parts(written, {}, is_own=True)

        known = self._own_services, self._local_answers, self._answering
        return OwnEndpoints(config, parts_of, *known, self._proxy_status)

    def _error_pages(self, written: Mapping[str, tuple[Any, str]]) -> ErrorPages | None:
        settings, _ = written.get("errors", (None, ""))
        if not settings:
            return None
        pages: ErrorPages = self._alike(("errors", id(settings)), lambda: ErrorPages(settings, self._page_texts))
        return pages

    def _alike(self, key: object, make: Callable[[], Any]) -> Any:
        """What similar routes share: an object that all of them use stays in the processor's caches."""
        if key not in self._shared:
            self._shared[key] = make()
        return self._shared[key]


def _as_it_is(key: str, scope: str, policy: Policy | Hooks) -> Policy | Hooks:  # noqa: ARG001
    return policy


def proxy_status_of(config: Config) -> ProxyStatus | None:
    """What failures are reported with in `Proxy-Status`, if they are."""
    written = config.gateway.proxy_status
    return None if written is None else ProxyStatus(written.name, written.next_hop)
