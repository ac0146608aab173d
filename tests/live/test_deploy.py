"""The files under `deploy` are what the programs that they are for accept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from chaos.gateways import HA, nginx_of_ha
from support.site import Site, program


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
