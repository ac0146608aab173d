"""What the gateway says of failures, on its own output alone: events, the access log, metrics, and its commands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from support.authority import Authority
from support.backend import Backend, Refusing
from support.portico import run_portico
from support.process import free_port
from support.scripts import hangs, says
from support.world import Gateway, until

OTHER_HOST = "400 Invalid HTTP_HOST header"
"""What Django says, in short, to a Host that it does not know."""

CAUSES = {
    "dead": (502, "upstream_refused", "connection refused"),
    "refusing": (502, "upstream_refused", "connection refused"),
    "slow": (504, "upstream_timeout", "the service did not answer in time (timeout.response: 0.3 s)"),
    "expired": (502, "upstream_tls", "the TLS handshake failed: its certificate has expired"),
    "distrusted": (502, "upstream_tls", "the TLS handshake failed: its certificate is signed by an unknown authority"),
    "nameless": (502, "upstream_dns", "no-such-host.invalid has no address: "),
}
"""By service: the status of its first request, its reason, and how `upstream_error` begins."""
UNREACHABLE = {*CAUSES} - {"slow"}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("authority")
    authority = Authority(folder / "a")
    other = Authority(folder / "b", "another authority")
    with ExitStack() as stack:

        def start(*args: Any, **more: Any) -> Backend:
            return stack.enter_context(Backend(*args, **more))

        expired = start(tls=authority.server_context(authority.leaf("expired", "localhost", days=-1)))
        distrusted = start(tls=authority.server_context(authority.leaf("localhost")))
        dead = stack.enter_context(Refusing())
        services: dict[str, dict[str, Any]] = {
            "dead": {"url": dead.url},
            "checked": {"url": dead.url, "health_check": {"interval": "200ms"}},
            "refusing": {"url": stack.enter_context(Refusing()).url},
            "slow": {"url": start(hangs).url, "timeout": "300ms"},
            "expired": {"url": f"https://localhost:{expired.port}", "tls": {"ca": str(authority.ca)}},
            "distrusted": {"url": f"https://localhost:{distrusted.port}", "tls": {"ca": str(other.ca)}},
            "nameless": {"url": "http://no-such-host.invalid"},
            "hosts": {"url": start(says(OTHER_HOST)).url},
            "small": {"url": start().url},
            "broken": {"url": start(says("500 No")).url, "circuit_breaker": {"failures": 2, "open_for": "1h"}},
            "limited": {"url": start().url, "policies": {"rate_limit": {"requests_per_minute": 100}}},
            "half": {"instances": [stack.enter_context(Refusing()).url, start().url]},
        }
        for settings in services.values():
            settings.setdefault("health_check", False)
            settings.setdefault("retries", 0)
        services["half"]["retries"] = 1
        gateway = {"limits": {"body_size": "1KiB"}, "redis_url": f"redis://127.0.0.1:{free_port()}"}
        with Gateway({"gateway": gateway, "services": services}) as running:
            running.wait_for_control()
            yield running


def commanded(gateway: Gateway, *command: str) -> tuple[int, list[str]]:
    """The exit code of a command that asks the gateway, and its lines with one space between words."""
    done = run_portico(*command, "--config", str(gateway.file), "--admin", f"127.0.0.1:{gateway.admin_port}")
    return done.returncode, [" ".join(line.split()) for line in done.stdout.splitlines()]


def events(gateway: Gateway, event: str, service: str) -> list[dict[str, Any]]:
    return [each for each in gateway.events() if each["event"] == event and each.get("service") == service]


def errors(gateway: Gateway, service: str) -> dict[str, float]:
    """How often each reason was counted for a service."""
    counts: dict[str, float] = {}
    for line in gateway.get("/metrics").body.decode().splitlines():
        if line.startswith("gateway_errors_total{") and f'service="{service}"' in line:
            counts[line.partition('reason="')[2].partition('"')[0]] = float(line.rpartition(" ")[2])
    return counts


@pytest.mark.parametrize("name", CAUSES)
def test_the_line_of_the_log_has_the_cause(gateway: Gateway, name: str) -> None:
    status, reason, cause = CAUSES[name]
    before = errors(gateway, name).get(reason, 0)
    answer = gateway.get(f"/api/{name}/x")
    assert (answer.status, answer.json()["reason"]) == (status, reason)
    line = gateway.logged(answer.get("x-request-id"))
    assert (line["reason"], line["upstream_error"][: len(cause)]) == (reason, cause)
    assert errors(gateway, name) == {reason: before + 1}


@pytest.mark.parametrize("name", sorted(UNREACHABLE))
def test_an_instance_out_of_reach_is_an_event_and_shown_at_once(gateway: Gateway, name: str) -> None:
    """Though nothing checks most of them."""
    cause = CAUSES[name][2]
    gateway.get(f"/api/{name}/x")
    event = until(lambda: events(gateway, "instance cannot be reached", name))[0]
    assert event["error"].startswith(cause)
    code, table = commanded(gateway, "services")
    assert code == 1
    (row,) = [line for line in table if line.startswith(f"{name} ")]
    assert " unhealthy " in row
    assert cause.strip() in row.lower().replace("tls", "TLS")


def test_a_dead_one_fails_its_checks_too(gateway: Gateway) -> None:
    (event,) = until(lambda: events(gateway, "instance down", "checked"))
    assert "Connection refused" in event["error"]
    assert any(line.startswith("checked ") and " unhealthy down " in line for line in commanded(gateway, "services")[1])


def test_an_attempt_that_failed_shows_where_another_succeeded(gateway: Gateway) -> None:
    answers = [gateway.get("/api/half/x") for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 200]
    lines = [gateway.logged(answer.get("x-request-id")) for answer in answers]
    assert {(line["attempts"], line["reason"], line["upstream_error"]) for line in lines if line["attempts"] == 2} == {
        (2, None, "connection refused")
    }
    assert errors(gateway, "half") == {}, "nothing failed for clients"


def test_a_host_that_a_service_does_not_admit(gateway: Gateway) -> None:
    assert gateway.get("/api/hosts/x", "Host: shop.example").status == 400
    said = "a service seems to refuse the client's Host, which preserve_host: auto sends it"
    (event,) = until(lambda: events(gateway, said, "hosts"))
    assert "preserve_host: false in services.hosts" in event["ways_out"]


def test_a_body_that_is_too_large(gateway: Gateway) -> None:
    answer = gateway.ask("POST", "/api/small/x", body=b"x" * 2000)
    assert (answer.status, answer.json()["detail"]) == (413, "the body is larger than 1024 bytes")
    line = gateway.logged(answer.get("x-request-id"))
    assert (line["reason"], line["service"], line["attempts"]) == ("body_too_large", "small", 0)
    assert errors(gateway, "small") == {"body_too_large": 1}


def test_a_breaker_that_is_open(gateway: Gateway) -> None:
    statuses = [gateway.get("/api/broken/x").status for _ in range(3)]
    assert statuses == [500, 500, 503]
    assert until(lambda: events(gateway, "breaker open", "broken"))
    assert errors(gateway, "broken") == {"circuit_open": 1}, "the others are answers of the service's own"
    code, table = commanded(gateway, "services")
    assert code == 1
    assert any(line.startswith("broken ") and " ejected, next attempt in " in line for line in table)
    assert "broken: no instance gets requests, because they are ejected" in table


def test_redis_that_is_gone(gateway: Gateway) -> None:
    assert gateway.get("/api/limited/x").status == 200, "each worker counts alone"
    (event,) = [each for each in gateway.events() if each["event"].startswith("Redis does not serve limits")]
    assert "refused" in event["reason"].lower()
    assert "gateway_redis_up 0.0" in gateway.get("/metrics").body.decode().splitlines()
    code, lines = commanded(gateway, "status")
    assert code == 0, "it serves"
    assert "Redis does not serve limits: each goes by its fallback" in lines
