"""What `/metrics` answers: one page for all concurrent scrapes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder

from portico.processes.control.acme.metrics import certificate_metrics
from portico.processes.control.canary_metrics import canary_metrics
from portico.processes.control.exposition import RegistryGauges, families_of, render_metrics
from portico.processes.control.rounds import Rounds
from portico.processes.control.state import State

T = TypeVar("T")

_SHARE: Final = 0.5
"""The share of the time that pages of one kind may take."""
_ACCEPTED: Final = ("text/plain", "application/openmetrics-text")


class Scrapes:
    """Makes the pages of one control process; a page covers all that had happened when the scrape came."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._pages = {accepted: Rounds(partial(self._render, accepted), _SHARE) for accepted in _ACCEPTED}

    async def page(self, accept: str) -> tuple[bytes, str]:
        """The page and its content type for an Accept field.

        A client may name any version and escaping, and the answer names the same; they make no difference here, where
        all names are plain ASCII. So no client can cause more than two kinds of pages.
        """
        try:
            _, content_type = choose_encoder(accept)
        except TypeError:  # a version with letters in it, which it compares with numbers
            _, content_type = choose_encoder("")
        return await self._pages[content_type.partition(";")[0]].result(), content_type

    async def families(self) -> list[Metric]:
        """What the page has, for others than those who read it."""
        return await self._made(families_of)

    async def _render(self, accepted: str) -> bytes:
        def render(live: Any, ended: Any, health: Any, gauges: Any, more: Any) -> bytes:
            return render_metrics(live, ended, health, accepted, gauges, more)[0]

        return await self._made(render)

    async def _made(self, make: Callable[..., T]) -> T:
        """What is made, in a thread, of all that workers have counted, and of what control knows."""
        state = self._state
        state.workers.keep_parts({route.name for route in state.config.all_routes}, state.health.states().keys())
        live, ended = await state.workers.totals()
        # With thousands of series this takes seconds; health checks and other work must not wait for it.
        gauges, canaries, ordered = _gauges(state), canary_metrics(state.canaries), state.certificates.expiries()

        def made() -> T:
            more = [_refused(state), *canaries, *certificate_metrics(state.config, ordered)]
            return make(live, ended, state.health.states(), gauges, more)

        return await asyncio.to_thread(made)


def _refused(state: State) -> Metric:
    text = "Whether the file was refused when it was last read"
    return GaugeMetricFamily("gateway_config_refused", text, value=float(state.refused is not None))


def _gauges(state: State) -> RegistryGauges | None:
    """The metrics of the registry; nothing where there is none."""
    if not state.config.directories:
        return None
    registry = state.discovery.registry
    names = [name for name in state.config.services if registry.wanted(name) is not None]
    counts = dict.fromkeys(names, 0)
    for entry in registry.entries.values():
        if entry.service in counts:
            counts[entry.service] += 1
    problems = state.discovery.problems()
    asked = {name: name not in problems for name in names if registry.wanted(name) in ("kubernetes", "dns")}
    return RegistryGauges(registry.up if state.discovery.uses_redis else None, counts, asked)
