"""Who may use the gateway's own endpoints."""

from __future__ import annotations

import pytest

from config.conftest import Load, Report

ONE = "services: {a: {url: http://h}}\n"


def test_they_are_public_unless_something_else_is_written(load: Load) -> None:
    assert load(ONE).gateway.endpoints.served() == ["/", "/health", "/metrics", "/docs", "/openapi.json"]
    written = "{root: off, health: {access: internal}, metrics: Admin, docs: no, networks: [10.0.0.0/8]}"
    text = f"gateway: {{endpoints: {written}}}\n"
    endpoints = load(text + ONE).gateway.endpoints
    assert [endpoints.access(path) for path in ("/", "/health", "/metrics")] == ["off", "internal", "admin"]
    assert endpoints.served() == ["/health"]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("{health: internal}", "gateway.endpoints: internal needs networks: name those of your own"),
        ("{metrics: secret}", "gateway.endpoints.metrics: "),
        ("{metrics: on}", "gateway.endpoints.metrics: "),
        ("{health: {detail: few}}", "gateway.endpoints.health.detail: "),
        ("{networks: [10.0.0.1/8]}", "gateway.endpoints.networks[0]: the address has bits beyond the network's"),
        ("{livez: off}", "gateway.endpoints.livez: unknown key"),
    ],
)
def test_what_is_refused(report: Report, written: str, message: str) -> None:
    (line,) = report(f"gateway: {{endpoints: {written}}}\n{ONE}")
    assert line.split(": ", 1)[1].startswith(message), line
