"""Tools of MCP: one that answers, one that reports its progress; and a count that a session keeps."""

import asyncio
import os

from fastmcp import Context, FastMCP

mcp = FastMCP("shop")


@mcp.tool
def add(a: int, b: int) -> int:
    return a + b


@mcp.tool
async def slow(context: Context) -> str:
    for number in range(1, 4):
        await context.report_progress(number, 3)
        await asyncio.sleep(0.2)
    return "done"


mcp.run(transport="http", port=int(os.environ["PORT"]), show_banner=False)
