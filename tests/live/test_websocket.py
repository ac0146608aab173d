"""WebSockets through the gateway are what they are without it: a conformance suite's cases, and handshakes."""

from __future__ import annotations

import asyncio

import pytest

from support.client import Wire
from support.frames import KEY
from support.websocket import OFFER, UPGRADE, EchoServers, Listener
from support.world import Gateway

from .websocket_cases import CASES, Case


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_conformance_case_is_as_without_the_gateway(servers: EchoServers, echoing: Gateway, case: Case) -> None:
    async def compare(name: str, port: int) -> None:
        direct = await Listener.talk(port, "/", case.script, case.offers)
        assert direct
        assert await Listener.talk(echoing.port, f"/api/{name}/", case.script, case.offers) == direct

    async def compare_all() -> None:
        await asyncio.gather(*(compare(*server) for server in servers.ports.items()))

    servers.run(compare_all())


ANSWERED = ("upgrade", "connection", "sec-websocket-accept", "sec-websocket-protocol", "sec-websocket-extensions",
            "sec-websocket-version")  # fmt: skip
VERSION = "Sec-WebSocket-Version: 13"
KEY_LINE = f"Sec-WebSocket-Key: {KEY}"

HANDSHAKES = {
    "usual": OFFER,
    "small letters": ("connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13", KEY_LINE),
    "large letters": ("CONNECTION: UPGRADE", "UPGRADE: WEBSOCKET", VERSION, KEY_LINE),
    "as firefox": ("Connection: keep-alive, Upgrade", "Upgrade: websocket", VERSION, KEY_LINE),
    "two connection fields": ("Connection: keep-alive", *OFFER),
    "no key": (*UPGRADE, VERSION),
    "empty key": (*UPGRADE, VERSION, "Sec-WebSocket-Key:"),
    "short key": (*UPGRADE, VERSION, "Sec-WebSocket-Key: c2hvcnQ="),
    "no base64": (*UPGRADE, VERSION, "Sec-WebSocket-Key: ????????????????????????"),
    "two keys": (*OFFER, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="),
    "no version": (*UPGRADE, KEY_LINE),
    "version 8": (*UPGRADE, "Sec-WebSocket-Version: 8", KEY_LINE),
    "two versions": (*OFFER, "Sec-WebSocket-Version: 8"),
    "subprotocol": (*OFFER, "Sec-WebSocket-Protocol: spoken"),
    "subprotocols": (*OFFER, "Sec-WebSocket-Protocol: unknown, spoken.v2, spoken"),
    "subprotocols on two lines": (*OFFER, "Sec-WebSocket-Protocol: unknown", "Sec-WebSocket-Protocol: spoken"),
    "subprotocol nobody speaks": (*OFFER, "Sec-WebSocket-Protocol: unknown"),
    "extension": (*OFFER, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"),
    "unknown extension": (*OFFER, "Sec-WebSocket-Extensions: x-unknown; a=1"),
}


@pytest.mark.parametrize("name", HANDSHAKES)
def test_a_handshake_is_answered_as_without_the_gateway(servers: EchoServers, echoing: Gateway, name: str) -> None:
    def answered(port: int, target: str) -> tuple[int, dict[str, list[str]]]:
        with Wire(port) as wire:
            answer = wire.ask("GET", target, *HANDSHAKES[name])
            return answer.status, {each: [v.lower() for v in answer.all(each)] for each in ANSWERED}

    for server, port in servers.ports.items():
        status, direct = answered(port, "/")
        own, through = answered(echoing.port, f"/api/{server}/")
        if status not in (101, 426):  # the connection may go on
            del direct["connection"], through["connection"]
        assert (own, through) == (status, direct)
