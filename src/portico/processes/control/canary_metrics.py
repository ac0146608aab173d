"""Canaries on the `/metrics` page."""

from __future__ import annotations

from typing import get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from portico.processes.control.canaries import Canaries
from portico.processes.control.canary import Phase


def canary_metrics(canaries: Canaries) -> list[Metric]:
    """Share, step, phase and changes of each; nothing where there is none."""
    if not canaries:
        return []
    share = GaugeMetricFamily(
        "gateway_canary_share", "The part of a route's requests for its new service", labels=["route", "to"]
    )
    step = GaugeMetricFamily("gateway_canary_step", "The step of a canary, from 1", labels=["route", "to"])
    phases = GaugeMetricFamily("gateway_canary_phase", "1 for the phase of a canary", labels=["route", "to", "phase"])
    for canary in canaries:
        labels, decision = [canary.route, canary.decision.to], canary.decision
        share.add_metric(labels, decision.share / 100)
        step.add_metric(labels, decision.step + 1)
        for phase in get_args(Phase):
            phases.add_metric([*labels, phase], float(phase == decision.phase))
    changes = CounterMetricFamily("gateway_canary_changes", "What happened to canaries", labels=["route", "what"])
    for (route, what), count in canaries.changes.items():
        changes.add_metric([route, what.replace(" ", "_")], count)
    families: list[Metric] = [share, step, phases, changes]
    if canaries.up is not None:
        text = "Whether all gateways decide together: Redis answers"
        families.append(GaugeMetricFamily("gateway_canary_redis_up", text, value=float(canaries.up)))
    return families
