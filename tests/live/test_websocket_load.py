"""Many WebSockets at once, and one of a real browser: what comes back is what was sent."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

from websockets.asyncio.client import connect

from support.backend import Backend
from support.browser import browser_page, needs_chromium, page_server
from support.websocket import EchoServers
from support.world import Gateway, until

CLIENTS = 100
TOTAL = 32 << 20
"""Bytes that all of them send together."""


def messages(seed: int) -> Iterator[bytes | str | list[bytes] | list[str]]:
    """Text, binary and fragmented messages (lists) of 0 bytes to 1 MiB, small ones more often."""
    chance = random.Random(seed)
    left = TOTAL // CLIENTS
    while left > 0:
        size = min(1 << chance.randrange(0, 21), left) - chance.randrange(2)
        left -= size + 1000
        data = chance.randbytes(size)
        kind = chance.randrange(4)
        if kind == 0:
            yield data
        elif kind == 1:
            yield data.hex()[:size]
        elif kind == 2:
            yield [data[at : at + size // 5 + 1] for at in range(0, size, size // 5 + 1)] or [b""]
        else:
            text = "żółw 🦜 " * (size // 16)
            yield [text[: size // 7], text[size // 7 :]]


async def converse(url: str, seed: int) -> int:
    """Send it all, pings in between, and compare what comes back; how many messages that were."""
    count = 0
    sent: asyncio.Queue[bytes | str | None] = asyncio.Queue(4)

    async with connect(url, max_size=None, ping_interval=None, compression=None if seed % 2 else "deflate") as ws:

        async def say() -> None:
            for message in messages(seed):
                whole: bytes | str
                if isinstance(message, list):
                    whole = b"".join(message) if isinstance(message[0], bytes) else "".join(message)
                else:
                    whole = message
                await sent.put(whole)
                await ws.send(message)
                if len(whole) % 3 == 0:
                    await ws.ping()
            await sent.put(None)

        saying = asyncio.create_task(say())
        while (expected := await sent.get()) is not None:
            assert await ws.recv() == expected
            count += 1
        await saying
        code = 4000 + seed % 1000
        await ws.close(code, "done")
        assert (ws.close_code, ws.close_reason) == (code, "done")
    return count


def test_a_hundred_at_once_receive_their_echoes(servers: EchoServers, echoing: Gateway) -> None:
    async def all_of_them() -> list[int]:
        names = list(servers.ports)
        urls = [f"ws://127.0.0.1:{echoing.port}/api/{names[n % len(names)]}/{n}" for n in range(CLIENTS)]
        return await asyncio.gather(*(converse(url, seed) for seed, url in enumerate(urls)))

    assert all(servers.run(all_of_them()))
    until(lambda: len(echoing.log()) == CLIENTS, "each has its line")
    assert {(line["status_code"], line["reason"]) for line in echoing.log()} == {(101, None)}
    assert echoing.memory() < 200 << 20


TALK = """
url => new Promise(done => {
    const socket = new WebSocket(url, ["spoken"]), received = [];
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
        socket.send("žluť 🦜");
        socket.send(new Uint8Array(70000).fill(7));
        socket.send("x".repeat(1000000));
    };
    socket.onmessage = message => {
        const data = message.data;
        received.push(typeof data === "string" ? data.slice(0, 10) : [...new Uint8Array(data).slice(0, 3)]);
        received.push(data.length ?? data.byteLength);
        if (received.length === 6) socket.close(4001, "enough");
    };
    socket.onclose = end => done({
        protocol: socket.protocol, extensions: socket.extensions,
        received, code: end.code, reason: end.reason, clean: end.wasClean,
    });
})
"""


@needs_chromium
def test_a_page_in_a_browser(servers: EchoServers) -> None:
    with Backend(page_server) as pages:
        services = {
            name: {**service, "policies": {"cors": {"allow_origins": [origin]}}}
            for (name, service), origin in zip(servers.services.items(), (pages.url, "https://else.test"), strict=True)
        }
        with Gateway({"services": services}) as gateway, browser_page() as page:
            page.goto(f"{pages.url}/")
            address = gateway.url.replace("http", "ws")
            found = page.evaluate(TALK, f"{address}/api/websockets/x")
            assert found["received"] == ["žluť 🦜", 7, [7, 7, 7], 70_000, "x" * 10, 1_000_000]
            assert (found["code"], found["reason"], found["clean"]) == (4001, "enough", True)
            assert found["protocol"] == "spoken"
            assert found["extensions"].startswith("permessage-deflate")
            refused = page.evaluate(TALK, f"{address}/api/uvicorn/x")
            assert (refused["received"], refused["code"], refused["clean"]) == ([], 1006, False)
