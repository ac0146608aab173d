"""The client stands alone: what a service loads that uses nothing else of the gateway."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
NET = {"portico.net", "portico.net.redis", "portico.net.redis.connection"}


def loaded(code: str, *flags: str) -> set[str]:
    """The modules in a fresh interpreter after `code`."""
    program = f"import sys; sys.path.insert(0, {str(SOURCE)!r})\n{code}\nprint(*sorted(sys.modules))"
    run = subprocess.run([sys.executable, *flags, "-c", program], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_nothing_but_the_standard_library() -> None:
    """-S leaves out every installed package, -I the environment."""
    names = "BehindGateway, Verifier, identity, register, ServiceRegistry, AsyncServiceRegistry"
    modules = loaded(f"from portico.client import {names}", "-I", "-S")
    own = {name for name in modules if name.partition(".")[0] == "portico"}
    assert {name for name in own if not name.startswith("portico.client")} == {"portico", *NET}


def test_redis_that_is_not_installed() -> None:
    code = "import portico.client as client\ntry:\n client.register(0, name='a', url='http://h', redis_url='redis://h')"
    modules = loaded(f"{code}\nexcept ValueError as error:\n assert 'pip install redis' in str(error)", "-I", "-S")
    assert "portico.client" in modules


@pytest.mark.parametrize("name", ["current_user", "optional_user", "require_scopes", "trust_gateway"])
def test_dependencies_load_starlette_and_no_more(name: str) -> None:
    modules = loaded(f"from portico.client import {name}")
    assert "starlette" in modules
    assert not modules & {"fastapi", "uvloop", "pydantic", "msgspec", "redis", "jwt", "httpx", "uvicorn"}
    assert {each for each in modules if each.startswith("portico.") and not each.startswith("portico.client")} == NET
