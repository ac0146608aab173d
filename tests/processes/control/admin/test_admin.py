"""How many may ask the admin API at once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx

from portico.config import load_text
from portico.processes.control.acme.certificates import Certificates
from portico.processes.control.admin import app as admin_module
from portico.processes.control.admin.app import create_admin
from portico.processes.control.api_keys import ApiKeys
from portico.processes.control.cache_purges import CachePurges
from portico.processes.control.canaries import Canaries
from portico.processes.control.discovery import Discovery
from portico.processes.control.health import HealthChecks
from portico.processes.control.issuer_keys import IssuerKeys
from portico.processes.control.openapi.documents import Documents
from portico.processes.control.reloading import Reloading
from portico.processes.control.state import State
from portico.processes.control.tokens.issuing import Issuing
from portico.processes.control.workers import Workers
from portico.processes.ipc.runtime import Runtime

TIMEOUT = 10.0


class HeldWorkers(Workers):
    """Workers that report when they are allowed to."""

    def __init__(self) -> None:
        super().__init__()
        self.may_report = asyncio.Event()
        self.asked = 0

    async def running(self) -> dict[str, dict[str, Any]]:
        self.asked += 1
        await self.may_report.wait()
        return {}


def test_the_number_of_pending_worker_reports_is_bounded(tmp_path: Path) -> None:
    async def play() -> None:
        config = load_text("services: {s: {url: http://h}}", "portico.yaml", {})
        workers = HeldWorkers()
        health = HealthChecks(workers.set_health, workers.instance_states, workers.check_passed)
        discovery = Discovery(config, Runtime(tmp_path), workers, health)
        unused: Any = None
        api_keys = ApiKeys(workers, Runtime(tmp_path), None)
        canaries = Canaries(workers, Runtime(tmp_path), None)
        tokens = Issuing(workers, Runtime(tmp_path))
        others = (
            CachePurges(workers),
            IssuerKeys(workers),
            api_keys,
            canaries,
            tokens,
            Certificates(workers, Runtime(tmp_path)),
            Documents(workers, health, Runtime(tmp_path), None),
        )
        state = State(config, 1, None, workers, health, discovery, *others)
        app = create_admin(state, Reloading(state, unused, unused), is_local=True)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
            targets = ["/admin/services", "/admin/status"] * (admin_module._AT_ONCE // 2)
            admitted = [asyncio.create_task(client.get(target)) for target in targets]
            while workers.asked < admin_module._AT_ONCE:
                await asyncio.sleep(0)
            for target in ("/admin/services", "/admin/status"):
                refused = await client.get(target)
                assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
                assert refused.headers["content-type"] == "application/problem+json"
            assert (await client.get("/admin/registry")).status_code == 200, "which asks no worker"
            workers.may_report.set()
            assert [answer.status_code for answer in await asyncio.gather(*admitted)] == [200] * len(targets)
            assert (await client.get("/admin/status")).status_code == 200

    asyncio.run(asyncio.wait_for(play(), TIMEOUT))
