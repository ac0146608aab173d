"""The cases of HTTP caching against gateways that run: what a client and a service see of each."""

from __future__ import annotations

import pytest

from conformance.caching.caches import CACHES
from conformance.caching.case import cases
from conformance.caching.client import RIGHT
from conformance.caching.comparison import verdicts_of
from conformance.caching.page import TITLES
from conformance.gateways import Contestant

OWN = [each for each in CACHES if each.name.startswith("Portico")]
CASES = cases()


def test_cases_are_told_apart() -> None:
    assert len(CASES) >= 160
    assert len({(case.file, case.name) for case in CASES}) == len(CASES)
    assert {case.file for case in CASES} == TITLES.keys()


@pytest.mark.parametrize("cache", OWN, ids=lambda cache: cache.name)
def test_every_case_is_right(cache: Contestant) -> None:
    """All in one: a gateway for each would take minutes, and they wait side by side."""
    wrong = [
        f"{case.file}: {case.name} ({case.rfc}): {verdict.outcome}: {verdict.detail}"
        for case, verdict in zip(CASES, verdicts_of(cache, CASES), strict=True)
        if verdict.outcome != RIGHT
    ]
    assert not wrong, "\n".join(wrong)
