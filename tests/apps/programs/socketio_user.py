"""Socket.IO's own client: long polling, WebSockets, and the first that becomes the second."""

import asyncio
import sys
from urllib.parse import urlsplit

import aiohttp
import socketio

URL = urlsplit(sys.argv[1])


async def use(transports):
    async with aiohttp.ClientSession(trust_env=True, cookie_jar=aiohttp.CookieJar()) as session:
        client = socketio.AsyncClient(http_session=session)
        counted = asyncio.Queue()
        client.on("counted", counted.put)
        path = f"{URL.path}/socket.io".strip("/")
        await client.connect(f"{URL.scheme}://{URL.netloc}", transports=transports, socketio_path=path)
        for number in range(1, 6):
            assert await client.call("count", "event", timeout=10) == f"event {number}"
            assert await asyncio.wait_for(counted.get(), 10) == number
        assert client.transport() == (transports or ["websocket"])[-1], client.transport()
        await client.disconnect()


async def main():
    for transports in (["polling"], ["websocket"], None):
        await asyncio.gather(*(use(transports) for _ in range(4)))


asyncio.run(asyncio.wait_for(main(), 50))
