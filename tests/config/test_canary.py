"""A canary as it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from config.conftest import Load, Report
from portico.config import file_problems
from portico.config.canary import CanarySettings, LatencyLimit
from portico.config.warnings import warnings_for

SERVICES = """
services:
  shop: {url: http://shop}
  next: {url: http://next}
  old: {url: http://old, versions: {v1: {}, v2: {url: http://two}}}
  asked: {url: http://asked, version_by: header, versions: {v1: {}, v2: {}}}
  guarded: {url: http://guarded, policies: {auth: {jwt: {secret: a-secret-of-32-bytes-or-more-123}}}}
"""


def route(written: str) -> str:
    return f"{SERVICES}routes: [{{path: /shop, {written}}}]"


def canary(**written: Any) -> CanarySettings:
    return CanarySettings.model_validate({"to": "next", **written})


def test_what_holds_where_nothing_is_written() -> None:
    settings = canary()
    assert settings.steps == (1, 5, 25, 100)
    assert (settings.every, settings.min_requests, settings.if_fewer) == (600, 100, "wait")
    assert (settings.abort_if.errors, settings.abort_if.p99) == (None, None)


def test_per_cent_is_written_with_its_sign_or_without() -> None:
    assert canary(steps=["0.5%", 5, "25", 100.0]).steps == (0.5, 5, 25, 100)


@pytest.mark.parametrize(
    ("written", "limit"),
    [("2x", (2, True)), ("1.5 x", (1.5, True)), ("500ms", (0.5, False)), ("2s", (2, False))],
)
def test_latency_limits(written: Any, limit: tuple[float, bool]) -> None:
    assert canary(abort_if={"p99": written}).abort_if.p99 == LatencyLimit(*limit)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"steps": []}, "at least 1"),
        ({"steps": [5, 5]}, "5 is not more than 5"),
        ({"steps": [25, 5, 100]}, "5 is not more than 25"),
        ({"steps": [0, 5]}, "greater than or equal to 0.01"),
        ({"steps": [101]}, "less than or equal to 100"),
        ({"steps": [True]}, "expected per cent"),
        ({"abort_if": {"errors": 2}}, "write 2% or 0.02"),
        ({"abort_if": {"errors": "0%"}}, "greater than 0"),
        ({"abort_if": {"p99": "1x"}}, "more than 1x"),
        ({"abort_if": {"p99": "fast"}}, "expected a multiple of the old side's, such as 2x"),
        ({"abort_if": {"p99": 2}}, "expected a multiple of the old side's, such as 2x, or a duration, such as 500ms"),
        ({"abort_if": {"p99": "0.5"}}, "expected a multiple"),
        ({"abort_if": {"p99": True}}, "expected a multiple"),
        ({"abort_if": {"p99": float("inf")}}, "expected a multiple"),
        ({"abort_if": {"p99": [1]}}, "expected a multiple"),
        ({"every": 0}, "greater than 0"),
        ({"min_requests": -1}, "greater than or equal to 0"),
        ({"if_fewer": "stop"}, "'wait' or 'continue'"),
    ],
)
def test_what_cannot_be_meant(written: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        canary(**written)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("service: shop, canary: ", "canary: nothing is written after the colon: write canary: {to: SERVICE}"),
        ("service: shop, canary: {steps: [5]}", 'canary: the key "to" has to be written'),
        ("service: shop, canary: {to: nxt}", 'canary.to: there is no service "nxt"; did you mean "next"?'),
        ("service: shop, canary: {to: shop}", "canary.to: is the service of the route itself"),
        ("service: old, version: v1, canary: {to: old, version: v1}", "canary.to: is the service of the route itself"),
        ("service: old, canary: {to: old, version: v3}", 'canary.version: the service old has no version "v3"'),
        ("service: shop, canary: {to: asked}", "canary.to: write the version of asked, too: one of v1, v2"),
        ("service: asked, canary: {to: shop}", "service: write the version of asked, too: one of v1, v2"),
        ("service: shopp, canary: {to: shop}", 'service: there is no service "shopp"; did you mean "shop"?'),
        ("respond: 204, canary: {to: shop}", "canary: is for routes with a service, which is the old one"),
        ("split: [{service: shop, weight: 1}], canary: {to: next}", "canary: is for routes with a service"),
        ("service: shop, canary: {to: next, abort_if: }", "abort_if: nothing is written after the colon: write abort"),
        ("service: shop, canary: next", "canary: expected keys and values: write canary: {to: SERVICE}"),
        ("service: shop, canary: {to: next, step: [1]}", 'step: unknown key; did you mean "steps"?'),
        ("service: shop, canary: {to: guarded}", "canary: the policies auth of shop and guarded differ"),
    ],
)
def test_what_does_not_fit_together(report: Report, written: str, message: str) -> None:
    (line,) = report(route(written))
    assert message in line


def test_a_route_to_both_services(load: Load) -> None:
    routes = load(route("service: old, version: v1, sticky: cookie, canary: {to: old, version: v2}")).all_routes
    sides = [each for each in routes if each.path == "/shop"]
    assert {(each.name, each.service) for each in sides} == {("old-v1", "old")}
    assert [each.version for each in sides] == ["v1", "v2"]
    choice = sides[0].split
    assert choice is not None
    assert (choice.weights, choice.canary is not None) == ({"old@v1": 100, "old@v2": 0}, True)


@pytest.mark.parametrize(("abort_if", "warned"), [("", True), (", abort_if: {errors: 2%}", False)])
def test_one_that_never_goes_back_is_warned_of(load: Load, abort_if: str, warned: bool) -> None:
    found = [str(each) for each in warnings_for(load(route(f"service: shop, canary: {{to: next{abort_if}}}")))]
    assert any("canary: never goes back by itself" in line for line in found) is warned


def test_a_state_directory_that_cannot_be_used(load: Load, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name, is_wrong in (("new/deep", False), ("file", True), ("file/below", True)):
        (*lines,) = map(
            str, file_problems(load(f"gateway: {{state_dir: {tmp_path / name}}}\nservices: {{a: {{url: http://h}}}}"))
        )
        assert [line.partition(": ")[2][:17] for line in lines] == ["gateway.state_dir"] * is_wrong
