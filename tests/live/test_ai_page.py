"""docs/ai.md with the official clients: `openai` before fakes of its API, `mcp` before a server of its own SDK."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from typing import Any

import openai
import pytest
from mcp.client.client import Client
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import MCPError
from starlette.applications import Starlette

from support.apps import serving
from support.client import ask
from support.documented import example
from support.models import USAGE, WORDS, Model
from support.world import Gateway, until

MESSAGES: list[Any] = [{"role": "user", "content": "Tell me a story"}]
TOOLS: list[Any] = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
KEY = "a key of alice's"


class Scene:
    """The page's configurations, each with its routes below a prefix of its own."""

    def __init__(self, gateway: Gateway, first: Model, second: Model) -> None:
        self.gateway, self.first, self.second = gateway, first, second

    def client(self, path: str, **more: Any) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.gateway.url}{path}", api_key=KEY, max_retries=0, **more)


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with ExitStack() as stack:
        first, second = Model("first"), Model("second")
        urls = [stack.enter_context(serving(model.app)) for model in (first, second)]
        config: dict[str, Any] = {"services": {}, "routes": []}
        for prefix, part in (("/budget", "name: tokens\n"), ("/keys", "OpenAI-Organization"), ("/failover", "529]")):
            written = example("ai.md", part, urls[0]).config
            for route in written["routes"]:
                names = {name: f"{prefix[1:]}-{name}" for name in written["services"]}
                policies = {**written.get("policies", {}), **route.get("policies", {})}
                for other in route.get("failover", ()):
                    other["on"] = other.pop(True)  # what YAML 1.1 makes of the word, and the gateway does not
                    other |= {"service": names[other["service"]], "rewrite": "/v1/{path}"}
                service, path = names[route["service"]], prefix + route["path"]
                more = {"service": service, "path": path, "rewrite": "/v1/{path}", "policies": policies}
                config["routes"].append({**route, **more})
            for name, service in written["services"].items():
                config["services"][f"{prefix[1:]}-{name}"] = service
        config["services"]["failover-azure"]["url"] = urls[1]
        config["services"]["failover-openai"]["max_requests"] = 2
        config["consumers"] = [{"name": "alice", "keys": [f"sha256:{hashlib.sha256(KEY.encode()).hexdigest()}"]}]
        with Gateway(
            config, env={"OPENAI_KEY": "sk-openai", "ANTHROPIC_KEY": "sk-ant", "AZURE_KEY": "azure-key"}
        ) as gateway:
            yield Scene(gateway, first, second)


def story(stream: Any) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


def test_a_budget_is_spent_by_streams_and_by_whole_answers(scene: Scene) -> None:
    client = scene.client("/budget/v1", default_headers={"X-Team": "red"})
    asked: Any = {"model": "m", "messages": MESSAGES}
    whole = client.chat.completions.create(**asked)
    assert (whole.choices[0].message.content, whole.usage.total_tokens if whole.usage else 0) == ("".join(WORDS), 21)
    raw = client.chat.completions.with_raw_response.create(**asked, stream=True, stream_options={"include_usage": True})
    assert story(raw.parse()) == "".join(WORDS)
    logged = scene.gateway.logged(raw.headers["x-request-id"])
    assert logged["cost"] == {"tokens": USAGE["total_tokens"]}
    left = client.chat.completions.with_raw_response.create(**asked).headers["ratelimit"]
    assert f'"tokens-day";r={100_000 - 2 * 21};' in left


def test_tool_calls(scene: Scene) -> None:
    client = scene.client("/budget/v1")
    asked: Any = {"model": "m", "messages": MESSAGES, "tools": TOOLS}
    (call,) = list(client.chat.completions.create(**asked).choices[0].message.tool_calls or ())
    assert (call.type, getattr(call, "function").name) == ("function", "weather")  # noqa: B009
    (chunk,) = [each for each in client.chat.completions.create(**asked, stream=True) if each.choices]
    (part,) = list(chunk.choices[0].delta.tool_calls or ())
    assert json.loads((part.function.arguments if part.function else None) or "") == {"city": "Paris"}


def test_a_client_gets_the_providers_key_and_never_sees_it(scene: Scene) -> None:
    before = len(scene.first.keys)
    client = scene.client("/keys/openai", organization="own")
    assert client.chat.completions.create(model="m", messages=MESSAGES).choices
    assert scene.first.keys[before:] == ["Bearer sk-openai"]
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{scene.gateway.url}/keys/openai", api_key="other", max_retries=0).models.list()
    everything = scene.gateway.out() + scene.gateway.err()
    assert not [secret for secret in ("sk-openai", "sk-ant", "azure-key", KEY) if secret in everything]


@pytest.mark.parametrize("status", [429, 500, 503, 529])
@pytest.mark.parametrize("stream", [False, True])
def test_another_provider_in_place_of_one_that_fails(scene: Scene, status: int, stream: bool) -> None:
    scene.first.failing = [status]
    before = len(scene.second.keys)
    client = scene.client("/failover/v1")
    asked: Any = {"model": "m", "messages": MESSAGES}
    if stream:
        assert story(client.chat.completions.create(**asked, stream=True)) == "".join(WORDS)
    else:
        assert client.chat.completions.create(**asked).system_fingerprint == "second"
    assert scene.second.keys[before:] == ["azure-key"]
    assert scene.second.bodies[-1] == scene.first.bodies[-1]


def test_a_refusal_that_is_no_failure_stays(scene: Scene) -> None:
    scene.first.failing = [400]
    with pytest.raises(openai.BadRequestError):
        scene.client("/failover/v1").chat.completions.create(model="m", messages=MESSAGES)


def test_a_client_that_leaves_is_gone_for_the_provider(scene: Scene) -> None:
    """It frees its permit at once: two are all there are, and ten clients come and leave."""
    before = scene.first.left
    for number in range(10):
        client = scene.client("/failover/v1")
        stream = client.chat.completions.create(model="endless", messages=MESSAGES, stream=True)
        assert next(iter(stream)).system_fingerprint == "first"
        stream.close()
        client.close()
        until(lambda number=number: scene.first.left == before + number + 1, "the provider knows it")  # type: ignore[misc]


# ---- MCP


def tools(name: str) -> MCPServer:
    server = MCPServer(name)

    @server.tool()
    def where() -> str:
        return name

    @server.tool()
    def größe(text: str) -> int:
        return len(text)

    @server.tool()
    async def slow(context: Context) -> str:
        for number in range(1, 4):
            await context.report_progress(number, 3)
        return "done"

    @server.tool()
    def delete_all() -> str:
        raise AssertionError("a rule refuses it")

    return server


def served(server: MCPServer) -> Starlette:
    security = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    return server.streamable_http_app(transport_security=security)


@pytest.fixture(scope="module")
def mcp_gateway() -> Iterator[Gateway]:
    with ExitStack() as stack:
        one, two, heavy = (
            stack.enter_context(serving(served(tools(name)), lifespan="on")) for name in ("one", "two", "heavy")
        )
        config = example("ai.md", "name: report", one).config
        config["services"]["heavy"]["url"] = heavy
        config["routes"][0]["headers"]["Mcp-Name"] = "slow"
        config["policies"]["rate_limit"][0]["burst"] = 1000  # all clients here have one address
        pair = {"instances": [{"url": one}, {"url": two}], "sticky": {"issued": "Mcp-Session-Id"}}
        config["services"]["pair"] = {**pair, "default_routes": False}
        tight = {"rate_limit": {"burst": 1, "requests_per_minute": 0.001}}
        config["routes"] += [
            {"service": "pair", "path": "/pair", "rewrite": "/mcp"},
            {"service": "tools", "path": "/tight", "rewrite": "/mcp", "policies": tight},
        ]
        with Gateway(config) as gateway:
            yield gateway


@contextlib.asynccontextmanager
async def connected(gateway: Gateway, path: str, mode: Any) -> AsyncIterator[Client]:
    async with Client(f"{gateway.url}{path}", mode=mode, read_timeout_seconds=20) as client:
        yield client


async def text_of(client: Client, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    assert not getattr(result, "is_error", False), result
    return str(result.content[0].text)  # type: ignore[union-attr]


@pytest.mark.parametrize(("mode", "version"), [("auto", "2026-07-28"), ("legacy", "2025-11-25")])
def test_both_forms_of_the_protocol(mcp_gateway: Gateway, mode: str, version: str) -> None:
    async def use() -> None:
        async with connected(mcp_gateway, "/mcp", mode) as client:
            assert client.protocol_version == version
            assert {tool.name for tool in (await client.list_tools()).tools} == {"where", "größe", "slow", "delete_all"}
            assert await text_of(client, "where") == "one"
            assert await text_of(client, "größe", text="four") == "4"
            seen: list[float] = []

            async def progress(progress: float, total: float | None, message: str | None) -> None:
                seen.append(progress)

            result = await client.call_tool("slow", {}, progress_callback=progress)
            assert (result.content[0].text, seen) == ("done", [1, 2, 3])  # type: ignore[union-attr]

    asyncio.run(asyncio.wait_for(use(), 60))
    service = "heavy" if mode == "auto" else "tools"
    until(lambda: service in {each["service"] for each in mcp_gateway.log() if each["path"] == "/mcp"}, "it is logged")


def test_a_rule_for_a_tool(mcp_gateway: Gateway) -> None:
    async def use() -> None:
        async with connected(mcp_gateway, "/mcp", "auto") as client:
            with pytest.raises(MCPError):
                await client.call_tool("delete_all", {})
            assert await text_of(client, "where") == "one"

    asyncio.run(asyncio.wait_for(use(), 60))
    until(lambda: "request_denied" in {each["reason"] for each in mcp_gateway.log()}, "it is logged")


def test_sessions_stay_with_their_instance(mcp_gateway: Gateway) -> None:
    async def use() -> set[str]:
        async with connected(mcp_gateway, "/pair", "legacy") as client:
            found = {await text_of(client, "where") for _ in range(6)}
            assert len(found) == 1
            return found

    async def several() -> set[str]:
        return set().union(*[await use() for _ in range(4)])

    assert asyncio.run(asyncio.wait_for(several(), 60)) == {"one", "two"}


def test_a_client_whose_limit_is_used_up_still_speaks_todays_protocol(mcp_gateway: Gateway) -> None:
    async def use() -> str:
        async with connected(mcp_gateway, "/tight", "auto") as client:
            return client.protocol_version

    assert ask(mcp_gateway.port, "POST", "/tight", body=b"{}").status != 429
    assert ask(mcp_gateway.port, "POST", "/tight", body=b"{}").status == 429
    assert asyncio.run(asyncio.wait_for(use(), 60)) == "2026-07-28"


def test_what_is_no_first_request_is_none(mcp_gateway: Gateway) -> None:
    call = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "where"}}).encode()
    forged = ask(mcp_gateway.port, "POST", "/tight", "Mcp-Method: server/discover", body=call)
    assert (forged.status, forged.json()["reason"]) == (400, "malformed_request")
