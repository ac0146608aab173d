"""What Portico means to reach, and whether a run shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks import metrics
from benchmarks.metrics import Metric
from benchmarks.result import Result
from benchmarks.rules import Cost
from benchmarks.table import NOT_MEASURABLE
from support.markdown import markdown

Measure = Callable[[Result], float | None]


@dataclass(frozen=True)
class Target:
    """A number of one scenario and its bound: at most that, or with `at_least` at least."""

    title: str
    scenario: str
    measure: Measure
    bound: float
    at_least: bool = False
    unit: str = ""

    def is_met(self, value: float) -> bool:
        """Whether it keeps the bound."""
        return value >= self.bound if self.at_least else value <= self.bound


def targets(results: Sequence[Result], costs: Sequence[Cost] = ()) -> str:
    """A table of those whose scenario was played, and of the rules that have a bound."""
    played = {result.scenario.name: result for result in results}
    rows = [_row(target, played) for target in TARGETS if target.scenario in played]
    rows += [_row_of_rule(cost, cost.rule.bound) for cost in costs if cost.rule.bound is not None]
    return markdown([["", "target", "measured", "met"], *rows]) if rows else ""


def _row(target: Target, played: Mapping[str, Result]) -> list[str]:
    result = played[target.scenario]
    value = target.measure(result)
    wanted = f"{'≥' if target.at_least else '≤'} {target.bound:g}{target.unit}"
    if value is None:
        return [target.title, wanted, NOT_MEASURABLE if result.lacks_room() else "not measured", "-"]
    return [target.title, wanted, f"{value:.2f}{target.unit}", "yes" if target.is_met(value) else "no"]


def _row_of_rule(cost: Cost, bound: float) -> list[str]:
    met = "yes" if cost.added <= bound else "no"
    return [f"added by {cost.rule.title}", f"≤ {bound:g} µs", f"{cost.added:.2f} µs", met]


def _portico(metric: Metric) -> Measure:
    return lambda result: result.median(metric, result.row("portico"))


def _over(metric: Metric, base: str) -> Measure:
    return _quotient(metric, ("portico", ""), (base, ""))


def _between(metric: Metric, variant: str, base: str) -> Measure:
    return _quotient(metric, ("portico", variant), ("portico", base))


def _quotient(metric: Metric, above: tuple[str, str], below: tuple[str, str]) -> Measure:
    def measure(result: Result) -> float | None:
        return result.ratio(metric, result.row(*above), result.row(*below))

    return measure


def _slowed_by_bad_tokens(peer: str) -> Measure:
    return _quotient(metrics.P99, (peer, "beside bad tokens"), (peer, "alone"))


def _slowed_beside_envoy(result: Result) -> float | None:
    own, envoys = (_slowed_by_bad_tokens(peer)(result) for peer in ("portico", "envoy"))
    return own / envoys if own is not None and envoys else None


TARGETS: tuple[Target, ...] = (
    Target("crowd, CPU: Portico ÷ nginx+lua", "crowd", _over(metrics.CPU, "nginx+lua"), 1.2),
    Target("crowd, CPU: Portico ÷ Envoy", "crowd", _over(metrics.CPU, "envoy"), 0.55),
    Target("crowd, p99: Portico ÷ nginx", "crowd", _over(metrics.P99, "nginx"), 1.2),
    Target("browser, CPU: Portico ÷ nginx+lua", "browser", _over(metrics.CPU, "nginx+lua"), 1.25),
    Target("all policies, CPU: Portico ÷ nginx+lua", "all-policies", _over(metrics.CPU, "nginx+lua"), 1.0),
    Target("all policies, CPU: Portico ÷ Envoy", "all-policies", _over(metrics.CPU, "envoy"), 0.6),
    Target("all policies, CPU: Portico ÷ Caddy", "all-policies", _over(metrics.CPU, "caddy"), 0.4),
    Target(
        "all policies, CPU: seed sample ÷ Portico",
        "all-policies",
        _quotient(metrics.CPU, ("seed sample", ""), ("portico", "")),
        500,
        at_least=True,
    ),
    Target("all policies, p99: Portico ÷ nginx", "all-policies", _over(metrics.P99, "nginx"), 1.2),
    Target(
        "redis limit, CPU: shared ÷ in memory",
        "redis-limit",
        _quotient(metrics.CPU, ("portico, limit in Redis", ""), ("portico", "")),
        1.5,
    ),
    Target(
        "traces of 1 %, CPU: with ÷ without",
        "traced",
        _quotient(metrics.CPU, ("portico, 1 % traced", ""), ("portico", "")),
        1.05,
    ),
    Target(
        "traces of all, CPU: with ÷ without",
        "traced",
        _quotient(metrics.CPU, ("portico, all traced", ""), ("portico", "")),
        1.5,
    ),
    Target("CPU of the worker: dashboard open ÷ closed", "watched", _between(metrics.WORKER, "open", "closed"), 1.02),
    Target("plain, CPU: Portico ÷ nginx", "plain", _over(metrics.CPU, "nginx"), 1.25),
    Target("plain, CPU: Portico ÷ nginx that sends as much", "plain", _over(metrics.CPU, "nginx, fields sent"), 1.3),
    Target(
        "cache hit, all policies, CPU: from the cache ÷ proxied",
        "cached-policies",
        _quotient(metrics.CPU, ("portico", "hit"), ("portico, no cache", "hit")),
        0.55,
    ),
    Target(
        "cache hit, all policies, CPU: Portico ÷ nginx+lua",
        "cached-policies",
        _quotient(metrics.CPU, ("portico", "hit"), ("nginx+lua", "hit")),
        1.0,
    ),
    Target(
        "cache hit, CPU: Portico ÷ nginx", "cache", _quotient(metrics.CPU, ("portico", "hit"), ("nginx", "hit")), 1.3
    ),
    Target(
        "cache hit, CPU: Portico ÷ Varnish",
        "cache",
        _quotient(metrics.CPU, ("portico", "hit"), ("varnish", "hit")),
        1.0,
    ),
    Target(
        "cache hit in Redis, CPU: from the cache ÷ proxied",
        "cache",
        _quotient(metrics.CPU, ("portico, cache in Redis", "hit"), ("portico, no cache", "hit")),
        1.0,
    ),
    Target(
        "cache miss, CPU: stored ÷ proxied",
        "cache",
        _quotient(metrics.CPU, ("portico", "miss"), ("portico, no cache", "miss")),
        1.15,
    ),
    Target("routes, CPU: 10,000 ÷ 10", "routes", _between(metrics.CPU, "10,000 routes", "10 routes"), 1.05),
    Target("patterns, CPU: 1,000 ÷ 1", "patterns", _between(metrics.CPU, "1,000 patterns", "1 pattern"), 1.1),
    Target("64 KiB of JSON with gzip, CPU: Portico ÷ nginx", "compress", _over(metrics.CPU, "nginx"), 1.1),
    Target(
        "64 KiB of JSON, CPU: Portico with zstd ÷ nginx with gzip",
        "compress",
        _quotient(metrics.CPU, ("portico, zstd", ""), ("nginx", "")),
        0.6,
    ),
    Target(
        "p99 of other requests: beside 50 MiB that are compressed ÷ alone",
        "beside-compression",
        _between(metrics.P99, "beside 50 MiB", "alone"),
        1.2,
    ),
    Target(
        "p99 of other requests: beside a flood of bad tokens ÷ alone",
        "beside-bad-tokens",
        _slowed_by_bad_tokens("portico"),
        1.5,
    ),
    Target("the same: Portico's ÷ Envoy's", "beside-bad-tokens", _slowed_beside_envoy, 1.0),
    Target("headers, CPU: 40 ÷ 5", "headers", _between(metrics.CPU, "40 headers", "5 headers"), 1.6),
    Target(
        "1 GiB, bytes per CPU second: Portico ÷ nginx", "gibibyte", _over(metrics.PER_CPU, "nginx"), 0.7, at_least=True
    ),
    Target("1 GiB, growth of memory", "gibibyte", _portico(metrics.GROWTH), 16, unit=" MiB"),
    Target("memory per idle connection", "idle", _portico(metrics.PER_CONNECTION), 12, unit=" KiB"),
    Target("requests/s: 2 workers ÷ 1", "workers", _between(metrics.RATE, "2 workers", "1 worker"), 1.9, at_least=True),
)
"""Bounds of one machine would mean little: all but the memory's, and those of rules, are ratios."""
