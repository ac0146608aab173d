"""Compression over real sockets: every row of docs/compression.md, large and endless bodies, curl and a browser."""

from __future__ import annotations

import re
import subprocess
import threading
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from portico.core.codings import codings_of, decode, decoder, encode
from support.backend import Backend, Connection
from support.browser import browser_page, needs_chromium
from support.client import TIMEOUT, request
from support.documented import example
from support.messages import Message
from support.metrics import metric
from support.world import Gateway

PAGE = (Path(__file__).parents[2] / "docs" / "compression.md").read_text(encoding="utf-8")
BODIES = {"BODY": (b"All work and no play makes text worth it. " * 98)[:4096], "SHORT": b"x" * 100}
LARGE = b"".join(b'{"id": %d, "name": "user %d", "tags": ["a", "b"]},\n' % (at, at * 7919) for at in range(100_000))
JSON = "Content-Type: application/json"


class Service:
    """Answers as a test says."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.status = "200 OK"
        self.body = b""
        self.go_on = threading.Event()
        self.seen: list[Message] = []

    def __call__(self, connection: Connection) -> None:
        while (asked := connection.next_request()) is not None:
            self.seen.append(asked)
            if asked.target == "/page":
                html = b"<!doctype html><title>a page</title><p>" + BODIES["BODY"]
                connection.answer(html, "200 OK", "Content-Type: text/html", 'ETag: "1"')
            elif asked.target == "/large":
                connection.answer(LARGE, "200 OK", JSON)
            elif asked.target == "/chunked":
                connection.answer(LARGE, "200 OK", JSON, chunked=True)
            elif asked.target == "/trickle":
                connection.send(b"HTTP/1.1 200 OK\r\n%b\r\nTransfer-Encoding: chunked\r\n\r\n" % JSON.encode())
                connection.send(b"5\r\nfirst\r\n")
                assert self.go_on.wait(TIMEOUT)
                connection.send(b"4\r\nlast\r\n0\r\n\r\n")
            elif self.status.startswith(("204", "304")):
                connection.send("\r\n".join([f"HTTP/1.1 {self.status}", *self.lines, "", ""]).encode())
            else:
                connection.answer(self.body, self.status, *self.lines)


@pytest.fixture(scope="module")
def service() -> Service:
    return Service()


@pytest.fixture(scope="module")
def gateway(service: Service) -> Iterator[Gateway]:
    with Backend(service) as backend:
        config = example("compression.md", "{compress: true}", backend.url).config
        stripping = example("compression.md", "remove: [Accept-Encoding]", backend.url).config
        config["services"]["stripped"] = stripping["services"]["shop"]
        config["policies"] = {"compress": True}
        config["routes"] = [
            {"path": "/page", "service": "shop", "rewrite": "keep"},
            {"path": "/decompressed", "service": "shop", "policies": {"decompress": True, "compress": False}},
            {"path": "/cached", "service": "shop", "policies": {"cache": {"ttl": 60}}},
            {"path": "= /robots.txt", "respond": {"body": "x" * 2000}, "policies": {"compress": True}},
        ]
        with Gateway(config) as own:
            yield own


RESPONSES, _, REQUESTS = PAGE.partition("## Requests")


def rows(part: str) -> Iterator[list[str]]:
    """The cells of every row of the tables in a part of the page."""
    for line in part.splitlines():
        if re.match(r"\| (?:`|nothing)", line):
            yield [cell.strip() for cell in line[1:-1].split(" | ")]


def responses() -> Iterator[Any]:
    """What the client sends, what the service is sent and says, what the client gets."""
    for sent, *seen, said, got in rows(RESPONSES):
        yield pytest.param(sent, "".join(seen), said, got, id=f"{sent}: {said}")


def fields(cell: str) -> list[str]:
    return [text for text in re.findall(r"`([^`]*)`", cell) if ": " in text]


@pytest.mark.parametrize(("sent", "seen", "said", "got"), [*responses()])
def test_a_row_of_the_page(gateway: Gateway, service: Service, sent: str, seen: str, said: str, got: str) -> None:
    status = re.match(r"(\d{3})", said)
    service.status = f"{status[1]} Fine" if status else "200 OK"
    service.body = next((body for name, body in BODIES.items() if name in said), b"")
    service.lines = fields(said)
    method = "PUT" if "If-Match" in sent else "GET"
    answer = gateway.ask(method, "/api/shop/x", *fields(sent))
    wanted = re.match(r"(\d{3})", got)
    assert answer.status == int(wanted[1] if wanted else 200)
    for line in fields(seen):
        name, _, text = line.partition(": ")
        assert service.seen[-1].get(name) == text
    for name, _, text in (line.partition(": ") for line in fields(got)):
        assert answer.get(name) == text
    for name in re.findall(r"no `([\w-]+)`", got):
        assert answer.all(name) == []
    if answer.get("content-encoding") != "br" or "Content-Encoding" not in said:
        assert plain(answer) == service.body


def plain(answer: Message) -> bytes:
    return decode(answer.body, codings_of([each.encode() for each in answer.all("content-encoding")]), 1 << 26)


def test_every_row_is_found() -> None:
    assert (len([*responses()]), len([*rows(REQUESTS)])) == (22, 8)


@pytest.mark.parametrize(("sent", "got"), [*rows(REQUESTS)])
def test_a_row_about_requests(gateway: Gateway, service: Service, sent: str, got: str) -> None:
    service.status, service.lines, service.body = "200 OK", [], b""
    body = bytes(1 << 22) if "bomb" in sent else BODIES["BODY"]
    _, _, codings = sent.partition(" in ")
    for coding in codings.split(" and ") if codings else []:
        body = zlib.compress(body) if coding == "deflate" else encode(body, coding.encode(), 3)
    before = len(service.seen)
    answer = gateway.ask("POST", "/decompressed/x", *fields(sent)[:1], body=body)
    refused = re.match(r"nothing: (\d{3}) `(\w+)`", got)
    if refused:
        assert (answer.status, answer.json()["reason"]) == (int(refused[1]), refused[2])
        for name, _, text in (line.partition(": ") for line in fields(got)):
            assert answer.get(name) == text
        assert len(service.seen) == before
    else:
        assert answer.status == 200
        assert service.seen[-1].body == BODIES["BODY"]
        assert service.seen[-1].all("content-encoding") == []


@pytest.mark.parametrize("coding", ["zstd", "br", "gzip"])
@pytest.mark.parametrize("target", ["/large", "/chunked"])
def test_a_large_body_arrives_whole(gateway: Gateway, target: str, coding: str) -> None:
    answer = gateway.get(f"/api/shop{target}", f"Accept-Encoding: {coding}")
    assert (answer.get("content-encoding"), answer.get("transfer-encoding")) == (coding, "chunked")
    assert plain(answer) == LARGE
    assert len(answer.body) < len(LARGE) / 3


def test_a_client_that_reads_slowly_gets_it_all(gateway: Gateway) -> None:
    with gateway.wire() as wire:
        wire.send(request("GET", "/api/shop/large", "Accept-Encoding: gzip") * 4)
        for _ in range(4):
            assert plain(wire.receive()) == LARGE


def test_a_client_that_leaves_costs_no_others(gateway: Gateway) -> None:
    for _ in range(3):
        wire = gateway.wire()
        wire.send(request("GET", "/api/shop/large", "Accept-Encoding: br"))
        wire.file.read(1000)
        wire.reset()
    assert plain(gateway.get("/api/shop/large", "Accept-Encoding: zstd")) == LARGE


def test_what_has_come_is_sent_before_the_rest_is_there(gateway: Gateway, service: Service) -> None:
    service.go_on.clear()
    with gateway.wire() as wire:
        wire.send(request("GET", "/api/shop/trickle", "Accept-Encoding: br"))
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += wire.file.readline()
        undone = decoder(b"br", 100)
        text = b""
        while text != b"first":
            size = int(wire.file.readline(), 16)
            text += undone.feed(wire.file.read(size + 2)[:-2])
        service.go_on.set()
        while size := int(wire.file.readline(), 16):
            text += undone.feed(wire.file.read(size + 2)[:-2])
    assert text == b"firstlast"


def test_what_the_gateway_answers_itself_is_compressed(gateway: Gateway) -> None:
    robots = gateway.get("/robots.txt", "Accept-Encoding: gzip")
    assert (robots.get("content-encoding"), plain(robots)) == ("gzip", b"x" * 2000)


def test_what_the_cache_has_is_compressed_and_validated(gateway: Gateway, service: Service) -> None:
    service.status, service.body = "200 OK", BODIES["BODY"]
    service.lines = [JSON, 'ETag: "v"']
    before = len(service.seen)
    answers = [gateway.get("/cached/a", f"Accept-Encoding: {coding}") for coding in ("gzip", "zstd", "gzip", "")]
    assert [plain(answer) for answer in answers] == [service.body] * 4
    assert [answer.get("etag") for answer in answers] == ['W/"v-gzip"', 'W/"v-zstd"', 'W/"v-gzip"', '"v"']
    again = gateway.get("/cached/a", "Accept-Encoding: gzip", 'If-None-Match: W/"v-gzip"')
    assert (again.status, again.get("etag")) == (304, 'W/"v-gzip"')
    assert len(service.seen) == before + 1


def test_a_large_page_of_the_cache_is_compressed_once(gateway: Gateway, service: Service) -> None:
    service.status, service.body, service.lines = "200 OK", LARGE[:300_000], [JSON]
    before = len(service.seen)
    answers = [gateway.get("/cached/book", "Accept-Encoding: br") for _ in range(4)]
    assert [plain(answer) for answer in answers] == [service.body] * 4
    assert len(service.seen) == before + 1
    last = answers[-1]
    assert (last.get("content-length"), last.get("transfer-encoding")) == (str(len(last.body)), None)
    assert plain(gateway.get("/cached/book")) == service.body


def test_clients_that_wait_for_one_response_each_get_it_as_they_like(gateway: Gateway) -> None:
    codings = ["gzip", "br", "zstd", "", "gzip", "br"]
    with ExitStack() as stack:
        wires = [stack.enter_context(gateway.wire()) for _ in codings]
        for wire, coding in zip(wires, codings, strict=True):
            wire.send(request("GET", "/cached/chunked", f"Accept-Encoding: {coding}"))
        assert [plain(wire.receive()) == LARGE for wire in wires] == [True] * len(codings)


def test_a_service_need_not_know_what_clients_accept(gateway: Gateway, service: Service) -> None:
    page = gateway.get("/api/stripped/page", "Accept-Encoding: gzip")
    assert page.get("content-encoding") == "gzip"
    assert service.seen[-1].all("accept-encoding") == []


def test_the_gateways_own_pages_are_compressed_where_all_are(gateway: Gateway) -> None:
    metrics = gateway.get("/metrics", "Accept-Encoding: gzip")
    assert metrics.get("content-encoding") == "gzip"
    assert b"gateway_requests_total" in plain(metrics)


def test_it_is_counted(gateway: Gateway) -> None:
    labels = {"service": "shop", "coding": "gzip"}

    def counted() -> float:
        return metric(gateway, "gateway_compressed_responses_total", **labels) or 0.0

    before = counted()
    gateway.get("/page", "Accept-Encoding: gzip")
    assert counted() == before + 1


def test_curl_undoes_all_of_them(gateway: Gateway) -> None:
    done = subprocess.run(
        ["curl", "-sS", "--compressed", f"{gateway.url}/api/shop/chunked"], capture_output=True, check=True, timeout=60
    )
    assert done.stdout == LARGE


@needs_chromium
def test_a_browser_shows_a_compressed_page_and_validates_it(gateway: Gateway, service: Service) -> None:
    with browser_page() as page:
        first = page.goto(f"{gateway.url}/page")
        assert first.header_value("content-encoding") in ("zstd", "br", "gzip")
        assert page.title() == "a page"
        assert "All work and no play" in page.inner_text("p")
        text = page.evaluate("url => fetch(url).then(found => found.text())", f"{gateway.url}/api/shop/large")
        assert text.encode() == LARGE
        page.reload()
        assert page.title() == "a page"
    tags = [asked.get("if-none-match") for asked in service.seen if asked.target == "/page"]
    assert '"1"' in tags, tags
