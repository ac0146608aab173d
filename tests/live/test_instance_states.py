"""What the admin API, `/health` and `portico services` say of instances that workers have ejected."""

from __future__ import annotations

import signal
import subprocess
from typing import Any

import pytest

from support.backend import Backend, Script
from support.breakers import instances, openings, states
from support.portico import run_portico
from support.process import free_port
from support.running import be_well, running, service
from support.scripts import hangs, resets, says
from support.world import Gateway, until


def health(gateway: Gateway) -> dict[str, Any]:
    page: dict[str, Any] = gateway.get("/health").json()["services"]["s"]
    return page


def portico_services(gateway: Gateway) -> subprocess.CompletedProcess[str]:
    return run_portico("services", "--config", str(gateway.file), "--admin", f"127.0.0.1:{gateway.admin_port}")


def row_of(backend: Backend, table: str) -> str:
    """Its line, with one space between words."""
    return next(" ".join(line.split()) for line in table.splitlines() if backend.url in line)


@pytest.mark.parametrize("script", [says("500 No"), resets])
def test_one_of_two_workers_ejects_an_instance_and_takes_it_back(script: Script) -> None:
    """One client with one connection: it is one worker that sees failures.

    The other one sees none. That more are out than may be has the instance used again, and so it comes back.
    """
    few = {"failures": 2, "open_for": "1h"}
    with Backend(name="a") as a, Backend(script, name="b") as b:
        config: dict[str, Any] = {"gateway": {"workers": 2}}
        config["services"] = {"s": service(a, b, passive_health=few, slow_start="1h")}
        with Gateway(config) as gateway:
            gateway.wait_for_control()
            until(lambda: states(gateway) == [{"active": 2}, {"active": 2}], "both workers have reported")
            with gateway.wire() as wire:
                for _ in range(10):
                    wire.ask("GET", "/api/s/x")
                assert states(gateway) == [{"active": 2}, {"ejected": 1, "active": 1}]
                found = instances(gateway)[1]
                assert (found["status"], found["state"], found["breaker"]) == ("unchecked", "ejected", "open")
                assert 0 < found["next_try_in"] <= 3600 * 1.1
                assert health(gateway)["instances"][1]["workers"] == {"ejected": 1, "active": 1}
                assert "warning" not in health(gateway)
                done = portico_services(gateway)
                assert done.returncode == 0
                assert row_of(a, done.stdout).endswith("unchecked active config")
                assert " ejected by 1 of 2 workers, next attempt in " in row_of(b, done.stdout)

                config["services"]["s"]["passive_health"]["max_ejected"] = 0
                gateway.write(config)
                gateway.signal(signal.SIGHUP)
                until(lambda: states(gateway)[1] == {"panic": 1, "active": 1}, "it is used all the same")
                warning = "too many instances are ejected, so that all are used (1 of 2 workers)"
                assert health(gateway)["warning"] == warning
                done = portico_services(gateway)
                assert f"s: {warning}" in done.stdout.splitlines()
                assert " ejected but used by 1 of 2 workers, next attempt in " in row_of(b, done.stdout)

                be_well(b)
                for _ in range(10):
                    wire.ask("GET", "/api/s/x")
                found = instances(gateway)[1]
                assert (found["workers"], found["breaker"]) == ({"slow_start": 1, "active": 1}, "closed")
                done = portico_services(gateway)
                assert " slow start at 1 of 2 workers config" in row_of(b, done.stdout)
                assert "ejected" not in done.stdout


def test_what_is_ejected_comes_back_by_a_trial() -> None:
    quick = {"failures": 2, "open_for": "100ms", "open_for_most": "100ms"}
    a, b = Backend(name="a"), Backend(says("500 No"), name="b")
    with running(a, b, passive_health=quick) as gateway:

        def state() -> str:
            gateway.get("/api/s/x")
            return str(instances(gateway)[1]["state"])

        until(lambda: state() == "ejected", "it is left alone")
        until(lambda: instances(gateway)[1]["state"] == "half_open", "the next request tries it")
        be_well(b)
        until(lambda: state() == "active", "it is back")
        done = portico_services(gateway)
        assert done.returncode == 0
        assert row_of(b, done.stdout).endswith(" unchecked active config")


def test_a_service_with_every_instance_ejected_is_down(backend: Backend) -> None:
    backend.script = says("500 No")
    breaker = {"failures": 2, "open_for": "1h"}
    config = {"services": {"s": service(backend, circuit_breaker=breaker, health_check={"interval": "200ms"})}}
    with Gateway(config) as gateway:
        gateway.wait_for_control()
        # Once a check has passed and the request that it let through has failed too, checks count no more.
        until(lambda: gateway.get("/api/s/x").status and openings(gateway, backend) == 2, "it is ejected for good")
        page = health(gateway)
        assert (page["status"], page["instances"][0]["status"]) == ("healthy", "healthy"), "it passes its checks"
        assert page["warning"] == "no instance gets requests, because they are ejected"
        assert (page["instances"][0]["state"], page["instances"][0]["workers"]) == ("ejected", {"ejected": 1})
        done = portico_services(gateway)
        assert done.returncode == 1
        assert " healthy ejected, next attempt in " in row_of(backend, done.stdout)
        assert "s: no instance gets requests, because they are ejected" in done.stdout.splitlines()


def test_an_instance_that_refuses_connections_is_known_at_once(backend: Backend) -> None:
    """Its checks would need three intervals; a single instance has no breaker."""

    def said(event: str) -> list[dict[str, Any]]:
        return [each for each in gateway.events() if each["event"] == event]

    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = {"url": url, "health_check": {"interval": "1h"}, "retries": 0}
    with Gateway({"services": {"s": settings}}) as gateway:
        gateway.wait_for_control()
        assert gateway.get("/api/s/x").json()["reason"] == "upstream_refused"
        assert gateway.get("/api/s/x").json()["reason"] == "upstream_refused"
        until(lambda: said("instance cannot be reached"))
        (event,) = said("instance cannot be reached")
        assert (event["level"], event["service"], event["instance"]) == ("WARNING", "s", url)
        assert "refused" in event["error"]
        found = instances(gateway)[0]
        assert (found["state"], found["status"]) == ("unreachable", "unhealthy")
        assert "refused" in found["error"]
        assert health(gateway)["warning"] == "no connection to an instance could be opened lately"
        done = portico_services(gateway)
        assert done.returncode == 1
        assert " unhealthy unreachable config " in " ".join(done.stdout.split())
        with Backend(port=port):
            assert gateway.get("/api/s/x").status == 200
            until(lambda: said("instance can be reached again"))
            assert instances(gateway)[0]["state"] == "active"


def test_how_much_is_under_way(backend: Backend) -> None:
    backend.script = hangs
    with Gateway({"services": {"s": service(backend)}}) as gateway:
        gateway.wait_for_control()
        with gateway.wire() as one, gateway.wire() as two:
            for wire in (one, two):
                wire.send(b"GET /api/s/x HTTP/1.1\r\nHost: x\r\n\r\n")
            until(lambda: instances(gateway)[0]["in_flight"] == 2, "both are shown")
            assert instances(gateway)[0]["state"] == "active"
        until(lambda: instances(gateway)[0]["in_flight"] == 0, "both clients left")
