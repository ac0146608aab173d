"""What `portico import nginx` makes of files answers as nginx does with them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from portico.imports import finished
from portico.imports.nginx import import_nginx
from support.process import free_port
from support.world import Gateway

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
    text = re.sub(r"port: \d+, routes", "host: 127.0.0.1, port: 0, routes", text)
    gateway.file.write_text(text.replace("gateway:\n", "gateway:\n  admin: 127.0.0.1:0\n", 1))
    stack.enter_context(gateway)
    gateway.wait_until_ready(lambda: gateway.get("/readyz").status == 200)
    return gateway


@pytest.mark.parametrize("row", [*rows()])
def test_the_example_answers_as_nginx_does(example: dict[int, int], row: Row) -> None:
    row.is_answered_by(_ask(example, row))
