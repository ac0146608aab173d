"""What `portico render nginx` writes, run by nginx beside Portico: both answer the same requests the same."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from live.render_cases import CASES, CONFIG, Case, ask, compare, get, service
from portico.config import load_text
from portico.render import render_nginx
from support.backend import Backend
from support.messages import Message
from support.process import free_port
from support.server import Server, at
from support.site import Site, program
from support.world import Gateway

pytestmark = pytest.mark.skipif(program("nginx") is None, reason="nginx is not installed")


@dataclass
class Both:
    """Where nginx and Portico listen."""

    nginx: int
    portico: int

    def ask(self, case: Case) -> tuple[Message, Message]:
        first, second = (ask(port, case) for port in (self.nginx, self.portico))
        return first, second


def start_nginx(text: str, port: int, directory: Path) -> Server:
    """The rendered file as it is, but for the directories that only root may write to."""
    temporary = "".join(f"{kind}_temp_path {kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    site = Site(port, 0, directory)
    path = site.write("nginx.conf", text.replace("http {", f"http {{ {temporary} access_log off;", 1))
    main = "daemon off; pid nginx.pid;" + (" user root;" if os.geteuid() == 0 else "")
    return at(site, [program("nginx") or "", "-p", str(directory), "-c", str(path), "-e", "stderr", "-g", main])


def rendered(config: dict[str, Any], port: int) -> str:
    """nginx.conf for a configuration of which it can say everything."""
    own = {"host": "127.0.0.1", "port": port, "log": {"access": "off"}}
    rendering = render_nginx(load_text(yaml.safe_dump({"gateway": own, **config}), "portico.yaml", {}))
    assert rendering.losses == ()
    return rendering.files["nginx.conf"]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    with ExitStack() as stack:
        backend = stack.enter_context(Backend(service))
        services = {name: {**own, "url": backend.url} for name, own in CONFIG["services"].items()}
        port = free_port()
        text = rendered({**CONFIG, "services": services}, port)
        stack.enter_context(start_nginx(text, port, tmp_path_factory.mktemp("nginx")))
        unchecked = {name: {**own, "health_check": False} for name, own in services.items()}
        portico = stack.enter_context(Gateway({**CONFIG, "services": unchecked}))
        yield Both(port, portico.port)


def test_there_are_cases_enough() -> None:
    assert len(CASES) >= 80


@pytest.mark.parametrize("case", CASES, ids=str)
def test_both_answer_the_same(both: Both, case: Case) -> None:
    compare(case, *both.ask(case))


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
