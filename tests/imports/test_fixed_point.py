"""Imported, rendered and imported again, a configuration means what it meant.

The files in `nginx/` are written for this; they look like those that people have. The golden files of the renderer and
the demo are Portico's own: what nginx says of them is the first of the two that are compared.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from portico.config import Config, load_config, load_text
from portico.imports import finished
from portico.imports.nginx import import_nginx
from portico.render import render_nginx
from support.authority import Authority

HERE: Final = Path(__file__).parent / "nginx"
FILES: Final = sorted(HERE.glob("*.conf"))
GOLDEN: Final = Path(__file__).parents[1] / "render" / "golden"


def imported(file: Path) -> str:
    return finished(import_nginx(file), "portico.yaml").text


def again(text: str, directory: Path) -> str:
    """What is imported of what is rendered of it."""
    return imported(rendered(load_text(text, "portico.yaml", {}), directory))


def rendered(config: Config, directory: Path) -> Path:
    file = directory / "nginx.conf"
    file.write_text(render_nginx(config).files["nginx.conf"])
    return file


def meaning(text: str) -> Any:
    """What is written, without what the order says where it says nothing: routes but for patterns, services, listeners'
    routes.
    """
    written = yaml.safe_load(text)
    routes = written["routes"]
    for listener in written["gateway"].get("listen", ()):
        listener["routes"] = sorted(listener.get("routes", ()))
    patterns = [route["name"] for route in routes if route["path"].startswith("~")]
    return {**written, "routes": {route["name"]: route for route in routes}, "patterns": patterns}


def with_certificates(file: Path, directory: Path) -> Path:
    """The same, with certificates that are there: the renderer reads for which names they are."""
    authority = Authority(directory / "certificates")
    text = file.read_text()
    for name in ("blog", "shop"):
        leaf = authority.leaf(name, f"{name}.example.com")
        text = text.replace(f"/etc/ssl/{name}.pem", str(leaf.certificate)).replace(
            f"/etc/ssl/{name}.key", str(leaf.key)
        )
    copy = directory / "source.conf"
    copy.write_text(text)
    return copy


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_files_that_people_have(file: Path, tmp_path: Path) -> None:
    first = imported(with_certificates(file, tmp_path) if file.stem == "hosts" else file)
    second = again(first, tmp_path)
    assert meaning(second) == meaning(first)
    assert again(second, tmp_path) == second.replace(str(tmp_path / "source.conf"), str(tmp_path / "nginx.conf"))


@pytest.mark.parametrize("name", ["demo", "hosts", "losses", "seed"])
def test_what_portico_has_rendered(name: str, tmp_path: Path) -> None:
    if name == "demo":
        config = load_config(None, {})
    else:
        config = load_text((GOLDEN / f"{name}.yaml").read_text(), f"{name}.yaml", {})
    first = imported(rendered(config, tmp_path))
    second = again(first, tmp_path)
    assert meaning(second) == meaning(first)
    assert len(yaml.safe_load(first)["routes"]) >= len(
        {route.name for route in config.all_routes if not route.is_variant}
    )
