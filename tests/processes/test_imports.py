"""What the processes of a gateway load at their start: each package costs memory and time in all of them."""

import subprocess
import sys

import pytest

_BUILT_WHEN_ASKED = ["fastapi", "jinja2", "prometheus_client", "portico.render.nginx"]
_OF_COMMANDS = ["typer", "rich"]
_OF_CONTROL = ["uvicorn", "starlette", "httpx"]


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("portico.processes.supervisor.main", _BUILT_WHEN_ASKED + _OF_COMMANDS + _OF_CONTROL),
        ("portico.processes.control.process", _BUILT_WHEN_ASKED),
    ],
)
def test_what_is_needed_later_is_loaded_later(module: str, absent: list[str]) -> None:
    code = f"import sys, {module}; print([name for name in {absent} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_control_goes_without_the_command_line_of_httpx() -> None:
    code = """
import sys
from portico.core.imports import left_out
with left_out("httpx._main"):
    import httpx
print(httpx.AsyncClient.__name__, "rich" in sys.modules, "httpx._main" in sys.modules)
with left_out("httpx"):
    pass
print("httpx" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == ["AsyncClient False False", "True"]
