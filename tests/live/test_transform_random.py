"""JSON at random through rules, coded and framed at random, several requests on one connection: none gets another's."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import brotli
import pytest
from backports import zstd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.json_text.test_properties import OBJECTS, TEXTS
from portico.core.json_text import JsonEdit, json_value
from support.backend import Backend, Connection
from support.client import request
from support.world import Gateway

CODERS: Mapping[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
    "gzip": (gzip.compress, gzip.decompress),
    "br": (brotli.compress, brotli.decompress),
    "zstd": (zstd.compress, zstd.decompress),
}
RULES: Sequence[Mapping[str, Any]] = [
    {"remove": ["/a", "/0/b"], "rename": {"/b": "/é/x", "/0/a": "1"}, "set": {"/2": "{client_ip}", "/é/-": [1, None]}},
    {"merge": {"a": {"b": None, "x": 1.5}}, "wrap": "data"},
]
EDITS = [
    JsonEdit(
        remove=rule.get("remove", []),
        rename=rule.get("rename"),
        set={"/2": b'"127.0.0.1"', "/é/-": b"[1,null]"} if "set" in rule else None,
        merge=json_value(rule["merge"]) if "merge" in rule else None,
        wrap=rule.get("wrap"),
    )
    for rule in RULES
]


@dataclass(frozen=True)
class Exchange:
    """A body, what is applied to it, and how it is sent: in chunks of that size, or with its length."""

    path: str
    text: bytes
    codings: tuple[str, ...]
    chunk: int
    is_answered_in_chunks: bool

    @property
    def sent(self) -> bytes:
        body = self.text
        for coding in self.codings:
            body = CODERS[coding][0](body)
        lines = ["Content-Type: application/json"]
        if self.codings:
            lines.append(f"Content-Encoding: {', '.join(self.codings)}")
        if self.is_answered_in_chunks:
            lines.append("X-Chunked: 1")
        if not self.chunk:
            return request("POST", self.path, *lines, body=body)
        pieces = [body[at : at + self.chunk] for at in range(0, len(body), self.chunk)]
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b""))
        return request("POST", self.path, *lines, "Transfer-Encoding: chunked") + chunks

    @property
    def expected(self) -> bytes:
        text = self.text
        for edit in EDITS:
            text = edit.apply(text)
        return text


EXCHANGES = st.builds(
    Exchange,
    st.sampled_from(["/request", "/response"]),
    st.one_of(TEXTS, OBJECTS),
    st.lists(st.sampled_from(sorted(CODERS)), max_size=2).map(tuple),
    st.sampled_from([0, 0, 1, 7, 1000]),
    st.booleans(),
)


def echo(connection: Connection) -> None:
    while (asked := connection.next_request()) is not None:
        lines = ["Content-Type: application/json"]
        if coding := asked.get("content-encoding"):
            lines.append(f"Content-Encoding: {coding}")
        connection.answer(asked.body, "200 OK", *lines, chunked=asked.get("x-chunked") is not None)
        if not asked.keeps_alive:
            return


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    rules = [{"json": rule} for rule in RULES]
    with Backend(echo) as backend:
        config = {
            "services": {"api": {"url": backend.url, "health_check": False, "default_routes": False}},
            "routes": [
                {"service": "api", "path": f"/{each}", "policies": {"transform": {each: rules}}}
                for each in ("request", "response")
            ],
        }
        with Gateway(config) as own:
            yield own


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(EXCHANGES, min_size=1, max_size=4), st.integers(1, 400))
def test_bodies_are_what_rules_make_of_them(gateway: Gateway, exchanges: Sequence[Exchange], piece: int) -> None:
    sent = b"".join(each.sent for each in exchanges)
    with gateway.wire() as wire:
        for at in range(0, len(sent), piece):
            wire.send(sent[at : at + piece])
        for each in exchanges:
            answer = wire.receive("POST")
            assert answer.status == 200, answer.body
            body = answer.body
            for coding in reversed(each.codings):
                body = CODERS[coding][1](body)
            assert body == each.expected
