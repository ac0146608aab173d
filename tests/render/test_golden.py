"""What is rendered, as files: `golden/NAME.yaml` becomes `NAME.TARGET.EXTENSION` for the main file of each target.

Other files are `NAME.TARGET.FILE`, and `NAME.TARGET.losses` is what they do not say; those of nginx have no `TARGET`.
`PORTICO_GOLDEN=write` writes them anew: look at the difference before it is committed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

from documentation.examples import Example, examples
from portico.config import ConfigError, load_config, load_text
from portico.render import TARGETS, Rendering, render_nginx
from support.site import output_of, program

GOLDEN: Final = Path(__file__).parent / "golden"
NAMES: Final = sorted(path.stem for path in GOLDEN.glob("*.yaml") if "." not in path.stem)
WITHOUT_FILES: Final = ("seed", "losses")
"""Those that name no certificates, which nginx would read."""


def rendered(name: str, target: str = "nginx") -> Rendering:
    return TARGETS[target](load_text((GOLDEN / f"{name}.yaml").read_text(), f"{name}.yaml", {}))


def written(target: str, rendering: Rendering) -> dict[str, str]:
    """What the files are called, without the name in front, and their texts."""
    first, *others = rendering.files
    of_target = "" if target == "nginx" else f"{target}."
    return {
        of_target + first.rpartition(".")[2]: rendering.files[first],
        **{of_target + name: rendering.files[name] for name in others},
        f"{of_target}losses": "".join(f"{loss}\n" for loss in rendering.losses),
    }


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", NAMES)
def test_what_is_rendered(name: str, target: str) -> None:
    for suffix, text in written(target, rendered(name, target)).items():
        path = GOLDEN / f"{name}.{suffix}"
        if os.environ.get("PORTICO_GOLDEN") == "write":
            path.write_text(text)
        assert path.read_text() == text


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_same_each_time(name: str, target: str) -> None:
    assert rendered(name, target) == rendered(name, target)


def is_taken(rendering: Rendering, directory: Path) -> None:
    """nginx reads the file without a complaint."""
    path = directory / "nginx.conf"
    path.write_text(rendering.files["nginx.conf"])
    nginx = program("nginx") or ""
    said = output_of(nginx, "-t", "-p", str(directory), "-c", str(path), "-e", "stderr", "-g", "pid pid;")
    assert "test is successful" in said, said


@pytest.mark.skipif(program("nginx") is None, reason="nginx is not installed")
@pytest.mark.parametrize("name", WITHOUT_FILES)
def test_nginx_takes_it(name: str, tmp_path: Path) -> None:
    is_taken(rendered(name), tmp_path)


@pytest.mark.skipif(program("nginx") is None, reason="nginx is not installed")
def test_nginx_takes_the_demo(tmp_path: Path) -> None:
    is_taken(render_nginx(load_config(None, {})), tmp_path)


@pytest.mark.parametrize("block", [*examples("yaml")], ids=lambda block: block.where.replace("/", "|"))
def test_every_configuration_of_the_documentation_can_be_rendered(block: Example) -> None:
    try:
        config = load_text(block.block.text, "portico.yaml", {"SECRET_KEY": "k" * 40})
    except ConfigError:
        return  # a part of one, or one that is wrong
    text = render_nginx(config).files["nginx.conf"]
    assert text.count("{") == text.count("}")
    assert "server_name" in text
