"""The route of a request built once more, by what builds all routes, over state that is only looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import copy
from itertools import islice
from types import SimpleNamespace
from typing import Any, Self, cast

from portico.config import Config, ResolvedRoute
from portico.config.levels import Merged
from portico.config.listen import ListenerSettings
from portico.core.errors import Answer
from portico.core.exchange import Exchange
from portico.core.slices import at_once
from portico.observe.metrics import Metrics
from portico.policies import Hooks, Policy
from portico.policies.counters.shared_limits import SharedLimits
from portico.policies.peeked import PeekedState
from portico.policies.plugins.hooks import PluginHooks
from portico.policies.plugins.lifecycle import Placed, PluginSet
from portico.policies.plugins.settings import PluginSettings
from portico.proxy.mirror import Mirror
from portico.proxy.routing.matcher import NO_ROUTE, Matcher, Routes
from portico.proxy.routing.route import Handling, LocalRoute, Route
from portico.proxy.routing.router import Router, Rule
from portico.proxy.split import SplitWeights
from portico.snapshot.builder import Counting, SnapshotBuilder, proxy_status_of
from portico.snapshot.live import Coming, LiveServices, SplitKey
from portico.snapshot.routing import rule_of
from portico.snapshot.versions import with_variants
from portico.upstreams.instance import Instance
from portico.upstreams.service import Service

Label = tuple[str, str]
"""The key of a policy and the scope of its settings."""


class Rebuilding(SnapshotBuilder):
    """A builder in the state of another one, which stays as it is whatever becomes of what this one builds.

    Policies, splits, caches and services are made by the same code as ever. What they remember is a `peek` of what is
    remembered; an instance is what `double` gives for it.
    """

    _double: Callable[[Instance], Instance]
    _opened: PluginSet
    _ran: Callable[[str], None]
    labels: dict[Any, Label]
    """What the policies that it has built are for."""
    used: dict[tuple[str, str | None], Service]

    @classmethod
    def of(
        cls,
        builder: SnapshotBuilder,
        config: Config,
        double: Callable[[Instance], Instance],
        asked: Callable[[str, bool], None],
        ran: Callable[[str], None],
    ) -> Self:
        """`asked` is called with whom policies would ask (see `PeekedState`), `ran` with the policies of users that
        would be called.
        """
        own = copy(builder)
        own.__class__ = cls
        assert isinstance(own, cls)
        doubles: dict[Instance, Instance] = {}

        def one_double(instance: Instance) -> Instance:
            if instance not in doubles:
                doubles[instance] = double(instance)
            return doubles[instance]

        own._double = one_double
        own._state = PeekedState(builder._state, asked)
        own._metrics = Metrics()
        own.caches = builder.caches.peek()
        shared, table, _ = builder._counting
        own._counting = Counting(None if shared is None else shared.peek(), table)
        own.live = _PeekedLive(builder.live)
        own._opened, own._ran = builder.plugins, ran
        own._proxy_status = proxy_status_of(config)
        own._answering = builder._answering.peek(one_double)
        own._own_services = {path: service.peek(one_double) for path, service in builder._own_services.items()}
        own._shared, own._coming, own._splits, own.used = {}, Coming(), {}, {}
        own._made, own.labels = own._label, {}
        return own

    @property
    def shared_limits(self) -> SharedLimits | None:
        """What is asked of Redis, if limits are counted there."""
        return self._counting.shared

    def matcher(self, route: str, config: Config, listener: ListenerSettings) -> tuple[Matcher, ResolvedRoute | None]:
        """What finds the route of this name and no other, and what is written of it; that is None for an endpoint."""
        written, rule = self._rule(route, config, listener)
        router: Routes = Router()
        router.add(rule)
        at_once(router.warming())
        return Matcher(router, None, NO_ROUTE, self.challenges), written

    def _rule(
        self, name: str, config: Config, listener: ListenerSettings
    ) -> tuple[ResolvedRoute | None, Rule[Route | LocalRoute]]:
        routes = config.all_routes
        found = next((index for index, each in enumerate(routes) if each.name == name), None)
        if found is not None:
            ((written, variants),) = islice(with_variants(routes[found:]), 1)
            self.plugins = self._uncalled(each.policies for each in (written, *variants))
            return written, rule_of(written, self._whole_route(written, variants, config.consumer_rates, config))
        self.plugins = self._uncalled([config.own_policies])
        return None, next(rule for rule in self._own_endpoints(config).rules(listener) if rule.path == name)

    def _uncalled(self, levels: Iterable[Merged]) -> PluginSet:
        """The policies of users on these levels, each of which only says that it would be called."""
        said = PluginSet()
        for written, scope in (policies["plugins"] for policies in levels if policies.get("plugins", ([], ""))[0]):
            opened = self._opened.by_scope.get(scope, ())
            own = [each.hooks.policy.own_endpoints for each in opened] or [False] * len(written)
            said.by_scope[scope] = [_placed(each, is_own, self._ran) for each, is_own in zip(written, own, strict=True)]
        return said

    def _label(self, key: str, scope: str, policy: Policy | Hooks) -> Policy | Hooks:
        """Remember what a policy is for."""
        self.labels[policy.request if isinstance(policy, Hooks) else policy] = key, scope
        return policy

    def _service_named(self, name: str, version: str | None, config: Config, coming: Coming) -> Service:  # noqa: ARG002
        key = name, version
        if key not in self.used:
            self.used[key] = self.live.service(name, version).peek(self._double)
        return self.used[key]

    def _mirrors(self, written: ResolvedRoute, handling: Handling, config: Config) -> tuple[Mirror, ...]:  # noqa: ARG002
        """Copies are sent by chance, and change nothing of what is copied."""
        return ()


class _PeekedLive(LiveServices):
    def __init__(self, of: LiveServices) -> None:
        self.__dict__.update(vars(of))
        self._of = of

    def weights(self, route: str, written: Mapping[str, float], coming: dict[SplitKey, SplitWeights]) -> SplitWeights:  # noqa: ARG002
        return self._of.weights(route, written, {}).peek()


def _placed(settings: PluginSettings, is_own: bool, ran: Callable[[str], None]) -> Placed:
    def request(exchange: Exchange) -> Answer | None:  # noqa: ARG001
        ran(settings.use)
        return None

    hooks = SimpleNamespace(policy=SimpleNamespace(own_endpoints=is_own), as_hooks=lambda: Hooks(request))
    return Placed(settings, cast(PluginHooks, hooks))
