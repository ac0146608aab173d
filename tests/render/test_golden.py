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
from support.nginx import lua_library, module
from support.site import output_of, program

GOLDEN: Final = Path(__file__).parent / "golden"
NAMES: Final = sorted(path.stem for path in GOLDEN.glob("*.yaml") if "." not in path.stem)
WITHOUT_FILES: Final = ("seed", "losses", "guards")
"""Those that name no certificates, which nginx would read."""


def rendered(name: str, target: str = "nginx") -> Rendering:
    return TARGETS[target](load_text((GOLDEN / f"{name}.yaml").read_text(), f"{name}.yaml", {}))


def rendered_with_lua(name: str) -> Rendering:
    return render_nginx(load_text((GOLDEN / f"{name}.yaml").read_text(), f"{name}.yaml", {}), lua=True)


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
        is_golden(f"{name}.{suffix}", text)


def is_golden(name: str, text: str) -> None:
    """The text is that of a file, or becomes it."""
    path = GOLDEN / name
    if os.environ.get("PORTICO_GOLDEN") == "write":
        path.write_text(text)
    assert path.read_text() == text


def test_what_is_rendered_with_lua() -> None:
    rendering = rendered_with_lua("guards")
    assert [*rendering.files] == ["nginx.conf", "portico.lua", "portico_guards.lua"]
    is_golden("guards.with_lua.conf", rendering.files["nginx.conf"])
    is_golden("guards.with_lua.lua", rendering.files["portico_guards.lua"])
    assert "a-secret-of-more-than-thirty-two-bytes" not in "".join(rendering.files.values())
    assert rendering.losses == ()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_same_each_time(name: str, target: str) -> None:
    assert rendered(name, target) == rendered(name, target)


def is_taken(rendering: Rendering, directory: Path) -> None:
    """nginx reads the file without a complaint."""
    path = directory / "nginx.conf"
    for name, text in rendering.files.items():
        (directory / name).write_text(text)
    nginx = program("nginx") or ""
    said = output_of(nginx, "-t", "-p", str(directory), "-c", str(path), "-e", "stderr", "-g", "pid pid;")
    assert "test is successful" in said, said


@pytest.mark.skipif(program("nginx") is None, reason="nginx is not installed")
@pytest.mark.parametrize("name", WITHOUT_FILES)
def test_nginx_takes_it(name: str, tmp_path: Path) -> None:
    is_taken(rendered(name), tmp_path)


@pytest.mark.skipif(module("ngx_http_lua_module") is None, reason="libnginx-mod-http-lua is not installed")
@pytest.mark.skipif(lua_library("cjson") is None, reason="lua-cjson is not installed")
def test_nginx_takes_it_with_lua(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "k" * 32)
    is_taken(rendered_with_lua("guards"), tmp_path)


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
