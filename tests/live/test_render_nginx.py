"""What `portico render nginx` writes, run by nginx beside Portico: both answer the same requests the same."""

from __future__ import annotations

import json
import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from live.render_beside import RARE, Both, beside, load
from live.render_cases import CASES, HARD, Case, get
from portico.render import Rendering, render_nginx
from support.authority import Authority
from support.process import free_port
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
    RARE,
)
def test_both_admit_as_many(both: Both, target: str, lines: tuple[str, ...], admitted: int) -> None:
    both.admit(target, lines, admitted)


def test_own_endpoints_have_one_content_type(both: Both) -> None:
    for path in ("/health", "/livez", "/readyz", "/"):
        nginx, portico = both.ask(get(path))
        assert nginx.status == portico.status == 200, path
        assert nginx.get("content-type") == "application/json"
        assert isinstance(json.loads(nginx.body), dict)


@pytest.mark.parametrize("path", ["/fails/1", "/fails-elsewhere/1", "/fails-hidden/1"])
def test_a_refusal_of_a_service_has_its_fields_once(both: Both, path: str) -> None:
    nginx, portico = both.ask(get(path))
    for name in ("www-authenticate", "cache-control", "set-cookie", "location"):
        assert nginx.all(name) == portico.all(name), name


def test_a_websocket_passes(both: Both) -> None:
    lines = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13")
    nginx, _ = both.ask(Case("GET", "/vllm/1", 200, lines=lines))
    seen = {name.lower(): value for name, value in nginx.json()["fields"]}
    assert seen["upgrade"] == "websocket"
    assert seen["connection"].lower() == "upgrade"


def test_a_certificate_is_chosen_by_the_name_that_is_asked_for(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    usual, other = authority.leaf("usual", "default.test"), authority.leaf("other", "other.test", "*.wild.test")
    port = free_port()
    tls = {**usual.written, "certificates": [other.written]}
    gateway = {"host": "127.0.0.1", "port": port, "log": {"access": "off"}, "tls": tls}
    rendering = render_nginx(load({"gateway": gateway, "services": {"a": {"url": "http://127.0.0.1:1"}}}, port))
    assert rendering.losses == ()
    with start_nginx(rendering, port, tmp_path):
        for name, leaf in (("default.test", usual), ("other.test", other), ("a.wild.test", other), ("no.test", usual)):
            assert certificate_for(port, name) == leaf.content().public_bytes(Encoding.DER), name


def certificate_for(port: int, name: str) -> bytes | None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port)) as plain,
        context.wrap_socket(plain, server_hostname=name) as tls,
    ):
        return tls.getpeercert(binary_form=True)
