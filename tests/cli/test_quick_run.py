import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from portico.cli import serving
from portico.cli.quick_run import run_quickly

_FILE = "gateway: {admin: 127.0.0.1:0}\nservices: {a: {url: http://127.0.0.1:1}}\n"


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What was served: the file, the address, whether it is watched."""
    served: list[tuple[Any, ...]] = []

    def serve(load: Callable[[], tuple[Any, Path, str]], *, reload: bool, has_port: bool) -> None:
        config, path, _ = load()
        served.append((path.name, f"{config.gateway.host}:{config.gateway.port}", reload, has_port))

    monkeypatch.setattr(serving, "serve", serve)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", {})
    for name in ("portico.yaml", "edge.yaml"):
        (tmp_path / name).write_text(_FILE)
    (tmp_path / "wrong.yaml").write_text("services: {a: {}}")
    (tmp_path / "plugins.yaml").write_text(_FILE + "policies: {plugins: [{use: './p.py:P'}]}\n")
    return served


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ([], ("portico.yaml", "0.0.0.0:8000", False, False)),
        (["edge.yaml", "--reload"], ("edge.yaml", "0.0.0.0:8000", True, False)),
        (["-c", "edge.yaml", "--host=127.0.0.1"], ("edge.yaml", "127.0.0.1:8000", False, False)),
        (["--config=edge.yaml", "--port", "81"], ("edge.yaml", "0.0.0.0:81", False, True)),
    ],
)
def test_it_serves_what_is_right(
    served: list[tuple[Any, ...]], arguments: Sequence[str], what: tuple[Any, ...]
) -> None:
    with pytest.raises(SystemExit) as end:
        run_quickly(arguments)
    assert (end.value.code, served) == (None, [what])


def test_a_variable_names_the_file(served: list[tuple[Any, ...]]) -> None:
    os.environ["PORTICO_CONFIG"] = "edge.yaml\r\n"
    with pytest.raises(SystemExit):
        run_quickly([])
    assert served[0][0] == "edge.yaml"


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--help"], ["--resume"], ["--nothing"], ["--"], [""], ["--host"], ["--host", "--reload"], ["--host="]),
        *(
            ["a.yaml", "b.yaml"],
            ["edge.yaml", "-c", "edge.yaml"],
            ["--port", "1", "--port", "2"],
            ["--reload=1"],
            ["-c=edge.yaml"],
        ),
        *(
            ["missing.yaml"],
            ["wrong.yaml"],
            ["plugins.yaml"],
            ["--port", "none"],
            ["--port=+81"],
            ["--host", "no host"],
        ),
    ],
)
def test_anything_else_is_for_the_command(served: list[tuple[Any, ...]], arguments: Sequence[str]) -> None:
    run_quickly(arguments)
    assert served == []
