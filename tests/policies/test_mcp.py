"""MCP: fields that say something else than the body, and clients' first requests."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest

from portico.core.conditions import field_condition_of, meets
from portico.core.errors import Answer
from portico.core.exchange import Exchange
from portico.core.mcp import decoded
from portico.policies import build_chain
from portico.policies.mcp import McpSettings
from portico.policies.policy import State
from portico.policies.rate_limit import RateLimit

from .exchanges import exchange


def coded(text: str) -> str:
    return f"=?base64?{b64encode(text.encode()).decode()}?="


def asked(method: str, body: Any, *more: str, **given: Any) -> Exchange:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    made = exchange(f"Mcp-Method: {method}", *more, method="POST", **given)
    assert made.request is not None
    made.content, made.request.framing = content, len(content)
    return made


def call(name: str = "add", method: str = "tools/call") -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"name": name, "arguments": {"Name": 1, "name": 2}}}


def verdict(made: Exchange, state: State | None = None, limit: int = 10**9, **written: Any) -> Any:
    settings: Any = {"mcp": (McpSettings(**written), "x"), "rate_limit": (RateLimit(burst=limit), "x")}
    for policy in build_chain(settings, state or State(), {}).requests:
        answer = policy(made)
        if answer is not None:
            return answer
    return None


DISCOVER = {"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {}}


@pytest.mark.parametrize(
    ("made", "problem"),
    [
        (asked("tools/call", call(), "Mcp-Name: add"), None),
        (asked("tools/call", call("größe"), f"Mcp-Name: {coded('größe')}"), None),
        (asked("tools/call", call(), f"Mcp-Name: {coded('add')}"), None),
        (asked("tools/list", call(method="tools/list")), None),
        (asked("resources/read", {"method": "resources/read", "params": {"uri": "a:b"}}, "Mcp-Name: a:b"), None),
        (asked("tools/list", call(), "Mcp-Name: add"), "Mcp-Method is not"),
        (asked("server/discover", call(), "Mcp-Name: add"), "Mcp-Method is not"),
        (asked("tools/call", call("delete"), "Mcp-Name: add"), "Mcp-Name is not"),
        (asked("tools/call", call("delete"), f"Mcp-Name: {coded('add')}"), "Mcp-Name is not"),
        (asked("tools/call", call()), "Mcp-Name is not"),
        (asked("tools/call", {"method": "tools/call", "params": {}}, "Mcp-Name: add"), "Mcp-Name is not"),
        (asked("tools/call", {"method": "tools/call"}, "Mcp-Name: add"), "whose params are an object"),
        (asked("tools/call", [call()], "Mcp-Name: add"), "one JSON-RPC message"),
        (asked("tools/list", b'{"method": "tools/list", "method": "tools/call"}'), "method more than once"),
        (asked("tools/list", b'{"method": "tools/list", "METHOD": "tools/call"}'), "method more than once"),
        (asked("tools/list", b'{"Method": "tools/list"}'), "Mcp-Method is not"),
        (
            asked("tools/call", b'{"method": "tools/call", "params": {"name": "a", "Name": "b"}}', "Mcp-Name: a"),
            "name more than once",
        ),
        (asked("tools/list", b'{"method": "tools/list"'), "no JSON"),
        (asked("tools/list", b"[" * 100_000), "no JSON"),
        (asked("tools/list", json.dumps(call(method="tools/list")).encode("utf-16")), "no JSON"),
        (asked("tools/list", b""), "no JSON"),
        (asked("tools/list", call(method="tools/list"), "Mcp-Method: tools/call"), "come once"),
    ],
)
def test_fields_have_to_say_what_the_body_says(made: Exchange, problem: str | None) -> None:
    answer = verdict(made)
    if problem is None:
        assert answer is None
    else:
        assert isinstance(answer, Answer)
        assert answer.reason == "malformed_request"
        assert problem in str(answer.detail)  # type: ignore[attr-defined]


def test_clients_without_the_fields() -> None:
    for method in ("POST", "GET", "DELETE"):
        assert verdict(exchange(method=method)) is None
    assert verdict(exchange(method="POST"), fields="required").reason == "malformed_request"
    assert verdict(exchange(method="GET"), fields="required") is None, "a stream, or the end of a session"
    assert verdict(exchange("Mcp-Name: x", method="POST")).reason == "malformed_request"


def test_a_body_that_is_too_long_to_be_checked() -> None:
    assert verdict(asked("tools/call", call("x" * 200), "Mcp-Name: x"), max_body=100).status == 413


def test_a_first_request_passes_limits_and_no_other_does() -> None:
    state = State()
    assert verdict(asked("tools/list", call(method="tools/list")), state, limit=1) is None
    assert verdict(asked("tools/list", call(method="tools/list")), state, limit=1).status == 429
    for _ in range(20):
        assert verdict(asked("server/discover", DISCOVER), state, limit=1) is None
    assert verdict(asked("server/discover", call(), "Mcp-Name: add"), state, limit=1).status == 400
    assert verdict(asked("server/discover", DISCOVER), state, limit=1).status == 429, "the client has had its share"
    assert verdict(asked("server/discover", DISCOVER, client_ip="192.0.2.9"), state, limit=1) is None


def test_a_first_request_is_small() -> None:
    padded = {**DISCOVER, "params": {"x": "y" * 20_000}}
    state = State()
    assert verdict(asked("server/discover", padded), state, limit=1) is None
    assert verdict(asked("server/discover", padded), state, limit=1).status == 429


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        ("add", "add"),
        (coded("add"), "add"),
        (coded("größe"), "größe"),
        (coded(coded("add")), coded("add")),
        ("=?base64?YWRk", "=?base64?YWRk"),
        ("=?base64?YW=k?=", "=?base64?YW=k?="),
        ("=?base64?YWQ?=", "=?base64?YWQ?="),
        ("=?base64?YWR=?=", "=?base64?YWR=?="),
        ("=?base64?/w==?=", "=?base64?/w==?="),
        ("=?BASE64?YWRk?=", "=?BASE64?YWRk?="),
    ],
)
def test_what_a_value_means(value: str, meaning: str) -> None:
    assert decoded(value.encode()) == meaning.encode()


def test_conditions_ask_what_a_value_means() -> None:
    """Else a client would get around a rule for a tool by writing its name in base64, which every server reads."""
    assert meets(field_condition_of("Mcp-Name", "delete"), coded("delete").encode())
    assert meets(field_condition_of("mcp-name", "~ ^delete"), coded("delete_all").encode())
    assert not meets(field_condition_of("Mcp-Name", "delete"), coded("add").encode())
    assert not meets(field_condition_of("X-Name", "delete"), coded("delete").encode())
