"""The admin API, and the commands that ask it."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.backend import Backend, Refusing
from support.client import ask
from support.messages import Message
from support.portico import run_portico
from support.world import Gateway, until


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with Backend() as good, Refusing() as dead:
        services = {
            "good": {"instances": [{"url": good.url, "weight": 3}], "health_check": "/status/200"},
            "plain": good,
            "dead": {"url": dead.url, "health_check": {"path": "/h", "interval": "100ms", "unhealthy_after": 1}},
        }
        with Gateway({"gateway": {"workers": 2}, "services": services}) as own:
            own.wait_for_control()
            until(lambda: any("instance down" in event["event"] for event in own.events()), "dead is known to be down")
            yield own


def admin(gateway: Gateway, method: str, path: str, *lines: str) -> Message:
    return ask(gateway.admin_port, method, path, *(lines or ("Host: localhost",)))


def test_services_and_workers(gateway: Gateway) -> None:
    answer = admin(gateway, "GET", "/admin/services")
    assert answer.status == 200
    page = answer.json()
    assert [service["name"] for service in page["services"]] == ["good", "plain", "dead"]
    good, plain, dead = page["services"]
    assert good["status"] == "healthy"
    assert good["instances"][0]["weight"] == 3
    assert [good["instances"][0]["status"], plain["instances"][0]["status"]] == ["healthy", "unchecked"]
    assert (dead["status"], dead["instances"][0]["status"]) == ("unhealthy", "unhealthy")
    assert dead["instances"][0]["error"]
    assert len(page["workers"]) == 2
    assert {worker["generation"] for worker in page["workers"]} == {page["generation"]}


def test_status(gateway: Gateway) -> None:
    page = admin(gateway, "GET", "/admin/status").json()
    assert page["config"] == str(gateway.file)
    assert page["refused"] is None
    assert {"version", "generation", "control_uptime"} < set(page)


@pytest.mark.parametrize(
    ("method", "path", "lines", "status"),
    [
        ("GET", "/admin/nothing", (), 404),
        ("GET", "/admin/reload", (), 405),
        ("GET", "/admin/status/", (), 404),  # no way to an address that lacks the prefix of a proxy
        ("GET", "/nothing", (), 404),
        ("GET", "/admin/status", ("Host: evil.example",), 403),
        ("POST", "/admin/reload", ("Host: localhost", "Origin: http://evil.example"), 403),
    ],
)
def test_refusals_are_problem_documents(
    gateway: Gateway, method: str, path: str, lines: tuple[str, ...], status: int
) -> None:
    answer = admin(gateway, method, path, *lines)
    assert answer.status == status
    assert answer.get("content-type") == "application/problem+json"
    assert answer.json()["status"] == status


def test_two_hosts_are_refused(gateway: Gateway) -> None:
    """By the server or by the guard, whichever reads them first."""
    assert admin(gateway, "GET", "/admin/status", "Host: localhost", "Host: localhost").status == 400


def test_it_is_not_on_the_gateways_own_port(gateway: Gateway) -> None:
    assert gateway.get("/admin/status").status == 404


def test_portico_services(gateway: Gateway) -> None:
    where = ("--config", str(gateway.file), "--admin", f"127.0.0.1:{gateway.admin_port}")
    done = run_portico("services", *where)
    assert done.returncode == 1, "a service is down"
    rows = {line.split()[0]: line.split()[1:4] for line in done.stdout.splitlines()}
    assert rows["good"][1:] == ["3", "healthy"]
    assert rows["dead"][1:] == ["1", "unhealthy"]
    assert "\x1b[" not in done.stdout
    assert "workers: 2" in done.stdout
    page = json.loads(run_portico("services", "--json", *where).stdout)
    assert [service["name"] for service in page["services"]] == ["good", "plain", "dead"]


def test_with_a_token(backend: Backend) -> None:
    config = {"gateway": {"admin_token": "letmein"}, "services": {"echo": backend}}
    with Gateway(config) as gateway:
        gateway.wait_for_control()
        assert admin(gateway, "GET", "/admin/status").status == 401
        answer = admin(gateway, "GET", "/admin/status", "Host: any.example", "Authorization: Bearer letmein")
        assert answer.status == 200
        where = f"127.0.0.1:{gateway.admin_port}"
        done = run_portico("reload", "--admin", where, "--config", str(gateway.file))
        expected = f"generation 2 is in use by the gateway at {where} ({gateway.file})\n"
        assert (done.returncode, done.stdout) == (0, expected)
        assert run_portico("services", "--admin", where, ADMIN_TOKEN="letmein").returncode == 0
        done = run_portico("reload", "--admin", where, ADMIN_TOKEN="wrong")
        assert done.returncode == 1
        assert "ADMIN_TOKEN" in done.stderr
        assert "letmein" not in gateway.err()


def test_a_token_that_a_reload_takes_away_leaves_nothing_open(backend: Backend) -> None:
    """The address stays the one of the start; the configuration is only right for the address that it names."""
    config = {"gateway": {"admin": "0.0.0.0:0", "admin_token": "letmein"}, "services": {"echo": backend}}
    with Gateway(config) as gateway:
        gateway.wait_for_control()
        gateway.write({"gateway": {"admin": "127.0.0.1:0"}, "services": {"echo": backend}})
        gateway.signal(signal.SIGHUP)
        until(lambda: any("reloaded" in event["event"] for event in gateway.events()), "it is taken over")
        assert admin(gateway, "GET", "/admin/status").status == 403


def test_the_address_from_the_configuration(backend: Backend, tmp_path: object) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Gateway({"gateway": {"admin": f"127.0.0.1:{port}"}, "services": {"echo": backend}}) as gateway:
        gateway.wait_for_control()
        done = run_portico("reload", "--config", str(gateway.file))
        expected = f"generation 2 is in use by the gateway at 127.0.0.1:{port} ({gateway.file})\n"
        assert (done.returncode, done.stdout) == (0, expected)
        gateway.file.write_text(gateway.file.read_text() + "routs: []\n")
        done = run_portico("reload", "--admin", f"127.0.0.1:{port}", "--config", str(gateway.file))
        assert done.returncode == 1
        assert "routs" in done.stderr
        gateway.clean = False  # the error was wanted
        gateway.stop()
        done = run_portico("services", "--admin", f"127.0.0.1:{port}")
        assert done.returncode == 1
        assert "is it running" in done.stderr
        assert "Traceback" not in done.stderr


def test_wrong_usage(backend: Backend, tmp_path: object) -> None:
    assert run_portico("services", "--admin", "nowhere").returncode == 2
    done = run_portico("reload", "--admin", f"127.0.0.1:{backend.port}")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_a_taken_address_that_was_written_is_a_clear_error(backend: Backend, tmp_path: Path) -> None:
    file = tmp_path / "portico.yaml"
    file.write_text(f"services: {{a: {{url: '{backend.url}'}}}}\n")
    done = run_portico("run", "--config", str(file), "--port", "0", GATEWAY_ADMIN=f"127.0.0.1:{backend.port}")
    assert done.returncode == 1
    assert "GATEWAY_ADMIN" in done.stderr
    assert "Traceback" not in done.stderr
