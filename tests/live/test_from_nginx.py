"""examples/from-nginx: nginx.conf and portico.yaml before the same three services answer the same requests the same."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from portico.config import load_text
from portico.render import render_nginx
from support.client import Wire, request
from support.frames import CLOSE, TEXT
from support.messages import Message
from support.portico import environment
from support.process import free_port
from support.server import Server, at
from support.site import Site, program
from support.websocket import WebSocket
from support.world import Gateway

from .test_render_nginx import start_nginx

EXAMPLE: Final = Path(__file__).parents[2] / "examples" / "from-nginx"
PAGE: Final = EXAMPLE.parents[1] / "docs" / "from-nginx.md"
APPS: Final = {9001: "catalogue", 9011: "catalogue", 9002: "orders", 9003: "media"}
"""What listens on the ports that both files name; nothing does on the others."""
WEB: Final = 8080
COMPARED: Final = (
    *("content-type", "location", "cache-control", "set-cookie"),
    *("content-disposition", "x-frame-options", "x-powered-by"),
)
ABOUT_OWN_BODIES: Final = ("content-type", "cache-control")

pytestmark = pytest.mark.skipif(program("nginx") is None, reason="nginx is not installed")


@dataclass(frozen=True)
class Row:
    """A line of requests.yaml."""

    ask: str
    status: int
    host: str
    size: int | None = None
    body: Any = None
    fields: dict[str, str | None] = field(default_factory=dict)
    lines: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()

    @property
    def port(self) -> int:
        """Of both files."""
        return int(self.host.partition(":")[2] or WEB)

    @property
    def method(self) -> str:
        return self.ask.partition(" ")[0]

    def bytes(self) -> bytes:
        target = self.ask.partition(" ")[2]
        body = None if self.size is None else b"x" * self.size
        return request(self.method, target, *self.lines, f"Host: {self.host}", body=body)

    def is_answered_by(self, answer: Message) -> None:
        assert answer.status == self.status, (self.ask, answer)
        for name, value in self.fields.items():
            assert answer.get(name) == value, (self.ask, name, answer)
        if isinstance(self.body, dict):
            assert answer.json() == self.body, self.ask
        elif self.body not in (None, "own"):
            assert answer.body.decode() == self.body, self.ask


def rows() -> Iterator[Any]:
    for host, table in yaml.safe_load((EXAMPLE / "requests.yaml").read_text()).items():
        for number, line in enumerate(table):
            lines = tuple(f"{name}: {value}" for name, value in line.pop("with", {}).items())
            row = Row(**{"host": host, **line, "lines": lines})
            yield pytest.param(row, id=f"{host}-{number}-{row.ask.replace('/', '|')}")


@dataclass
class Both:
    """nginx and Portico: where each listens, by the ports of the files; and nginx again, by what Portico renders."""

    nginx: dict[int, int]
    portico: dict[int, int]
    rendered: dict[int, int]

    def ask(self, row: Row) -> tuple[Message, Message]:
        first, second = (_ask(ports, row) for ports in self)
        return first, second

    def get(self, host: str, target: str) -> tuple[Message, Message]:
        return self.ask(Row(f"GET {target}", 200, host))

    def __iter__(self) -> Iterator[dict[int, int]]:
        return iter((self.nginx, self.portico))


def _ask(ports: dict[int, int], row: Row) -> Message:
    with Wire(ports[row.port]) as wire:
        wire.send(row.bytes())
        return wire.receive(row.method)


def _service(name: str, instance: str, port: int) -> Server:
    options = ("--app-dir", EXAMPLE, "--host", "127.0.0.1", "--port", port, "--ws", "websockets-sansio")
    env = environment(INSTANCE=instance, PYTHONDONTWRITEBYTECODE="1")
    return Server(port, sys.executable, "-m", "uvicorn", f"{name}:app", *options, path="/health", env=env)


def _nginx(listening: dict[int, int], ports: dict[str, str], directory: Path) -> Server:
    """nginx.conf as it is, but for ports, and the directories that only root may write to."""
    shutil.copytree(EXAMPLE / "pages", directory / "pages")
    text = _on(ports, (EXAMPLE / "nginx.conf").read_text())
    text = re.sub(r"listen (\d+)", lambda found: f"listen 127.0.0.1:{listening[int(found[1])]}", text)
    temporary = "".join(f"{kind}_temp_path {kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    site = Site(listening[WEB], 0, directory)
    path = site.write("nginx.conf", text.replace("http {", f"http {{ {temporary}", 1))
    main = "daemon off; pid nginx.pid;" + (" user root;" if os.geteuid() == 0 else "")
    return at(site, [program("nginx") or "", "-p", str(directory), "-c", str(path), "-e", "stderr", "-g", main])


def _rendered(listening: dict[int, int], ports: dict[str, str], directory: Path) -> Server:
    """What is rendered of portico.yaml, but for ports and directories. Pages and a cache are what nginx has not."""
    shutil.copytree(EXAMPLE / "pages", directory / "pages")
    text = _on(ports, (EXAMPLE / "portico.yaml").read_text())
    text = re.sub(r"port: (\d+)", lambda found: f"host: 127.0.0.1, port: {listening[int(found[1])]}", text)
    rendering = render_nginx(load_text(text, str(directory / "portico.yaml"), {}))
    keys = ("errors", "cache", "retries.silence", "timeout.tunnel")
    assert [loss for loss in rendering.losses if not loss.what.endswith(keys)] == []
    return start_nginx(rendering, listening[WEB], directory)


def _portico(ports: dict[str, str]) -> Gateway:
    """portico.yaml as it is, but for ports."""
    gateway = Gateway()
    shutil.copytree(EXAMPLE / "pages", gateway.directory / "pages")
    text = _on(ports, (EXAMPLE / "portico.yaml").read_text())
    text = re.sub(r"port: \d+", "host: 127.0.0.1, port: 0", text)
    gateway.file.write_text(text.replace("gateway:\n", "gateway:\n  admin: 127.0.0.1:0\n", 1))
    return gateway


def _written() -> Any:
    return yaml.safe_load((EXAMPLE / "portico.yaml").read_text())


def _on(ports: dict[str, str], text: str) -> str:
    return re.sub(r"127\.0\.0\.1:(\d+)", lambda found: f"127.0.0.1:{ports[found[1]]}", text)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    with ExitStack() as stack:
        named = set(re.findall(r"127\.0\.0\.1:(\d+)", (EXAMPLE / "nginx.conf").read_text()))
        ports = {port: str(free_port()) for port in sorted(named)}
        for port, name in APPS.items():
            instance = "canary" if port == 9011 else name
            stack.enter_context(_service(name, instance, int(ports[str(port)])))
        listeners = {listener["port"]: listener["name"] for listener in _written()["gateway"]["listen"]}
        listening = {port: free_port() for port in listeners}
        stack.enter_context(_nginx(listening, ports, tmp_path_factory.mktemp("nginx")))
        rendered = {port: free_port() for port in listeners}
        stack.enter_context(_rendered(rendered, ports, tmp_path_factory.mktemp("rendered")))
        portico = stack.enter_context(_portico(ports))
        portico.wait_until_ready(lambda: portico.get("/readyz").status == 200)
        yield Both(listening, {port: portico.port_of(name) for port, name in listeners.items()}, rendered)


def test_the_table_is_long_enough() -> None:
    assert len([*rows()]) >= 80


def test_the_page_quotes_the_files() -> None:
    table = PAGE.read_text().partition("## Side by side")[2].partition("## ")[0]
    texts = [" ".join((EXAMPLE / name).read_text().split()) for name in ("nginx.conf", "portico.yaml")]
    lines = re.findall(r"^\| (`.*) \| (.*) \|$", table, re.MULTILINE)
    assert len(lines) > 30
    for line in lines:
        for text, cell in zip(texts, line, strict=True):
            if not cell.startswith("nothing"):
                for quote in re.findall("`([^`]*)`", cell.replace("\\|", "|")):
                    assert quote in text, quote


def test_every_server_block_with_a_port_of_its_own_is_a_listener() -> None:
    listening = {int(port) for port in re.findall(r"listen (\d+)", (EXAMPLE / "nginx.conf").read_text())}
    assert listening == {listener["port"] for listener in _written()["gateway"]["listen"]}
    assert len(listening) > 2


def test_weights(both: Both) -> None:
    for ports in both:
        counts = Counter(_ask(ports, Row("GET /instance", 200, "www.shop.test")).json()["instance"] for _ in range(9))
        assert counts == {"catalogue": 6, "canary": 3}


@pytest.mark.parametrize("row", [*rows()])
def test_both_answer_the_same(both: Both, row: Row) -> None:
    nginx, portico = both.ask(row)
    for answer in (nginx, portico):
        row.is_answered_by(answer)
    own = row.body == "own"
    differing = {name.lower() for name in row.differs} | ({*ABOUT_OWN_BODIES} if own else set())
    for name in COMPARED:
        if name not in differing:
            assert portico.all(name) == nginx.all(name), (row.ask, name)
    if isinstance(row.body, dict):
        assert portico.json() == nginx.json()
    elif not own:
        assert portico.body == nginx.body


@pytest.mark.parametrize("row", [*rows()])
def test_nginx_by_what_is_rendered_answers_the_same(both: Both, row: Row) -> None:
    answer = _ask(both.rendered, row)
    if row.status in (404, 502, 504):
        assert answer.status == row.status  # with pages of its own
    else:
        row.is_answered_by(answer)


@pytest.mark.parametrize(
    ("row", "portico"),
    [
        (Row("GET /robots.txt", 403, "www.shop.test", lines=("User-Agent: BadBot",)), 200),
        (Row("GET //p/7", 200, "www.shop.test"), 400),
        (Row("GET /a/..;/b", 404, "www.shop.test"), 400),
        (Row("GET /nothing", 404, "berlin.shop.test:8080"), 404),
    ],
)
def test_what_differs(both: Both, row: Row, portico: int) -> None:
    answers = both.ask(row)
    assert [answer.status for answer in answers] == [row.status, portico]


def test_what_a_limit_admits_at_once(both: Both) -> None:
    for ports in both:
        statuses = [_ask(ports, Row("POST /checkout", 200, "www.shop.test", size=0)).status for _ in range(6)]
        assert statuses == [200] * 3 + [429] * 3


def test_the_cache_asks_once_for_each_url(both: Both) -> None:
    for ports in both:
        rows = (Row(f"GET /feed{query}", 200, "media.shop.test:8082") for query in ("", "", "?tag=a", ""))
        made = [_ask(ports, row).json() for row in rows]
        assert made[0] == made[1] == made[3] != made[2]
        assert made[2]["tag"] == "a"


def test_a_websocket(both: Both) -> None:
    for ports in both:
        with WebSocket(ports[8082], "/live", "Host: media.shop.test") as client:
            client.say(TEXT, b"hello")
            frame = client.next_frame()
            assert frame is not None
            assert (frame.opcode, frame.payload) == (TEXT, b"hello")
            client.say(CLOSE, b"\x03\xe8")
