"""`gateway.metrics`: requests by route and by instance, of those that there are now."""

from __future__ import annotations

import os
import signal
from typing import Any

from support.backend import Backend
from support.world import Gateway, until


def counted(gateway: Gateway, part: str) -> dict[str, float]:
    """How many requests each route or instance has had with status 200."""
    counts = {}
    for line in gateway.get("/metrics").body.decode().splitlines():
        if line.startswith(f"gateway_{part}_requests_total{{") and 'status="200"' in line:
            counts[line.partition(f'{part}="')[2].partition('"')[0]] = float(line.rpartition(" ")[2])
    return counts


def config(*backends: Backend, parts: bool = True) -> dict[str, Any]:
    return {
        "gateway": {"workers": 2, "metrics": {"routes": parts, "instances": parts}},
        "services": {"s": {"instances": [each.url for each in backends], "health_check": False}},
        "routes": [{"service": "s", "path": f"/{name}", "name": name} for name in ("a", "b")],
    }


def test_routes_and_instances_that_are_gone_are_gone_from_the_page() -> None:
    with Backend() as first, Backend() as second, Gateway(config(first, second)) as gateway:
        gateway.wait_for_control()
        for path in ("/a/x", "/a/x", "/b/x", "/b/x"):
            assert gateway.get(path).status == 200
        assert counted(gateway, "route") == {"a": 2, "b": 2}
        by_instance = counted(gateway, "instance")
        assert (by_instance.keys() <= {first.url, second.url}, sum(by_instance.values())) == (True, 4)
        page = gateway.get("/metrics").body.decode()
        assert 'gateway_route_duration_seconds_count{route="a",service="s"} 2.0' in page
        assert "gateway_instance_duration_seconds_bucket{" in page

        until(lambda: "gateway_workers 2.0" in gateway.get("/metrics").body.decode(), "both have reported")
        for pid in gateway.workers():
            os.kill(pid, signal.SIGKILL)
        until(lambda: gateway.get("/b/x").status == 200, "others serve")
        until(lambda: counted(gateway, "route") == {"a": 2, "b": 3}, "what the dead counted is kept")

        fewer = config(second)
        fewer["routes"].pop()
        gateway.write(fewer)
        gateway.reload()
        until(lambda: counted(gateway, "route") == {"a": 2}, "the other route is gone")
        assert counted(gateway, "instance").keys() <= {second.url}
        assert first.url not in gateway.get("/metrics").body.decode()

        gateway.write(config(second, parts=False))
        gateway.reload()
        before = counted(gateway, "route")
        assert gateway.get("/b/x").status == 200
        assert counted(gateway, "route") == before, "nothing more is counted"
