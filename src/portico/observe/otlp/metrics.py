"""Families of metrics, as `prometheus_client` has them, in OpenTelemetry's words: names and labels stay."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any, Final

from portico.observe.otlp.protobuf import (
    Value,
    attributes,
    double,
    fixed64,
    number,
    packed,
    part,
    text_of,
)

_CUMULATIVE: Final = 2
_SECONDS: Final = "_seconds"


def encoded(families: Iterable[Any], since: int, now: int) -> list[bytes]:
    """Each family as a field of its scope; counters have counted `since` then (nanoseconds since the epoch)."""
    return [part(2, metric) for family in families if (metric := _metric(family, since, now))]


def _metric(family: Any, since: int, now: int) -> bytes:
    times = fixed64(2, since) + fixed64(3, now)
    if family.type == "histogram":
        points = b"".join(part(1, point) for point in _histograms(family, times))
        data = part(9, points + number(2, _CUMULATIVE)) if points else b""
    else:
        samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
        is_counter = family.type == "counter"
        of_all = times if is_counter else fixed64(3, now)
        points = b"".join(part(1, of_all + double(4, sample.value) + _labels(7, sample.labels)) for sample in samples)
        if is_counter:
            data = part(7, points + number(2, _CUMULATIVE) + number(3, 1)) if points else b""
        else:
            data = part(5, points) if points else b""
    unit = part(3, b"s") if family.name.endswith(_SECONDS) else b""
    return part(1, text_of(family.name)) + part(2, text_of(family.documentation)) + unit + data if data else b""


def _labels(field: int, labels: dict[str, str]) -> bytes:
    values: dict[str, Value | None] = {**labels}
    return attributes(field, values)


def _histograms(family: Any, times: bytes) -> list[bytes]:
    """A data point for each series: its buckets stand one behind the other, and do not include those before them."""
    series: dict[tuple[tuple[str, str], ...], list[Any]] = {}
    sums: dict[tuple[tuple[str, str], ...], float] = {}
    for sample in family.samples:
        key = tuple((name, value) for name, value in sample.labels.items() if name != "le")
        if sample.name.endswith("_bucket"):
            series.setdefault(key, []).append(sample)
        elif sample.name.endswith("_sum"):
            sums[key] = sample.value
    points = []
    for key, buckets in series.items():
        up_to = [int(sample.value) for sample in buckets]
        counts = [up_to[0], *(after - before for before, after in pairwise(up_to))]
        bounds = [float(sample.labels["le"]) for sample in buckets[:-1]]
        pieces = [
            times,
            fixed64(4, up_to[-1]),
            double(5, sums.get(key, 0.0)),
            packed(6, "Q", counts),
            packed(7, "d", bounds),
            *(part(8, _exemplar(sample.exemplar)) for sample in buckets if sample.exemplar is not None),
            _labels(9, dict(key)),
        ]
        points.append(b"".join(pieces))
    return points


def _exemplar(exemplar: Any) -> bytes:
    ids = exemplar.labels
    spans = part(4, bytes.fromhex(ids["span_id"])) + part(5, bytes.fromhex(ids["trace_id"]))
    return fixed64(2, int(exemplar.timestamp * 1e9)) + double(3, exemplar.value) + spans
