"""What `portico render nginx` writes, run by nginx beside Portico: both answer the same requests the same."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from live.render_beside import Both, beside
from live.render_cases import CASES, HARD, Case, get
from portico.render import Rendering, render_nginx
from support.server import Server, at
from support.site import Site, program

pytestmark = pytest.mark.skipif(program("nginx") is None, reason="nginx is not installed")

PATHS: Final = [get(path, 400) for path in ("/hidden//open", "/hidden/%2Fopen", "/hidden/open/not%20", "/users//7")]
"""What nginx's idea of a path would hide from a guard."""


def start_nginx(rendering: Rendering, port: int, directory: Path) -> Server:
    """The rendered file as it is, but for the directories that only root may write to."""
    text = rendering.files["nginx.conf"]
    temporary = "".join(f"{kind}_temp_path {kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    site = Site(port, 0, directory)
    for name, other in rendering.files.items():
        site.write(name, other)
    path = site.write("nginx.conf", text.replace("http {", f"http {{ {temporary} access_log off;", 1))
    main = "daemon off; pid nginx.pid;" + (" user root;" if os.geteuid() == 0 else "")
    return at(site, [program("nginx") or "", "-p", str(directory), "-c", str(path), "-e", "stderr", "-g", main])


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    with beside(render_nginx, start_nginx, tmp_path_factory.mktemp("nginx")) as both:
        yield both


def test_there_are_cases_enough(both: Both) -> None:
    assert both.compared() >= 120


@pytest.mark.parametrize("case", [*CASES, *HARD, *PATHS], ids=str)
def test_both_answer_the_same(both: Both, case: Case) -> None:
    both.compare(case)


@pytest.mark.parametrize(
    ("target", "lines", "admitted"),
    [
        ("/rare/1", (), 3),
        ("/rare-answer", (), 2),
        ("/per-key/1", ("X-Key: a",), 1),
        ("/per-key/1", ("X-Key: b",), 1),
        ("/per-key/1", (), 1),
    ],
)
def test_both_admit_as_many(both: Both, target: str, lines: tuple[str, ...], admitted: int) -> None:
    answers = [both.ask(Case("GET", target, 200, lines=lines)) for _ in range(admitted + 1)]
    for pair in answers[:admitted]:
        assert [answer.status for answer in pair] == [200, 200]
    for answer in answers[admitted]:
        assert answer.status == 429
        assert 1 <= int(answer.get("retry-after") or 0) <= 60


def test_own_endpoints_have_one_content_type(both: Both) -> None:
    for path in ("/health", "/livez", "/readyz", "/"):
        nginx, portico = both.ask(get(path))
        assert nginx.status == portico.status == 200, path
        assert nginx.get("content-type") == "application/json"
        assert isinstance(json.loads(nginx.body), dict)


def test_a_websocket_passes(both: Both) -> None:
    lines = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13")
    nginx, _ = both.ask(Case("GET", "/vllm/1", 200, lines=lines))
    seen = {name.lower(): value for name, value in nginx.json()["fields"]}
    assert seen["upgrade"] == "websocket"
    assert seen["connection"].lower() == "upgrade"
