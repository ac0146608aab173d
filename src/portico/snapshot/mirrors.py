"""A route's `mirror`, compiled: which services get copies of its requests, and how those look."""

from __future__ import annotations

from dataclasses import replace

from portico.config import MirrorSettings, Upstream
from portico.observe.metrics import Metrics
from portico.policies import State
from portico.policies.editable import plain_key
from portico.proxy.mirror import MARKER, Mirror, Room
from portico.proxy.routing.route import Handling
from portico.upstreams.service import Service


def mirror_of(
    route: str,
    settings: MirrorSettings,
    handling: Handling,
    service: Service,
    upstream: Upstream,
    state: State,
    metrics: Metrics,
) -> Mirror:
    """The mirror of a route that handles its requests by `handling`; the copies under way are known to later ones."""
    timeouts = service.timeouts
    copied = replace(
        handling,
        service=service,
        service_name=service.name,
        timeouts=timeouts,
        retry=service.retry,
        preserve_host=None if upstream.preserve_host == "auto" else upstream.preserve_host,
        mirrors=(),
    )
    return Mirror(
        route=route,
        handling=copied,
        share=settings.share,
        methods=frozenset(method.encode() for method in settings.methods),
        max_body=settings.max_body,
        max_in_flight=settings.max_in_flight,
        timeout=settings.timeout or timeouts.total or timeouts.response,
        drops=frozenset(plain_key(name).encode() for name in (MARKER, *settings.remove_headers)),
        room=state.keep(("mirror", route, settings.service, settings.version), Room),
        counts=metrics.mirrored.series,
    )
