"""What `portico render haproxy` writes, run by HAProxy beside Portico: both answer the same requests the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from live.render_beside import RARE, Both, beside
from live.render_cases import CASES, HARD, Case, get
from live.render_odd import ODD, odd_configuration
from portico.render import Rendering, render_haproxy
from support.client import Wire
from support.haproxy import run
from support.server import Server, at
from support.site import Site, program

pytestmark = pytest.mark.skipif(program("haproxy") is None, reason="haproxy is not installed")


def start_haproxy(rendering: Rendering, port: int, directory: Path) -> Server:
    """The rendered files as they are."""
    site = Site(port, 0, directory)
    for name, text in rendering.files.items():
        site.write(name, text)
    return at(site, run(str(directory / "haproxy.cfg")))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    with beside(render_haproxy, start_haproxy, tmp_path_factory.mktemp("haproxy")) as both:
        yield both


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    with beside(render_haproxy, start_haproxy, tmp_path_factory.mktemp("odd"), odd_configuration) as both:
        yield both


def test_there_are_cases_enough(both: Both) -> None:
    assert both.compared() >= 180


@pytest.mark.parametrize("case", [*CASES, *HARD], ids=str)
def test_both_answer_the_same(both: Both, case: Case) -> None:
    both.compare(case)


def test_nothing_of_the_odd_ones_is_lost(odd: Both) -> None:
    assert not odd.lost


@pytest.mark.parametrize("case", ODD, ids=str)
def test_both_take_odd_characters_alike(odd: Both, case: Case) -> None:
    odd.compare(case)


@pytest.mark.parametrize(
    ("target", "lines", "admitted"),
    [*RARE, ("/of-consumer/1", ("X-API-Key: open-sesame",), 2), ("/of-consumer/1", ("X-API-Key: abracadabra",), 2)],
)
def test_both_admit_as_many(both: Both, target: str, lines: tuple[str, ...], admitted: int) -> None:
    both.admit(target, lines, admitted)


def test_own_endpoints_are_json(both: Both) -> None:
    for path in ("/health", "/livez", "/readyz", "/"):
        haproxy, portico = both.ask(get(path))
        assert haproxy.status == portico.status == 200, path
        assert haproxy.get("content-type") == "application/json"
        assert isinstance(json.loads(haproxy.body), dict)


def test_refusals_have_the_same_shape(both: Both) -> None:
    cases = [get(path) for path in ("/nothing", "/net/1", "/token/1", "/vllm/../x", "/later/1", f"/{'x' * 17000}")]
    for case in (*cases, Case("POST", "/small/1", 413, size=11), Case("DELETE", "/by/1", 405)):
        haproxy, portico = both.ask(case)
        shape = ("type", "status", "reason")
        assert [haproxy.json()[name] for name in shape] == [portico.json()[name] for name in shape], case
        assert haproxy.get("content-type") == portico.get("content-type")


def test_a_body_is_no_larger_than_the_gateway_s_limit(both: Both) -> None:
    for port in (both.target, both.portico):
        with Wire(port) as wire:
            wire.send(b"POST /vllm/1 HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 10485761\r\n\r\n")
            assert wire.receive("POST").status == 413


def test_a_small_body_in_chunks_is_measured(both: Both) -> None:
    head = b"POST /small/1 HTTP/1.1\r\nHost: gateway.test\r\nTransfer-Encoding: chunked\r\n\r\n"
    for port in (both.target, both.portico):
        for size, status in ((10, 200), (11, 413)):
            with Wire(port) as wire:
                wire.send(head + b"%x\r\n%b\r\n0\r\n\r\n" % (size, b"x" * size))
                assert wire.receive("POST").status == status, (port, size)


def test_a_websocket_passes(both: Both) -> None:
    lines = (
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    )
    haproxy, _ = both.ask(Case("GET", "/vllm/1", 200, lines=lines))
    seen = {name.lower(): value for name, value in haproxy.json()["fields"]}
    assert seen["upgrade"] == "websocket"
    assert seen["connection"].lower() == "upgrade"
