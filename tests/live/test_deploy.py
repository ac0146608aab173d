"""The files under `deploy` are what the programs that they are for accept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from chaos.gateways import HA, nginx_of_ha
from deploy.containers import services
from support import portico
from support.process import Process, free_port
from support.site import Site, program
from support.waiting import until


def check(*command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return (done.stdout + done.stderr).lower()


@pytest.mark.skipif(not program("haproxy"), reason="haproxy is not installed")
def test_haproxy_takes_its_file() -> None:
    assert "warning" not in check(program("haproxy") or "", "-c", "-f", str(HA / "haproxy.cfg"))


@pytest.mark.skipif(not program("nginx"), reason="nginx is not installed")
def test_nginx_takes_its_file(tmp_path: Path) -> None:
    assert "[warn]" not in check(*nginx_of_ha(Site(8080, 0, tmp_path), [8001, 8002]), "-t", cwd=tmp_path)


@pytest.mark.parametrize("file", sorted(HA.glob("*.yaml")), ids=lambda file: file.stem)
def test_portico_takes_its_file(file: Path) -> None:
    check(sys.executable, "-m", "portico", "check", "--config", str(file))


@pytest.mark.parametrize("name", ["gemini", "atc", "portfolio"])
def test_a_sample_service_of_compose_starts_and_passes_its_check(name: str) -> None:
    """As the container does, but for its address and its port."""
    service = services()[name]
    port = free_port()
    own = {**service["environment"], "UVICORN_HOST": "127.0.0.1", "UVICORN_PORT": str(port)}
    environ = portico.environment(**own)
    program, *options = service["entrypoint"]
    command = [sys.executable, "-m", program, *options, *service["command"]]
    kind, python, *arguments = service["healthcheck"]["test"]
    assert (kind, python) == ("CMD", "python")

    def is_healthy() -> bool:
        done = subprocess.run([sys.executable, *arguments], env=environ, capture_output=True, timeout=30, check=False)
        return done.returncode == 0

    assert not is_healthy()
    with Process(*command, env=environ):
        until(is_healthy)
