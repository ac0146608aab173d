"""The page of a gateway's metrics (Prometheus's text format), as tests read it."""

from __future__ import annotations

import re

from .world import Gateway

_SAMPLE = re.compile(r"([a-z_]+)(?:\{(.*)\})? (\S+)")

Samples = dict[tuple[str, tuple[str, ...]], float]


def samples(page: str) -> Samples:
    """Every sample of a page, by name and its labels in order of name."""
    found = {}
    for line in page.splitlines():
        if line and not line.startswith("#"):
            match = _SAMPLE.fullmatch(line)
            assert match, line
            labels = tuple(sorted(re.findall(r'\w+="[^"]*"', match[2] or "")))
            found[match[1], labels] = float(match[3])
    return found


def page(gateway: Gateway) -> Samples:
    return samples(gateway.get("/metrics").body.decode())


def metric(gateway: Gateway, name: str, **labels: str) -> float | None:
    """One sample; None where it is not there."""
    return page(gateway).get((name, tuple(f'{key}="{value}"' for key, value in sorted(labels.items()))))


def total(gateway: Gateway, name: str) -> float:
    """The sum of a metric's samples, whatever their labels."""
    return sum(value for (own, _), value in page(gateway).items() if own == name)


def in_flight(gateway: Gateway) -> int:
    """Requests under way, less the one that asks for them."""
    found = metric(gateway, "gateway_requests_in_flight")
    assert found is not None
    return int(found) - 1
