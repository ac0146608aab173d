"""From nothing to a gateway with a policy of one's own, by the commands that `portico plugin new` prints."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

from portico.cli.new_plugin import write_plugin
from support import portico
from support.backend import Backend
from support.client import ask
from support.world import Gateway

NAME = "block-old-clients"


class PackagesGateway(Gateway):
    """`portico run` with the configuration that a new package has, before another service than it names."""

    def __init__(self, package: Path, backend: Backend, program: list[str], env: Mapping[str, str]) -> None:
        super().__init__(env={"GATEWAY_PORT": "0", "GATEWAY_HOST": "127.0.0.1", **env})
        self.file = package / "portico.yaml"
        text = self.file.read_text(encoding="utf-8")
        assert "http://localhost:8001" in text
        text = text.replace("http://localhost:8001", backend.url)
        self.file.write_text(f"gateway: {{admin: '127.0.0.1:0'}}\n{text}", encoding="utf-8")
        self._program = program

    def command(self) -> list[str]:
        return [*self._program, "run", "--config", str(self.file)]


def check_served(gateway: Gateway, backend: Backend) -> None:
    """Old clients are refused, new ones are served."""
    refused = ask(gateway.port, "GET", "/api/example/x", "X-Client-Version: 2.0")
    assert (refused.status, refused.json()["reason"]) == (403, "client_too_old")
    assert refused.get("x-min-client-version") == "2.1"
    assert backend.requests == []
    assert ask(gateway.port, "GET", "/api/example/x", "X-Client-Version: 2.1").status == 200
    assert backend.targets() == ["/x"]


def test_a_gateway_runs_with_it(backend: Backend, tmp_path: Path) -> None:
    package, installed = tmp_path / "package", tmp_path / "installed"
    write_plugin(NAME, package)
    pretend_installed(package, installed)
    paths = [portico.source(), package / "src", installed]
    env = {"PYTHONPATH": ":".join(map(str, paths))}
    with PackagesGateway(package, backend, portico.command(), env) as gateway:
        check_served(gateway, backend)


def pretend_installed(package: Path, site: Path) -> None:
    """What an installation leaves beside the code: the package's name and its entry points."""
    project = tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    text = "".join(
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in own.items()) for group, own in groups
    )
    (info / "entry_points.txt").write_text(text)
