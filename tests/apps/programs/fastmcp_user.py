"""FastMCP's own client, in the protocol of today and in that with sessions."""

import asyncio
import sys

from fastmcp import Client

SESSIONS = 4


async def use(url, mode):
    seen = []

    async def progress(number, total, message):
        seen.append(number)

    async with Client(url, mode=mode, progress_handler=progress) as client:
        assert {tool.name for tool in await client.list_tools()} == {"add", "slow"}
        for number in range(5):
            assert (await client.call_tool("add", {"a": number, "b": 1})).data == number + 1
        assert (await client.call_tool("slow")).data == "done"
        assert len(seen) == 3, seen
        print(mode, client.protocol_version)


async def main():
    for mode in ("auto", "legacy"):
        await asyncio.gather(*(use(f"{sys.argv[1]}/mcp", mode) for _ in range(SESSIONS)))
        await use(f"{sys.argv[1]}/mcp/", mode)


asyncio.run(asyncio.wait_for(main(), 50))
