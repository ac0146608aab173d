"""What `portico import nginx` makes of files answers as nginx does with them."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from portico.imports import finished
from portico.imports.nginx import import_nginx
from support.backend import Backend
from support.messages import Message
from support.process import free_port
from support.server import Server, at
from support.site import Site, program
from support.world import Gateway

from .render_cases import Case, ask, service
from .test_from_nginx import APPS, EXAMPLE, Row, _ask, _on, _service, rows


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, int]]:
    """The example of docs/from-nginx.md, imported: where it listens, by the ports of the file."""
    with ExitStack() as stack:
        written = (EXAMPLE / "nginx.conf").read_text()
        ports = {port: str(free_port()) for port in sorted(set(re.findall(r"127\.0\.0\.1:(\d+)", written)))}
        for port, name in APPS.items():
            stack.enter_context(_service(name, "canary" if port == 9011 else name, int(ports[str(port)])))
        source = tmp_path_factory.mktemp("source")
        shutil.copytree(EXAMPLE / "pages", source / "pages")
        (source / "nginx.conf").write_text(_on(ports, written))
        gateway = started(stack, source / "nginx.conf")
        yield {port: gateway.port_of(f"http-{port}") for port in (8080, 8081, 8082)}


def started(stack: ExitStack, file: Path) -> Gateway:
    """A gateway with what is imported of a file, on free ports."""
    gateway = Gateway()
    text = finished(import_nginx(file), str(gateway.file)).text
    own = "  host: 127.0.0.1\n  port: 0\n"
    text = re.sub(r'^(  host: "127.0.0.1"\n)?  port: \d+\n', own, text, flags=re.MULTILINE)
    text = re.sub(r"port: \d+, routes", "host: 127.0.0.1, port: 0, routes", text)
    gateway.file.write_text(text.replace("gateway:\n", "gateway:\n  admin: 127.0.0.1:0\n", 1))
    stack.enter_context(gateway)
    gateway.wait_until_ready(lambda: gateway.get("/readyz").status == 200)
    return gateway


@pytest.mark.parametrize("row", [*rows()])
def test_the_example_answers_as_nginx_does(example: dict[int, int], row: Row) -> None:
    row.is_answered_by(_ask(example, row))


# ---- a file with what people write

SOURCE: Final = Path(__file__).with_name("import_nginx.conf")
COMPARED: Final = ("location", "x-added", "x-outer", "x-internal")


@dataclass(frozen=True)
class Both:
    """The ports of nginx and of Portico."""

    nginx: int
    portico: int

    def ask(self, case: Case) -> tuple[Message, Message]:
        return ask(self.nginx, case), ask(self.portico, case)


def _nginx(file: Path, port: int) -> Server:
    temporary = "".join(f"{kind}_temp_path {kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    site = Site(port, 0, file.parent)
    path = site.write("run.conf", file.read_text().replace("http {", f"http {{ {temporary}", 1))
    main = "daemon off; pid nginx.pid;" + (" user root;" if os.geteuid() == 0 else "")
    return at(site, [program("nginx") or "", "-p", str(file.parent), "-c", str(path), "-e", "stderr", "-g", main])


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    with ExitStack() as stack:
        backend, port = stack.enter_context(Backend(service)), free_port()
        file = tmp_path_factory.mktemp("nginx") / "nginx.conf"
        text = SOURCE.read_text().replace("SERVICE", backend.url.removeprefix("http://"))
        file.write_text(text.replace("PORT", f"127.0.0.1:{port}"))
        stack.enter_context(_nginx(file, port))
        yield Both(port, started(stack, file).port)


def case(target: str, status: int = 200, sees: str | None = None, *lines: str, **more: Any) -> Case:
    return Case(more.pop("method", "GET"), target, status, sees, lines, **{"host": "a.test", **more})


CASES: Final = [
    case("/", 200),
    *(case(target, 200, target) for target in ("/x", "/x?a=b&c", "/x/y/", "/keep/a?b", "/side/x", "/fallback/x")),
    case("/strip/x/y?z", 200, "/x/y?z"),
    case("/strip/", 200, "/"),
    *(case(f"/{name}?x=1", 301) for name in ("strip", "keep", "base", "some", "bare/longer")),
    case("/base/x", 200, "/v1/base/x"),
    *(case(f"/bare{rest}", 200, f"/{rest}") for rest in ("", "x", "/x", "?q=1")),
    case("/bare/longer/x", 200, "/longer/x"),
    *(case(f"/join{rest}", 200, f"/v2{rest}") for rest in ("", "ed", "/x")),
    case("/static/a.css", 200, "/files/a.css"),
    case("/other/a.css", 200, "/other/a.css"),
    case("/bare/a.js", 200, "/bare/a.js"),
    case("/u/7?x", 200, "/users/7?x"),
    case("/U/7", 200, "/users/7"),
    case("/u/seven", 200, "/u/seven"),
    case("/items/books/7?q=1", 200, "/i/7/books?q=1"),
    case("/shop/a/b?c", 200, "/store/a/b?c"),
    case("/some/7", 200, "/number/7"),
    case("/some/seven", 200, "/some/seven"),
    case("/old/book/12?x=1", 301),
    case("/old/book/x", 200, "/old/book/x"),
    case("/moved/a/b?c", 200, "/kept/a/b?c"),
    case("/hand", 200, "/hand"),
    case("/hand/a.css", 200, "/hand/a.css"),
    case("/hand/a/b?c", 200, "/kept/a/b?c"),
    case("/hands/a/b?c", 200, "/to/a/b?c"),
    case("/hands", 200, "/hands"),
    case("/numbers/7?a", 200, "/files/7?a"),
    case("/early/a?b", 301),
    case("/early", 410),
    case("/handed/a/b?c", 200, "/v1/base/x?c"),
    case("/named/a/b?c", 200, "/named/a/b?c"),
    case("/go/there?x=1", 302),
    case("/gone", 410),
    case("/text"),
    *(case(target, 403) for target in ("/refused", "/refused/x", "/refusedx", "/closed/x")),
    case("/open/x", 200, "/open/x"),
    case("/only-get/x", 200, "/only-get/x"),
    case("/only-get/x", 403, method="DELETE"),
    case("/asked/x", 200, "/asked/x", method="PUT"),
    case("/asked/x", 405, method="DELETE"),
    case("/side/x", 200, "/side/x", "X-Side: beta"),
    case("/cookie/x", 200, None, "Cookie: a=b; side=two"),
    case("/cookie/x", 200, "/cookie/x", "Cookie: side=one"),
    case("/version/x?v=2"),
    case("/version/x?v=1", 200, "/version/x?v=1"),
    case("/fields/answer?status=404&X-Internal=1", 404),
    case("/fields/x", 200, "/fields/x", "X-Seen: client"),
    case("/outer/inner/x", 200, "/inner/x"),
    case("/outer/x", 200, "/outer/x"),
    case("/outer/a.txt"),
    case("/outer/inner/a.txt"),
    case("/small/x", 413, method="POST", size=11),
    case("/small/x", 200, "/small/x", method="POST", size=10),
    case("/x", 403, None, "User-Agent: BadBot/1"),
    case("/gone", 403, None, "User-Agent: worse"),
    case("/a/b?c", 301, host="www.a.test"),
    case("/gone", 301, host="www.a.test"),
    *(case(target, 200, host="x.y.a.test") for target in ("/", "/only", "/only/x")),
    case("/exact", 200, host="x.a.test"),
    case("/by-pattern/x", 200, host="x.a.test"),
    case("/deep/er/x", 200, "/deep/er/x"),
    case("/exact", 200, "/exact"),
    case("/by-pattern/x", 200, "/by-pattern/x"),
    *(case(target, 200, host="12.b.test") for target in ("/", "/exact", "/deep/er/x")),
    case("/x", 200, host="mail.example.org"),
    case("/x", 200, "/x", host="b.test"),
    case("/exact", 200, host="nobody.test"),
    case("/deep/er/x", 200, "/default/x", host="nobody.test"),
    case("/x", 200, "/x", host="nobody.test"),
]


@pytest.mark.skipif(program("nginx") is None, reason="nginx is not installed")
@pytest.mark.parametrize("asked", CASES, ids=str)
def test_both_answer_the_same(both: Both, asked: Case) -> None:
    nginx, portico = both.ask(asked)
    for answer in (nginx, portico):
        assert answer.status == asked.status, answer
        if asked.sees is not None:
            assert answer.json()["target"] == asked.sees
    for name in COMPARED:
        assert portico.all(name) == nginx.all(name), name
    if asked.sees is not None:
        assert seen(portico) == seen(nginx)
    elif asked.status in (200, 410):
        assert portico.body == nginx.body
        assert portico.all("content-type") == nginx.all("content-type")


def seen(answer: Message) -> dict[str, list[str]]:
    """What the service got of the fields that the file is about."""
    fields = [(name.lower(), value) for name, value in answer.json()["fields"]]
    return {name: [value for own, value in fields if own == name] for name in ("host", "x-seen", "x-own")}


OWN: Final = "answer?Cache-Control=no-store"


@pytest.mark.skipif(program("nginx") is None, reason="nginx is not installed")
@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/expires/x", ["max-age=3600"]),
        (f"/expires/{OWN}", ["max-age=3600"]),
        ("/expires/answer?status=404", []),
        (f"/expires/{OWN}&status=404", ["no-store"]),
        ("/expires/max/x", ["max-age=315360000"]),
        (f"/expires/never/{OWN}", ["no-cache"]),
        (f"/expires/off/{OWN}", ["no-store"]),
    ],
)
def test_responses_may_be_kept_as_long_as_expires_says(both: Both, target: str, expected: list[str]) -> None:
    for answer in both.ask(case(target)):
        assert answer.all("cache-control") == expected
