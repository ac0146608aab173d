"""Commands of the documentation are entered as they stand there, before one gateway with the demo's services."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from documentation.examples import examples
from documentation.markdown import Block
from documentation.played import Player
from portico.config.sample import SAMPLE
from support.backend import Backend
from support.scripts import says

TUTORIAL = "docs/tutorial.md"
"""It has a test of its own, as it is one story."""
SECRET = "0123456789abcdef" * 4
SAMPLES = """\
import asyncio, sys, uvicorn


async def main() -> None:
    pairs = zip(sys.argv[1::2], map(int, sys.argv[2::2]))
    configs = [uvicorn.Config(f"portico.demo.services.{name}:app", port=port) for name, port in pairs]
    await asyncio.gather(*(uvicorn.Server(config).serve() for config in configs))


asyncio.run(main())
"""


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Player]:
    """Its gateway has what the pages speak of: the services gemini, atc, portfolio, shop and orders."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    services: dict[str, Any] = {**SAMPLE["services"]}
    with (
        Backend(says("200 OK", "cache-control: max-age=60")) as backend,
        Player(tmp_path_factory.mktemp("reader"), SECRET_KEY=SECRET) as own,
    ):
        services["shop"] = {"url": backend.url, "policies": {"cache": True}}
        services["orders"] = {"url": backend.url, "policies": {"auth": {"jwt": {"require_expiry": True}}}}
        own.program("openssl", f"echo {SECRET}")
        own.play(
            [
                Block("python", SAMPLES, 0, "file samples.py"),
                Block("yaml", yaml.safe_dump({**SAMPLE, "services": services}), 0, "file portico.yaml"),
                Block("sh", "python samples.py gemini 8001 atc 8002 portfolio 8003", 0, "terminal"),
                Block("text", "…\nINFO: Uvicorn running on http://127.0.0.1:8003 (Press CTRL+C to quit)\n…", 0, ""),
                Block("sh", "portico run", 0, "terminal"),
                Block("text", "…\n…worker-0 serves…\n…", 0, ""),
            ]
        )
        own.play([Block("sh", 'curl() { command curl --silent --show-error --fail-with-body "$@"; }', 0, "")])
        yield own


@pytest.mark.parametrize(
    "example",
    [pytest.param(each, id=each.where) for each in examples("sh") if not each.reason and each.page != TUTORIAL],
)
def test_commands_do_what_the_page_says(reader: Player, example: Any) -> None:
    others = [each.block for kind in ("yaml", "text") for each in examples(kind) if each.page == example.page]
    for block in others:
        if block.note.startswith(("file ", "other ")) and block.note != "file portico.yaml":
            reader.play([block])
    assert reader.play_alone(example.block), example.where
