"""Metrics that policies define: one family for all that define it alike, bounded, and added up over workers."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_text

from observe.test_metrics import labels, page, totals
from portico.observe.families import MOST_SERIES, Definitions, Families, add_up_families
from portico.processes.control.exposition import render_metrics
from portico.processes.control.workers import add_up


def in_use(families: Families) -> Definitions:
    definitions = Definitions(families)
    definitions.take_effect()
    return definitions


def dumped(families: Families) -> list[Any]:
    """As they come out of the channel."""
    found: list[Any] = json.loads(json.dumps(families.dump()))
    return found


def test_workers_counts_are_added_up_on_the_page() -> None:
    workers = []
    for number in (1, 2):
        families = Families()
        metrics = in_use(families)
        metrics.counter("tenants_seen_total", "Requests of tenants", ["tenant"]).inc(number, tenant='a"\n')
        metrics.counter("plain", "No labels").inc()
        latency = metrics.histogram("lookup_seconds", "How long look-ups took", ["kind"], buckets=[0.1, 1])
        for value in (0.1, 0.5, 7):
            latency.observe(value * number, kind="redis")
        workers.append(totals(families=dumped(families)))
    found = page(workers[:1], workers[1:])
    assert found["tenants_seen_total", labels(tenant='a"\n')] == 3
    assert found["plain_total", ()] == 2
    buckets = {dict(pairs)["le"]: value for (name, pairs), value in found.items() if name == "lookup_seconds_bucket"}
    assert buckets == {"0.1": 1, "1.0": 4, "+Inf": 6}
    assert found["lookup_seconds_sum", labels(kind="redis")] == pytest.approx(22.8)
    assert found["lookup_seconds_count", labels(kind="redis")] == 6
    text = render_metrics(workers, [], {}, "")[0].decode()
    types = {family.name: (family.type, family.documentation) for family in parse_text(text)}
    assert types["tenants_seen"] == ("counter", "Requests of tenants")
    assert types["lookup_seconds"] == ("histogram", "How long look-ups took")
    assert add_up([add_up(workers)])["families"] == add_up(workers)["families"]


def test_all_that_define_a_metric_alike_count_in_one() -> None:
    families = Families()
    one, other = in_use(families), Definitions(families)
    one.counter("seen", "Seen", ["a"]).inc(a=1)
    other.counter("seen_total", "Seen before", ["a"]).inc(a=1)
    other.take_effect()
    assert families.dump()[0][-2:] == ["Seen before", [[("1",), 2]]]


def test_another_shape_is_shown_once_it_is_in_use_and_not_before() -> None:
    families = Families()
    before, after = in_use(families), Definitions(families)
    before.counter("seen", "Seen", ["a"]).inc(a=1)
    after.counter("seen", "Seen", ["b"]).inc(b=1)
    assert families.dump()[0][2] == ("a",)
    after.take_effect()
    (family,) = families.dump()
    assert (family[2], family[-1]) == (("b",), [[("1",), 1]])
    added = add_up_families([dumped(families), [["seen", "counter", ["a"], [], "Seen", [[["1"], 9]]]]])
    assert added == dumped(families), "a worker that ended counted something else"


def test_one_configuration_cannot_have_two_of_one_name() -> None:
    metrics = in_use(Families())
    metrics.counter("seen", "Seen", ["a"])
    with pytest.raises(ValueError, match="seen is defined already, as a counter with other labels or buckets"):
        metrics.counter("seen", "Seen", ["b"])
    with pytest.raises(ValueError, match="is defined already"):
        metrics.histogram("seen", "Seen", ["a"])


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Seen",
        "1x",
        "a-b",
        "gateway_requests",
        "gateway_mine",
        "x_bucket",
        "x_count",
        "x_sum",
        "a\n",
        "x_total_total",
    ],
)
def test_names_that_are_refused(name: str) -> None:
    metrics = in_use(Families())
    with pytest.raises(ValueError, match="is no name of a metric"):
        metrics.counter(name, "")
    with pytest.raises(ValueError, match="is no name of a metric"):
        metrics.histogram(name, "")


@pytest.mark.parametrize("names", [["le"], ["A"], ["a", "a"], ["a b"]])
def test_labels_that_are_refused(names: list[str]) -> None:
    with pytest.raises(ValueError, match="is no name of a label"):
        in_use(Families()).counter("seen", "", names)


def test_labels_are_a_list() -> None:
    with pytest.raises(TypeError, match=re.escape("labels are a list of names: ['kind']")):
        in_use(Families()).counter("seen", "", "kind")


@pytest.mark.parametrize("buckets", [[1, 1], [2, 1], [1, float("inf")], [float("nan"), 1]])
def test_buckets_that_are_refused(buckets: list[float]) -> None:
    with pytest.raises(ValueError, match="finite upper bounds"):
        in_use(Families()).histogram("seen", "", (), buckets)


def test_what_does_not_fit_is_refused_and_not_counted() -> None:
    families = Families()
    counter = in_use(families).counter("seen", "", ["a"])
    for wrong in ({}, {"b": 1}, {"a": 1, "b": 1}):
        with pytest.raises(ValueError, match="the labels of seen are a, not"):
            counter.inc(**wrong)
    for amount in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="a counter grows"):
            counter.inc(amount, a=1)
    for value in (float("nan"), float("-inf")):
        with pytest.raises(ValueError, match="a finite number is needed"):
            in_use(families).histogram("values", "").observe(value)
    assert [family[-1] for family in families.dump()] == [[], []]


def test_label_values_of_any_kind_can_be_sent() -> None:
    families = Families()
    counter = in_use(families).counter("seen", "", ["a"])
    for value in ("\ud800", "x" * 1000, None, 'a"\n\x00'):
        counter.inc(a=value)
        counter.inc(a=value)
    found = page([totals(families=dumped(families))])
    assert {dict(pairs)["a"]: count for (name, pairs), count in found.items() if name == "seen_total"} == {
        "?": 2,
        "x" * 200: 2,
        "None": 2,
        'a"\n\x00': 2,
    }


def test_label_values_are_bounded_and_that_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    dumps = []
    for worker in range(2):
        families = Families()
        counter = in_use(families).counter("seen", "", ["a", "b"])
        for number in range(MOST_SERIES + 50):
            counter.inc(a=f"{worker}-{number}", b="x")
        counter.inc(a=f"{worker}-0", b="x")
        dumps.append(dumped(families))
    assert [record.getMessage() for record in caplog.records] == [
        "a policy's metric has too many label values: further ones count as other"
    ] * 2
    (family,) = add_up_families(dumps)
    series = {tuple(key): count for key, count in family[-1]}
    assert len(series) == MOST_SERIES + 1
    assert series["other", "other"] == 50 + 50 + MOST_SERIES + 1
    assert series["0-0", "x"] == 2
