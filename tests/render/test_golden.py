"""What is rendered, as files: `golden/NAME.yaml` becomes `NAME.conf`, and `NAME.losses` is what that does not say.

`PORTICO_GOLDEN=write` writes them anew: look at the difference before it is committed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

from portico.config import load_text
from portico.render import Rendering, render_nginx
from support.site import output_of, program

GOLDEN: Final = Path(__file__).parent / "golden"
NAMES: Final = sorted(path.stem for path in GOLDEN.glob("*.yaml"))
WITHOUT_FILES: Final = ("seed", "losses")
"""Those that name no certificates, which nginx would read."""


def rendered(name: str) -> Rendering:
    return render_nginx(load_text((GOLDEN / f"{name}.yaml").read_text(), f"{name}.yaml", {}))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_rendered(name: str) -> None:
    rendering = rendered(name)
    for suffix, text in (
        ("conf", rendering.files["nginx.conf"]),
        ("losses", "".join(f"{loss}\n" for loss in rendering.losses)),
    ):
        path = GOLDEN / f"{name}.{suffix}"
        if os.environ.get("PORTICO_GOLDEN") == "write":
            path.write_text(text)
        assert path.read_text() == text


@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_same_each_time(name: str) -> None:
    assert rendered(name) == rendered(name)


@pytest.mark.skipif(program("nginx") is None, reason="nginx is not installed")
@pytest.mark.parametrize("name", WITHOUT_FILES)
def test_nginx_takes_it(name: str, tmp_path: Path) -> None:
    path = tmp_path / "nginx.conf"
    path.write_text(rendered(name).files["nginx.conf"])
    said = output_of(
        program("nginx") or "", "-t", "-p", str(tmp_path), "-c", str(path), "-e", "stderr", "-g", "pid pid;"
    )
    assert "test is successful" in said, said
