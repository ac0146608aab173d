"""Metrics that policies define: families of counters and histograms with labels, each with a bounded number of series.

What was counted outlives the policy that counts: one that is loaded anew goes on with the same family.
"""

from __future__ import annotations

import logging
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Any, Final, NamedTuple

logger: Final = logging.getLogger("portico.metrics")

MOST_SERIES: Final = 1000
"""Series that one family has; what has other labels counts as `OTHER` in all of them."""
OTHER: Final = "other"

DURATION_BOUNDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of buckets, in seconds; one more bucket holds what is slower."""
SIDE_BOUNDS: Final = tuple(0.0005 * 2 ** (n / 4) for n in range(69))
"""The same for the sides of a split, which are compared with each other: 0.5 ms to 65 s, 19 % apart."""

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,99}")
_LABEL: Final = re.compile(r"[a-z][a-z0-9_]{0,49}")
_OWN: Final = "gateway_"
_TAKEN: Final = ("_bucket", "_count", "_sum", "_created", "_info", "_total")
"""Endings that Prometheus adds itself."""
_MOST: Final = 1e100
"""More than any number that is counted: sums stay finite."""
_LONGEST: Final = 200
"""Characters of a label's value; what follows is cut off."""


def fill(buckets: list[int], durations: Sequence[float], bounds: Sequence[float] = DURATION_BOUNDS) -> float:
    """Count durations in the buckets with these bounds; their sum."""
    ordered = sorted(durations)
    below = 0
    for index, bound in enumerate(bounds):
        up_to = bisect_right(ordered, bound, below)
        buckets[index] += up_to - below
        below = up_to
    buckets[-1] += len(ordered) - below
    return sum(ordered)


class Shape(NamedTuple):
    """What a family is: two of one name but of different shapes have nothing in common."""

    name: str
    kind: str
    labels: tuple[str, ...]
    bounds: tuple[float, ...]


class Family:
    """All series of one metric in one worker."""

    def __init__(self, shape: Shape, text: str) -> None:
        self.shape = shape
        self.text = text
        self.series: dict[tuple[str, ...], Any] = {}
        self._is_full = False

    def _key(self, labels: dict[str, object]) -> tuple[str, ...]:
        names = self.shape.labels
        if len(labels) != len(names) or any(name not in labels for name in names):
            given, wanted = ", ".join(sorted(labels)) or "none", ", ".join(names) or "none"
            raise ValueError(f"the labels of {self.shape.name} are {wanted}, not {given}")
        key = tuple([str(labels[name]) for name in names])
        if key in self.series:
            return key
        key = tuple([_clean(value) for value in key])
        if key in self.series or len(self.series) < MOST_SERIES:
            return key
        if not self._is_full:
            self._is_full = True
            extra = {"metric": self.shape.name, "series": MOST_SERIES}
            logger.warning("a policy's metric has too many label values: further ones count as other", extra=extra)
        return (OTHER,) * len(names)


class Counter(Family):
    """A number that grows; /metrics shows its sum over all workers, also those that ended."""

    def inc(self, amount: float = 1, **labels: object) -> None:
        """Add to the series with these labels. Raises ValueError for an amount below 0 and for other labels."""
        if not 0 <= amount < _MOST:
            raise ValueError(f"a counter grows: {amount!r} cannot be added")
        key = self._key(labels)
        self.series[key] = self.series.get(key, 0.0) + float(amount)


class Histogram(Family):
    """How often values were up to each bound, and their sum."""

    def observe(self, value: float, **labels: object) -> None:
        """Count a value in the series with these labels. Raises ValueError for other labels, and for no number."""
        if not -_MOST < value < _MOST:
            raise ValueError(f"{value!r} cannot be observed: a finite number is needed")
        key = self._key(labels)
        entry = self.series.get(key)
        if entry is None:
            entry = self.series[key] = [[0] * (len(self.shape.bounds) + 1), 0.0]
        entry[0][bisect_left(self.shape.bounds, value)] += 1
        entry[1] += float(value)


class Families:
    """The families of one worker."""

    def __init__(self) -> None:
        self._shown: dict[str, Family] = {}

    def family(self, shape: Shape, text: str) -> Family:
        """The family of a shape: the one that is shown, or a new one, which is not shown yet."""
        shown = self._shown.get(shape.name)
        if shown is not None and shown.shape == shape:
            shown.text = text
            return shown
        return Counter(shape, text) if shape.kind == "counter" else Histogram(shape, text)

    def show(self, families: Iterable[Family]) -> None:
        """Show these from now on, in place of others of the same names."""
        self._shown |= {family.shape.name: family for family in families}

    def own_counter(self, name: str, text: str, labels: tuple[str, ...]) -> Counter:
        """A counter of the gateway's own."""
        counter = Counter(Shape(name, "counter", labels, ()), text)
        self.show([counter])
        return counter

    def dump(self) -> list[Any]:
        """Name, kind, labels, bounds, text and series of each, as plain data."""
        return [
            [*family.shape, family.text, [[key, value] for key, value in family.series.items()]]
            for family in self._shown.values()
        ]


class Definitions:
    """The metrics of the policies of one configuration: `metrics` in their context.

    They are shown while that configuration is in use.
    """

    def __init__(self, families: Families) -> None:
        self._families = families
        self._made: dict[str, Family] = {}
        self.is_in_use = False

    def counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Counter:
        """The counter `name`; `/metrics` calls it `name_total`. The same for all that define it alike.

        Raises ValueError for a name that is none, or that is defined differently.
        """
        family = self._define(name.removesuffix("_total"), "counter", text, labels, ())
        assert isinstance(family, Counter)
        return family

    def histogram(self, name: str, text: str, labels: Sequence[str] = (), buckets: Sequence[float] = ()) -> Histogram:
        """The histogram `name`, with the upper bounds of its buckets; without any they suit durations in seconds.

        Raises ValueError as `counter` does, and for bounds that do not grow.
        """
        bounds = tuple(float(bound) for bound in buckets) or DURATION_BOUNDS
        if list(bounds) != sorted(set(bounds)) or not all(map(isfinite, bounds)):
            raise ValueError("buckets are finite upper bounds, each more than the one before")
        family = self._define(name, "histogram", text, labels, bounds)
        assert isinstance(family, Histogram)
        return family

    def take_effect(self) -> None:
        """The configuration is in use from now on."""
        self.is_in_use = True
        self._families.show(self._made.values())

    def _define(self, name: str, kind: str, text: str, labels: Sequence[str], bounds: tuple[float, ...]) -> Family:
        if not _NAME.fullmatch(name) or name.endswith(_TAKEN) or name.startswith(_OWN):
            raise ValueError(
                f"{name!r} is no name of a metric: small letters, digits and _, not beginning with {_OWN} "
                f"and not ending with {', '.join(_TAKEN)}"
            )
        if isinstance(labels, str):
            raise TypeError(f"labels are a list of names: [{labels!r}]")
        for label in labels:
            if not _LABEL.fullmatch(label) or label == "le" or list(labels).count(label) > 1:
                raise ValueError(f"{label!r} is no name of a label: small letters, digits and _, each once, and not le")
        shape = Shape(name, kind, tuple(labels), bounds)
        family = self._made.get(name)
        if family is None:
            family = self._made[name] = self._families.family(shape, _clean(text))
            if self.is_in_use:
                self._families.show([family])
        if family.shape != shape:
            known = family.shape.kind
            raise ValueError(f"the metric {name} is defined already, as a {known} with other labels or buckets")
        return family


def _clean(text: str) -> str:
    """Text that can be sent to whoever reads the page."""
    return text[:_LONGEST].encode("utf-8", "replace").decode()


def add_up_families(dumps: Iterable[list[Any]]) -> list[Any]:
    """The sum of several workers' families; of those that share a name but not their shape, the first are shown."""
    sums: dict[str, list[Any]] = {}
    for family in (family for dump in dumps for family in dump):
        *shape, text, series = family
        known = sums.setdefault(shape[0], [*shape, text, {}])
        if known[:4] == shape:
            for key, value in series:
                _add(known[5], tuple(key), value)
    return [[*shape, [[list(key), value] for key, value in series.items()]] for *shape, series in sums.values()]


def _add(series: dict[tuple[str, ...], Any], key: tuple[str, ...], value: Any) -> None:
    if key not in series and len(series) >= MOST_SERIES:
        key = (OTHER,) * len(key)
    known = series.get(key)
    if known is None:
        series[key] = value
    elif isinstance(value, list):
        series[key] = [[a + b for a, b in zip(known[0], value[0], strict=True)], known[1] + value[1]]
    else:
        series[key] = known + value
