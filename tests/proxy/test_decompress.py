"""Requests whose bodies are decompressed on their way, byte by byte."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from dataclasses import replace
from typing import Any
from unittest import mock

import brotli
import pytest

from portico import policies as policies_module
from portico.core.codings import encode
from portico.plugin import Exchange, Policy
from portico.policies import Hooks, Step
from portico.policies.plugins.hooks import PluginHooks
from proxy.cache import scene as cached
from proxy.hooks.scene import Scene, chunked, get, reply, scene
from proxy.hooks.test_response_bodies import Changing


def zipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


TEXT = b'{"word": "%s"}' % (b"again and " * 200)
CODED = {
    "gzip": zipped(TEXT),
    "x-gzip": zipped(TEXT[:50]) + zipped(TEXT[50:]),
    "deflate": zlib.compress(TEXT),
    "br": brotli.compress(TEXT),
    "zstd": encode(TEXT, b"zstd", 3),
    "gzip, br": brotli.compress(zipped(TEXT)),
}
BOMB = zipped(bytes(1 << 22))


def config(**settings: Any) -> dict[str, Any]:
    own = {"decompress": settings or True, "cors": {}}
    retries = {"attempts": 2, "on": ["connect", "reset", 503], "methods": ["POST"], "budget": 1.0}
    service = {"url": "http://open.test", "health_check": False, "policies": own, "retries": retries}
    return {"services": {"open": service}}


def posted(coding: str, body: bytes, *lines: str, in_chunks: bool = False) -> str:
    text = body.decode("latin-1")
    head = [f"Content-Encoding: {coding}", *lines]
    if in_chunks:
        half = len(text) // 2
        pieces = chunked(text[:half], text[half:])
        return get("/api/open/x", "Transfer-Encoding: chunked", *head, method="POST") + pieces
    return get("/api/open/x", f"Content-Length: {len(text)}", *head, method="POST") + text


def body_of(own: Scene, index: int = -1) -> bytes:
    return bytes(own.requests[index].body)


@pytest.mark.parametrize("in_chunks", [False, True])
@pytest.mark.parametrize("step", [1 << 20, 50, 1])
@pytest.mark.parametrize("coding", CODED)
def test_the_service_gets_the_body_as_it_was(coding: str, step: int, in_chunks: bool) -> None:
    asked = posted(coding, CODED[coding], "Digest: x", "Content-Type: application/json", in_chunks=in_chunks)
    with scene(config=config()) as own:
        own.ask(*(asked[at : at + step] for at in range(0, len(asked), step)))
        own.ask(posted("gzip", CODED["gzip"]))
        assert [answer.status for answer in own.responses()] == [200, 200]
        first, second = own.requests
        assert bytes(first.body) == bytes(second.body) == TEXT
        assert not first.all(b"content-encoding") + first.all(b"digest")
        assert first.all(b"content-type") == [b"application/json"]
        assert first.all(b"host") == [b"a.example"]


@pytest.mark.parametrize("coding", ["", "identity"])
def test_what_is_not_coded_passes_as_it_is(coding: str) -> None:
    with scene(config=config()) as own:
        own.ask(posted(coding, TEXT))
        assert body_of(own) == TEXT


def test_an_empty_body_stays_one() -> None:
    with scene(config=config()) as own:
        own.ask(posted("gzip", b"") + posted("gzip", zipped(b"")) + get("/api/open/x"))
        assert [answer.status for answer in own.responses()] == [200] * 3
        assert [bytes(request.body) for request in own.requests] == [b""] * 3


@pytest.mark.parametrize("in_chunks", [False, True])
@pytest.mark.parametrize(
    ("coding", "body", "status", "reason"),
    [
        ("compress", TEXT, 415, "coding_unsupported"),
        ("gzip, aes", CODED["gzip"], 415, "coding_unsupported"),
        (", ".join(["gzip"] * 5), CODED["gzip"], 415, "coding_unsupported"),
        ("gzip", TEXT, 400, "body_invalid"),
        ("gzip", CODED["gzip"][:-3], 400, "body_invalid"),
        ("gzip", CODED["gzip"] + b"more", 400, "body_invalid"),
        ("br", TEXT, 400, "body_invalid"),
        ("gzip", BOMB, 413, "body_too_large"),
        ("gzip, gzip", zipped(BOMB), 413, "body_too_large"),
    ],
)
def test_what_is_wrong_with_a_body_is_said(coding: str, body: bytes, status: int, reason: str, in_chunks: bool) -> None:
    with scene(config=config()) as own:
        own.ask(posted(coding, body, in_chunks=in_chunks))
        assert own.response().status == status
        assert own.exchange().reason == reason
        offered = [b"gzip, deflate, br, zstd"] if status == 415 else []
        assert own.response().all(b"accept-encoding") == offered


@pytest.mark.parametrize("step", [1 << 20, 500])
def test_no_more_is_made_of_a_body_than_is_allowed(step: int) -> None:
    asked = posted("gzip", CODED["gzip"])
    with scene(config=config(max_size=1000)) as own:
        own.ask(*(asked[at : at + step] for at in range(0, len(asked), step)))
        assert own.response().status == 413
    with scene(config=config(max_size=3000)) as own:
        own.ask(asked)
        assert own.response().status == 200


def test_a_bomb_may_be_allowed() -> None:
    with scene(config=config(max_ratio=2000, max_size="8MiB")) as own:
        own.ask(posted("gzip", BOMB))
        assert own.response().status == 200
        assert len(body_of(own)) == 1 << 22


def test_only_the_codings_that_are_named_are_undone() -> None:
    with scene(config=config(encodings=["gzip"])) as own:
        own.ask(posted("br", CODED["br"]) + posted("x-gzip", CODED["x-gzip"]))
        first, second = own.responses()
        assert (first.status, first.all(b"accept-encoding")) == (415, [b"gzip"])
        assert second.status == 200


def test_a_second_attempt_sends_the_same() -> None:
    answers = [reply("", status="503 Not Now"), reply("ok")]
    with scene(answers=answers, config=config()) as own:
        own.ask(posted("gzip", CODED["gzip"]))
        assert own.outcome() == (200, b"ok")
        assert [bytes(request.body) for request in own.requests] == [TEXT, TEXT]


def test_filters_of_policies_see_it_undone() -> None:
    upper = Hooks(body=lambda exchange, head: Changing(bytes.upper) if head.status is None else None)
    with scene(upper, config=config()) as own:
        own.ask(posted("gzip", CODED["gzip"]) + posted("gzip", CODED["gzip"], in_chunks=True))
        assert [bytes(request.body) for request in own.requests] == [TEXT.upper()] * 2


def test_a_response_may_come_before_the_body_is_there() -> None:
    asked = posted("gzip", CODED["gzip"])
    with scene(answers=[replace(reply("early"), early=True)], config=config()) as own:
        own.ask(asked[:-10])
        assert own.outcome() == (200, b"early")
        own.ask(asked[-10:] + posted("gzip", CODED["gzip"]))
        assert [answer.status for answer in own.responses()] == [200, 200]


class Waiting(Policy):
    """Takes a moment before it lets a request pass."""

    async def request(self, exchange: Exchange) -> None:
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("in_chunks", [False, True])
@pytest.mark.parametrize("place", ["before", "behind", "both"])
@pytest.mark.parametrize("step", [1 << 20, 40])
def test_a_body_that_comes_while_others_wait(place: str, in_chunks: bool, step: int) -> None:
    asked = posted("gzip", CODED["gzip"], in_chunks=in_chunks)
    steps = [asked[at : at + step] for at in range(0, len(asked), step)]
    own_config = config()
    policies = own_config["services"]["open"]["policies"]
    if place != "behind":
        policies["rate_limit"] = {"requests_per_minute": 600}
    if place != "before":
        policies["transform"] = {"request": [{"query": {"set": {"a": "b"}}}]}
    waits = mock.patch.object(policies_module, "STEPS", around(policies_module.STEPS, place))
    with waits, scene(config=own_config) as own:
        for piece in steps:
            own.say(piece)
        own.pass_time(0.3)
        own.pass_time(0.3)
        own.simulation.settle()
        assert own.outcome() == (200, b"ok")
        assert body_of(own) == TEXT


def around(steps: Any, place: str) -> Any:
    """The steps with one that waits before `decompress`, behind it, or both."""
    index = [step.key for step in steps].index("decompress")
    waiting = PluginHooks(Waiting(), "Waiting", 1.0, False, lambda *report: None).as_hooks()
    step = Step("decompress", None, lambda settings, context: waiting)
    first, last = [step] * (place != "behind"), [step] * (place != "before")
    return (*steps[:index], *first, steps[index], *last, *steps[index + 1 :])


def test_rules_for_json_see_it_undone() -> None:
    own_config = config()
    rule = {"json": {"remove": ["/word"]}}
    own_config["services"]["open"]["policies"]["transform"] = {"request": [rule]}
    for in_chunks in (False, True):
        with scene(config=own_config) as own:
            own.ask(posted("gzip", CODED["gzip"], "Content-Type: application/json", in_chunks=in_chunks))
            assert own.outcome() == (200, b"ok")
            assert body_of(own) == b"{}"


def test_a_client_that_leaves_is_let_go() -> None:
    with scene(config=config()) as own:
        own.say(posted("gzip", CODED["gzip"])[:-10])
        own.reset()
        assert own.exchange().reason == "client_closed"


def test_the_key_of_a_stored_query_has_the_body_as_it_was() -> None:
    with cached.scene(cached.reply("found"), policies={"decompress": True}) as own:
        plain = cached.get("/x", f"Content-Length: {len(TEXT)}", method="QUERY") + TEXT.decode()
        coded = CODED["gzip"].decode("latin-1")
        own.ask(cached.get("/x", f"Content-Length: {len(coded)}", "Content-Encoding: gzip", method="QUERY") + coded)
        own.ask(plain)
        assert len(own.requests) == 1


def test_both_directions_at_once() -> None:
    both = config()
    both["services"]["open"]["policies"]["compress"] = {"min_size": 10}
    answer = reply(TEXT.decode(), "Content-Type: application/json")
    for in_chunks in (False, True):
        with scene(answers=[answer], config=both) as own:
            own.ask(posted("gzip", CODED["gzip"], "Accept-Encoding: gzip", in_chunks=in_chunks))
            assert gzip.decompress(bytes(own.response().body)) == TEXT
            assert body_of(own) == TEXT
