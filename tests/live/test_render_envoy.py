"""What `portico render envoy` writes, run by Envoy beside Portico: both answer the same requests the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from live.render_beside import RARE, Both, beside
from live.render_cases import CASES, HARD, Case, get
from portico.render import Rendering, render_envoy
from support.client import Wire, request
from support.envoy import envoy_program, start_envoy
from support.server import Server

pytestmark = pytest.mark.skipif(envoy_program() is None, reason="Envoy is not installed")


def start(rendering: Rendering, port: int, directory: Path) -> Server:
    return start_envoy(rendering.files["envoy.yaml"], port, directory)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    with beside(render_envoy, start, tmp_path_factory.mktemp("envoy")) as both:
        yield both


def test_there_are_cases_enough(both: Both) -> None:
    assert both.compared() >= 150


@pytest.mark.parametrize("case", [*CASES, *HARD], ids=str)
def test_both_answer_the_same(both: Both, case: Case) -> None:
    both.compare(case)


@pytest.mark.parametrize(
    ("target", "lines", "admitted"),
    RARE,
)
def test_both_admit_as_many(both: Both, target: str, lines: tuple[str, ...], admitted: int) -> None:
    for answer in both.admit(target, lines, admitted):
        assert answer.json()["reason"] == "rate_limited"


def test_own_endpoints_have_one_content_type(both: Both) -> None:
    for path in ("/health", "/livez", "/readyz", "/"):
        envoy, portico = both.ask(get(path))
        assert envoy.status == portico.status == 200, path
        assert envoy.all("content-type") == ["application/json"]
        assert isinstance(json.loads(envoy.body), dict)


def test_errors_are_problem_documents_as_portico_s(both: Both) -> None:
    for case in (
        get("/nothing", 404),
        get("/vllm/../x", 400),
        Case("DELETE", "/by/1", 405),
        get("/net/1", 403),
        Case("POST", "/small/1", 413, size=11),
        get("/later/1", 503),
        get("/token/1", 401),
    ):
        envoy, portico = both.ask(case)
        theirs, ours = envoy.json(), portico.json()
        assert envoy.status == portico.status == case.status
        assert envoy.get("content-type") == portico.get("content-type")
        assert theirs.keys() == ours.keys()
        for key in ("type", "title", "status", "reason", "instance"):
            assert theirs[key] == ours[key], key
        assert theirs["request_id"] == envoy.get("x-request-id")


def test_a_websocket_passes(both: Both) -> None:
    lines = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13")
    with Wire(both.target) as wire:
        wire.send(request("GET", "/vllm/socket", *lines))
        answer = wire.rest()
    head, _, seen = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    fields = {name.lower(): value.lower() for name, value in json.loads(seen)["fields"]}
    assert (fields["upgrade"], fields["connection"]) == ("websocket", "upgrade")
