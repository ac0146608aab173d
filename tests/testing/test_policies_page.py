"""What docs/policies.md shows is run: its policies in a gateway, its tests, its configurations."""

from __future__ import annotations

import asyncio
import inspect
import logging
import re
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from portico.cli.new_plugin import write_plugin
from portico.config import check_plugins, load_text
from portico.policies import STEPS
from portico.policies.plugins.base import Policy
from portico.testing import StartGateway, make_context, make_exchange, make_policy, make_response, run_body

ROOT: Final = Path(__file__).parents[2]
EXAMPLES: Final = ROOT / "examples" / "policies"
PAGE: Final = (ROOT / "docs" / "policies.md").read_text(encoding="utf-8")
LONGER: Final = [each for each in EXAMPLES.glob("*.py") if not each.name.startswith(("hello", "test_"))]
"""The examples that say themselves how they are configured."""
_BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    return [block[2] for block in _BLOCK.finditer(PAGE) if block[1] == language]


def executed() -> dict[str, Any]:
    """All that its Python defines, from top to bottom, as one module."""
    names: dict[str, Any] = {"__name__": "page"}
    for text in blocks("python"):
        exec(compile(text, "docs/policies.md", "exec", dont_inherit=True), names)
    return names


NAMES: Final = executed()
POLICIES: Final = [each for each in NAMES.values() if inspect.isclass(each) and issubclass(each, Policy)][1:]
TESTS: Final = [each for name, each in NAMES.items() if name.startswith("test_")]


def test_there_is_something_to_run() -> None:
    assert {each.__name__ for each in POLICIES} == {"Hello", "Teapot", "LimitLines", "Plan", "Kept", "Watched"}
    assert len(TESTS) == 2
    assert len(blocks("yaml")) == 2


@pytest.mark.parametrize("policy", POLICIES)
def test_its_policies_run_without_a_failure(policy: type[Policy], gateway: StartGateway) -> None:
    running = gateway(policy)
    assert running.client.get("/").status_code == 200
    assert running.client.post("/", content=b"a\nb\n", headers={"Content-Type": "text/plain"}).status_code == 200
    assert running.service.requests[1].body == b"a\nb\n"
    assert [event for event in running.events if event.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("test", TESTS)
def test_its_tests_pass(test: Callable[..., None], gateway: StartGateway) -> None:
    test(**({"gateway": gateway} if "gateway" in inspect.signature(test).parameters else {}))


def test_what_else_its_policies_are_said_to_do(gateway: StartGateway) -> None:
    running = gateway(NAMES["Teapot"])
    menu = running.client.get("/menu")
    assert (menu.json(), menu.headers["Cache-Control"]) == ({"drinks": ["tea"]}, "max-age=60")
    running = gateway(NAMES["LimitLines"])
    refused = running.client.post("/", content=b"\n" * 1_000_001, headers={"Content-Type": "text/plain"})
    assert (refused.status_code, refused.json()["reason"]) == (413, "too_many_lines")
    asked: list[str] = []

    def plan(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, text="gold")

    client = httpx.AsyncClient(transport=httpx.MockTransport(plan))
    policy = make_policy(NAMES["Plan"], context=make_context(http=client))
    for name, sent in (("ann", "gold"), ("ann", "gold"), (None, None)):
        exchange = make_exchange(consumer=name, headers={"X-Plan": "platinum"})
        asyncio.run(policy.request(exchange))
        assert exchange.upstream_headers.get("X-Plan") == sent
    assert asked == ["http://plans.internal/?of=ann"]
    watched = make_policy(NAMES["Watched"])
    asyncio.run(watched.open())
    watched.finished(make_exchange(status=204))
    watched.finished(make_exchange(status=403, reason="too_old"))
    assert watched.outcomes.series == {("service", "2xx"): 1, ("service", "too_old"): 1}
    assert run_body(watched.body(make_exchange(), make_response()), b"a") == b"a"


def test_the_first_one_is_the_example() -> None:
    first = blocks("python")[0]
    assert first in (ROOT / "README.md").read_text(encoding="utf-8")
    code = [line for line in first.splitlines() if line.strip()]
    example = (EXAMPLES / "hello.py").read_text(encoding="utf-8").splitlines()
    assert code == [line for line in example if line.strip() and '"""' not in line]
    assert len(code) == 6


@pytest.mark.parametrize("text", [*blocks("yaml")])
def test_its_configurations_load_with_their_policies(text: str, tmp_path: Path) -> None:
    beside(tmp_path)
    config = load_text(text, str(tmp_path / "portico.yaml"), {})
    assert check_plugins(config)[0] == []


def in_docstring(file: Path) -> str:
    """The configuration that a file begins with; a service is added where it shows policies alone."""
    docstring = file.read_text(encoding="utf-8").split('"""')[1]
    lines = [line.removeprefix("    ") for line in docstring.splitlines() if line.startswith("    ")]
    text = "\n".join(lines)
    return text if "services:" in text else f"services: {{shop: {{url: 'http://localhost:8001'}}}}\n{text}"


@pytest.mark.parametrize("file", LONGER, ids=lambda file: file.stem)
def test_what_an_example_says_of_its_configuration_loads(file: Path, tmp_path: Path) -> None:
    beside(tmp_path)
    environ = {"SECRET_KEY": "0123456789abcdef0123456789abcdef", "PARTNER_KEY": "0123456789abcdef0123456789abcdef"}
    config = load_text(in_docstring(file), str(tmp_path / "portico.yaml"), environ)
    assert check_plugins(config)[0] == []
    assert any("plugins" in route.policies for route in config.all_routes)


def beside(folder: Path) -> None:
    """The examples where a configuration in this folder looks for them."""
    shutil.copytree(EXAMPLES, folder / "policies", ignore=shutil.ignore_patterns("__pycache__", "test_*"))


def test_every_example_is_on_both_pages() -> None:
    names = {"hello.py", *(each.name for each in LONGER)}
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\[`(\w+\.py)`\]", readme)) == names
    assert set(re.findall(r"^\| \[`(\w+\.py)`\]", PAGE, re.MULTILINE)) == names - {"hello.py"}
    assert {f"test_{name}" for name in names} == {each.name for each in EXAMPLES.glob("test_*.py")}


def test_the_entry_point_is_that_of_a_new_package(tmp_path: Path) -> None:
    write_plugin("block-old-clients", tmp_path)
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (shown,) = blocks("toml")
    assert tomllib.loads(shown)["project"]["entry-points"] == project["entry-points"]


def test_the_order_is_that_of_the_steps() -> None:
    sentence = PAGE[PAGE.index("Requests pass ") :].partition(", then your policies")[0]
    assert [*dict.fromkeys(re.findall(r"`(\w+)`", sentence))] == [*dict.fromkeys(step.key for step in STEPS)]
