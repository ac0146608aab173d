"""Messages that come in one piece, small and large: passed on as they are, whatever their framing."""

from __future__ import annotations

import time

import pytest

from support.backend import Backend, Connection, content
from support.client import request
from support.messages import read_response
from support.redis_process import RedisProcess
from support.world import Gateway, until

SIZES = (1, 100, 10_000, (16 << 10) - 1, 16 << 10, 60_000, (64 << 10) + 1, 200_000)
"""About where a piece is large, and where content is too large to be sent again."""
POOL = [content(size) for size in SIZES]


def test_a_body_that_comes_with_its_head_comes_back(backend: Backend) -> None:
    with Gateway({"services": {"s": backend}}) as gateway, gateway.wire() as wire:
        for number, sent in enumerate(POOL * 2):
            answer = wire.ask("POST", f"/api/s/echo?{number}", body=sent)
            assert answer.body == sent
            logged = gateway.logged(answer.get("x-request-id"))
            assert (logged["bytes_in"], logged["bytes_out"]) == (len(sent), len(sent))
        assert len(backend.connections) == 1


def test_a_body_that_comes_after_its_head_comes_back(backend: Backend) -> None:
    with Gateway({"services": {"s": backend}}) as gateway, gateway.wire() as wire:
        for number, sent in enumerate(POOL):
            whole = request("POST", f"/api/s/echo?{number}", body=sent)
            head = whole[: -len(sent)]
            for cut in (len(head), len(head) + len(sent) // 2):
                before = len(backend.connections[0].received) if backend.connections else 0
                wire.send(whole[:cut])
                until(lambda before=before: _has_more(backend, before), "the head has passed")  # type: ignore[misc]
                wire.send(whole[cut:])
                assert wire.receive("POST").body == sent


def _has_more(backend: Backend, before: int) -> bool:
    return bool(backend.connections) and len(backend.connections[0].received) > before


def test_requests_with_bodies_that_wait_in_a_row(backend: Backend) -> None:
    with Gateway({"services": {"s": backend}}) as gateway, gateway.wire() as wire:
        wire.send(b"".join(request("POST", "/api/s/echo", body=sent) for sent in POOL[:6]))
        for sent in POOL[:6]:
            assert wire.receive("POST").body == sent


@pytest.mark.parametrize("status", ["200 OK", "404 Not Found"])
def test_chunked_responses_stay_chunked_however_they_come(backend: Backend, status: str) -> None:
    """One that comes at once cannot be distinguished from one that comes bit by bit."""
    pauses = [0.0, 0.02]

    def answer(connection: Connection) -> None:
        while (asked := connection.next_request()) is not None:
            size, pause = (float(part) for part in asked.target.rpartition("/")[2].split("-"))
            body = content(int(size))
            framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
            head = b'HTTP/1.1 %b\r\nTransfer-Encoding: chunked\r\nETag: "%d"\r\n\r\n' % (status.encode(), size)
            if pause:
                connection.send(head)
                time.sleep(pause)
                connection.send(framed)
            else:
                connection.send(head + framed)

    backend.script = answer
    with Gateway({"services": {"s": backend}}) as gateway, gateway.wire() as wire:
        for size in (0, *SIZES):
            for pause in pauses * 2:
                got = wire.ask("GET", f"/api/s/{size}-{pause}")
                assert (got.body, got.all("transfer-encoding"), got.get("content-length")) == (
                    content(size),
                    ["chunked"],
                    None,
                )
                assert gateway.logged(got.get("x-request-id"))["bytes_out"] == size
        with gateway.wire() as old:
            old.send(b"GET /api/s/60000-0.0 HTTP/1.0\r\nHost: gateway.test\r\n\r\n")
            got = read_response(old.file)
            assert (got.body, got.all("transfer-encoding")) == (content(60_000), [])
        assert gateway.get("/api/s/5-0.0").body == content(5)


def test_a_last_chunk_that_is_none_is_not_taken_for_one(backend: Backend) -> None:
    """What looks like the end stands in the middle of a chunk that is still to come."""

    def tease(connection: Connection) -> None:
        while connection.next_request():
            connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0\r\n\r\n")
            time.sleep(0.05)
            connection.send(b"ABCDE\r\n0\r\n\r\n")

    backend.script = tease
    with Gateway({"services": {"s": backend}}) as gateway, gateway.wire() as wire:
        for _ in range(3):
            assert wire.ask("GET", "/api/s/x").body == b"0\r\n\r\nABCDE"


def test_a_put_is_retried_after_a_failure_and_a_post_is_not(backend: Backend) -> None:
    """Content that came with its head is at hand for another try."""

    def fail_first(connection: Connection) -> None:
        while (asked := connection.next_request()) is not None:
            if len(backend.requests) % 2:
                connection.reset()
                return
            connection.answer(asked.body)

    backend.script = fail_first
    with Gateway({"services": {"s": {"url": backend.url, "health_check": False}}}) as gateway:
        for sent in (b"again", content(64 << 10)):
            assert gateway.ask("PUT", "/api/s/x", body=sent).body == sent
        assert gateway.ask("POST", "/api/s/x", body=b"once").status == 502
        assert gateway.ask("PUT", "/api/s/x", body=b"answered").body == b"answered"
        assert gateway.ask("PUT", "/api/s/x", body=content((64 << 10) + 1)).status == 502, "too much to be kept"
        sizes = [len(asked.body) for asked in backend.requests]
        assert sizes == [5, 5, 65536, 65536, 4, 8, 65537]


def test_the_body_is_still_there_when_a_limit_in_redis_has_answered(backend: Backend) -> None:
    limit = {"requests_per_minute": 6000, "burst": 100}
    with RedisProcess() as store:
        settings = {"redis_url": store.url}
        config = {"gateway": settings, "services": {"s": backend}, "policies": {"rate_limit": limit}}
        with Gateway(config) as gateway, gateway.wire() as wire:
            for sent in POOL:
                assert wire.ask("POST", "/api/s/echo", body=sent).body == sent
            assert store.limit_keys(), "it was Redis that was asked"
            store.kill()
            for sent in POOL:
                assert wire.ask("POST", "/api/s/echo", body=sent).body == sent
