"""gql: a query by HTTP, and a subscription by a WebSocket."""

import asyncio
import ssl
import sys

from gql import Client, gql
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.websockets import WebsocketsTransport

URL = f"{sys.argv[1]}/graphql"
CONTEXT = ssl.create_default_context() if URL.startswith("https") else None


async def main():
    transport = AIOHTTPTransport(URL, ssl=CONTEXT or True)
    async with Client(transport=transport, execute_timeout=30) as session:
        for length in (5, 9_000_000):
            query = gql("query ($text: String!) { length(text: $text) }")
            query.variable_values = {"text": "x" * length}
            assert (await session.execute(query))["length"] == length
    transport = WebsocketsTransport(URL.replace("http", "ws", 1), ssl=CONTEXT)
    async with Client(transport=transport) as session:
        found = [each["count"] async for each in session.subscribe(gql("subscription { count(upto: 20) }"))]
        assert found == list(range(20)), found


asyncio.run(asyncio.wait_for(main(), 50))
