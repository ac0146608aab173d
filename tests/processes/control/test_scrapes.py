"""Many who scrape `/metrics` at the same time: how often the page is made, and what each gets."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from portico.config import load_text
from portico.processes.control import scrapes as scrapes_module
from portico.processes.control.acme.certificates import Certificates
from portico.processes.control.api_keys import ApiKeys
from portico.processes.control.cache_purges import CachePurges
from portico.processes.control.canaries import Canaries
from portico.processes.control.discovery import Discovery
from portico.processes.control.health import HealthChecks
from portico.processes.control.issuer_keys import IssuerKeys
from portico.processes.control.openapi.documents import Documents
from portico.processes.control.scrapes import Scrapes
from portico.processes.control.state import State
from portico.processes.control.tokens.issuing import Issuing
from portico.processes.control.workers import Workers
from portico.processes.ipc.runtime import Runtime

TIMEOUT = 10.0
OPEN_METRICS = "application/openmetrics-text"


def test_concurrent_callers_share_one_page_of_a_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client may name any version of a format: that makes no page of its own."""
    rendered: list[str] = []

    def render(live: Any, ended: Any, health: Any, accept: str, *more: Any) -> tuple[bytes, str]:
        rendered.append(accept)
        return f"page of {accept}".encode(), ""

    monkeypatch.setattr(scrapes_module, "render_metrics", render)
    accepted = ["", "text/plain;version=0.0.4", *(f"text/plain;version=1.0.{number}" for number in range(50))]
    accepted += [OPEN_METRICS, *(f"{OPEN_METRICS};version=1.0.{number}" for number in range(50))]

    async def play() -> None:
        config = load_text("services: {s: {url: http://h}}", "portico.yaml", {})
        workers = Workers()
        health = HealthChecks(workers.set_health, workers.instance_states, workers.check_passed)
        runtime = Runtime(tmp_path)
        discovery, purges = Discovery(config, runtime, workers, health), CachePurges(workers)
        api_keys = ApiKeys(workers, Runtime(tmp_path), None)
        canaries = Canaries(workers, runtime, None)
        others = (
            purges,
            IssuerKeys(workers),
            api_keys,
            canaries,
            Issuing(workers, runtime),
            Certificates(workers, runtime),
            Documents(workers, health, runtime, None),
        )
        scrapes = Scrapes(State(config, 1, None, workers, health, discovery, *others))
        pages = await asyncio.gather(*(scrapes.page(accept) for accept in accepted))
        for no_version in (f"{OPEN_METRICS};version=new", 'text/plain;version="1.0.0"'):
            assert (await scrapes.page(no_version))[0] == b"page of text/plain"
        for accept, (page, content_type) in zip(accepted, pages, strict=True):
            kind = OPEN_METRICS if accept.startswith(OPEN_METRICS) else "text/plain"
            assert content_type.startswith(kind)
            assert page == f"page of {kind}".encode()

    asyncio.run(asyncio.wait_for(play(), TIMEOUT))
    assert sorted(rendered) == [OPEN_METRICS, *["text/plain"] * 3]
