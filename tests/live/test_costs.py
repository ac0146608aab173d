"""Limits that are paid after the fact: what responses cost is read as they pass, and the next request is refused."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest

from support.backend import Backend, Connection
from support.client import Wire, request
from support.messages import Message
from support.metrics import metric
from support.redis_process import RedisProcess
from support.structured import read_list
from support.world import Gateway, until

USAGE = {"json": "/usage/total_tokens", "stream": True}
CLAUDE = {
    "json": ["/usage/input_tokens", "/usage/output_tokens"],
    "stream": ["/message/usage/input_tokens", "/usage/output_tokens"],
}


def limit(number: int, **more: Any) -> dict[str, Any]:
    return {"requests_per_hour": number, "by": {"header": "X-Key"}, "name": "tokens", **more}


def model(connection: Connection) -> None:
    """Answers with what the body of the request says: [content type, body, more field lines], or pieces of a stream."""
    while (asked := connection.next_request()) is not None:
        wanted = json.loads(asked.body)
        kind, body, *lines = wanted
        if isinstance(body, list):
            connection.send(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: %b\r\n\r\n" % kind.encode()
            )
            for piece in body:
                data = piece.encode()
                connection.send(b"%x\r\n%b\r\n" % (len(data), data))
            if body[-1:] != [": stays open\n"]:
                connection.send(b"0\r\n\r\n")
        elif kind == "gzip":
            connection.answer(
                gzip.compress(body.encode()), "200 OK", "Content-Type: application/json", "Content-Encoding: gzip"
            )
        else:
            status = lines.pop() if lines and lines[-1][:1].isdigit() else "200 OK"
            connection.answer(body.encode(), status, f"Content-Type: {kind}", *lines)


@pytest.fixture(scope="module", params=["memory", "redis"])
def gateway(request: pytest.FixtureRequest) -> Iterator[Gateway]:
    with ExitStack() as stack:
        more: dict[str, Any] = {}
        if request.param == "redis":
            more = {"redis_url": stack.enter_context(RedisProcess()).url, "redis_timeout": 1}
        backend = stack.enter_context(Backend(model))
        config = {
            "gateway": more,
            "services": {"llm": {"url": backend.url, "default_routes": False}},
            "routes": [
                {"service": "llm", "path": "/chat", "policies": {"rate_limit": limit(100, cost=USAGE)}},
                {"service": "llm", "path": "/claude", "policies": {"rate_limit": limit(100, cost=CLAUDE)}},
                {
                    "service": "llm",
                    "path": "/field",
                    "policies": {
                        "rate_limit": limit(100, cost={"header": "X-Cost"}),
                        "headers": {"response": {"remove": ["X-Cost"]}},
                    },
                },
                {
                    "service": "llm",
                    "path": "/rate",
                    "policies": {
                        "rate_limit": {"requests_per_minute": 1, "burst": 50, "by": {"header": "X-Key"}, "cost": USAGE}
                    },
                },
                {
                    "service": "llm",
                    "path": "/many",
                    "policies": {
                        "rate_limit": [
                            limit(100, cost=USAGE),
                            {"requests_per_hour": 4, "by": {"header": "X-Key"}, "name": "calls"},
                            limit(10, cost=USAGE, enforce=False),
                        ]
                    },
                },
                {
                    "service": "llm",
                    "path": "/default",
                    "policies": {"rate_limit": limit(100, cost={**USAGE, "default": 60})},
                },
                {
                    "service": "llm",
                    "path": "/packed",
                    "policies": {"rate_limit": limit(100, cost=USAGE), "compress": {"min_size": 1}},
                },
                {
                    "service": "llm",
                    "path": "/cached",
                    "methods": ["GET", "QUERY"],
                    "policies": {"rate_limit": limit(100, cost=USAGE), "cache": {"ttl": 60}},
                },
            ],
        }
        with Gateway(config) as own:
            yield own


def ask(
    gateway: Gateway, path: str, key: str, kind: str, body: Any, *lines: str, method: str = "POST", **fields: str
) -> Message:
    sent = [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return gateway.ask(
        method,
        path,
        f"X-Key: {key}",
        "Content-Type: application/json",
        *sent,
        body=json.dumps([kind, body, *lines]).encode(),
    )


def cost(gateway: Gateway, answer: Message) -> dict[str, int] | None:
    found: dict[str, int] | None = gateway.logged(answer.get("x-request-id")).get("cost")
    return found


def usage(number: Any) -> str:
    return json.dumps({"choices": [{"text": 'a "usage"'}], "usage": {"total_tokens": number}})


def event(data: Any) -> str:
    return f"data: {json.dumps(data)}\n\n"


CHUNK = event({"choices": [{"delta": {"content": "Hello"}}], "usage": None})


def test_the_next_request_is_refused_once_the_budget_is_spent(gateway: Gateway) -> None:
    first = ask(gateway, "/chat", "spent", "application/json", usage(99))
    assert (first.status, first.body.decode(), cost(gateway, first)) == (200, usage(99), {"tokens": 99})
    second = ask(gateway, "/chat", "spent", "application/json", usage(500))
    assert second.status == 200, "one is left: how much it takes is not known yet"
    third = ask(gateway, "/chat", "spent", "application/json", usage(1))
    assert (third.status, third.json()["reason"]) == (429, "rate_limited")
    assert "the budget of 100 for this hour is spent" in third.json()["detail"]
    assert int(third.get("retry-after") or 0) > 0
    assert cost(gateway, third) is None
    assert ask(gateway, "/chat", "other", "application/json", usage(1)).status == 200


def test_the_fields_say_what_was_left_before(gateway: Gateway) -> None:
    answers = [ask(gateway, "/chat", "fields", "application/json", usage(30)) for _ in range(2)]
    left = [read_list(answer.get("ratelimit") or "")[0].parameters["r"] for answer in answers]
    assert left == [100, 70]
    (policy,) = read_list(answers[0].get("ratelimit-policy") or "")
    assert policy.parameters == {"q": 100, "w": 3600, "portico-cost": True}


@pytest.mark.parametrize(
    ("pieces", "paid"),
    [
        ([CHUNK, CHUNK, event({"choices": [], "usage": {"total_tokens": 21}}), "data: [DONE]\n\n"], 21),
        ([event({"usage": {"total_tokens": 5}}), event({"usage": {"total_tokens": 21}}), CHUNK], 21),
        ([*(CHUNK + 'data: {"usage":{"total_tokens":21}}\r\n\r\n')], 21),
        (['data: {"usage":\ndata: {"total_tokens":\ndata: 21}}\n\n'], 21),
        ([CHUNK, "event: usage\nid: 1\n", event({"usage": {"total_tokens": 21}}), ": the end\n\n"], 21),
        ([CHUNK], None),
        (['other: {"usage":{"total_tokens":21}}\n\n'], None),
    ],
    ids=["openai", "the last one", "byte by byte", "three lines", "among other fields", "none", "no data"],
)
def test_streams(gateway: Gateway, pieces: list[str], paid: int | None) -> None:
    answer = ask(gateway, "/chat", f"stream {pieces}"[:40], "text/event-stream", pieces)
    assert answer.body.decode() == "".join(pieces)
    assert cost(gateway, answer) == (None if paid is None else {"tokens": paid})


def test_streams_of_other_forms(gateway: Gateway) -> None:
    start = event({"type": "message_start", "message": {"usage": {"input_tokens": 25, "output_tokens": 1}}})
    end = event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 15}})
    assert cost(
        gateway, ask(gateway, "/claude", "a", "text/event-stream", ["event: message_start\n" + start, end])
    ) == {"tokens": 40}
    whole = json.dumps({"usage": {"input_tokens": 2, "output_tokens": 3, "cache": {"output_tokens": 9}}})
    assert cost(gateway, ask(gateway, "/claude", "a", "application/json; charset=utf-8", whole)) == {"tokens": 5}
    lines = ['{"usage": {"total_tokens": 1}}\n', '{"done": true, "usage": {"total_tokens": 7}}\n']
    assert cost(gateway, ask(gateway, "/chat", "lines", "application/x-ndjson", lines)) == {"tokens": 7}


@pytest.mark.parametrize("number", ["12", -5, 1e308, True, None, [3], {"total_tokens": 3}, 10**13])
def test_what_is_no_number_costs_nothing(gateway: Gateway, number: Any) -> None:
    assert cost(gateway, ask(gateway, "/chat", "odd", "application/json", usage(number))) is None


def test_coded_responses(gateway: Gateway) -> None:
    assert cost(gateway, ask(gateway, "/chat", "coded", "gzip", usage(17))) == {"tokens": 17}
    answer = ask(gateway, "/packed", "packed", "application/json", usage(18) + " " * 999, Accept_Encoding="gzip")
    assert answer.get("content-encoding") == "gzip"
    assert cost(gateway, answer) == {"tokens": 18}


def test_a_field_of_the_response_has_the_cost(gateway: Gateway) -> None:
    answer = ask(gateway, "/field", "f", "text/plain", "hello", "X-Cost: 33.2")
    assert (answer.get("x-cost"), cost(gateway, answer)) == (None, {"tokens": 34})
    assert cost(gateway, ask(gateway, "/field", "f", "text/plain", "hello", "X-Cost: many")) is None
    assert cost(gateway, ask(gateway, "/field", "f", "text/plain", "hello", "X-Cost: 1", "X-Cost: 2")) is None


def test_a_rate_pays_back_what_was_taken_beyond_it(gateway: Gateway) -> None:
    first = ask(gateway, "/rate", "r", "application/json", usage(170))
    assert (first.status, read_list(first.get("ratelimit") or "")[0].parameters["r"]) == (200, 50)
    refused = ask(gateway, "/rate", "r", "application/json", usage(1))
    assert refused.status == 429
    assert 120 * 60 < int(refused.get("retry-after") or 0) <= 121 * 60, (
        "120 more than the 50 were taken, and one is needed"
    )


def test_several_limits_beside_each_other(gateway: Gateway) -> None:
    answers = [ask(gateway, "/many", "m", "application/json", usage(30)) for _ in range(5)]
    assert [answer.status for answer in answers] == [200] * 4 + [429]
    assert [cost(gateway, answer) for answer in answers] == [{"tokens": 30, "tokens-2": 30}] * 4 + [None]
    assert gateway.logged(answers[1].get("x-request-id"))["shadow"] == "tokens-2-hour"
    left = {each.value: each.parameters["r"] for each in read_list(*answers[3].all("ratelimit"))}
    assert left == {"tokens-hour": 10, "calls-hour": 0, "tokens-2-hour": 0}


def test_what_costs_nothing_and_what_costs_the_default(gateway: Gateway) -> None:
    assert cost(gateway, ask(gateway, "/default", "d1", "application/json", "{}", "503 Busy")) is None
    assert cost(gateway, ask(gateway, "/default", "d2", "text/plain", "hello")) == {"tokens": 60}
    assert cost(gateway, ask(gateway, "/default", "d3", "application/json", usage(0))) is None


def test_a_client_that_leaves_pays_for_what_was_seen(gateway: Gateway) -> None:
    """Else a client reads all but the last event of each stream, and pays for none."""
    for path, seen, paid in (("/chat", [event({"usage": {"total_tokens": 9}})], 9), ("/default", [CHUNK], 60)):
        body = json.dumps(["text/event-stream", [*seen, ": stays open\n"]]).encode()
        with Wire(gateway.port) as wire:
            wire.send(request("POST", path, f"X-Key: left {path}", body=body))
            received = b""
            while b"stays open" not in received:
                received += wire.socket.recv(65536)
        logged = until(partial(_left, gateway, path), "it is logged")
        assert logged[0]["cost"] == {"tokens": paid}


def _left(gateway: Gateway, path: str) -> list[dict[str, Any]]:
    return [each for each in gateway.log() if each["path"] == path and each["reason"] == "client_closed"]


def test_the_cache_costs_nothing(gateway: Gateway) -> None:
    answers = [ask(gateway, "/cached", "c", "application/json", usage(40), method="QUERY") for _ in range(4)]
    assert [answer.status for answer in answers] == [200] * 4
    assert [cost(gateway, answer) for answer in answers] == [{"tokens": 40}, None, None, None]


def test_it_is_counted(gateway: Gateway) -> None:
    before = metric(gateway, "gateway_cost_total", service="llm", limit="tokens") or 0
    ask(gateway, "/chat", "counted", "application/json", usage(11))
    assert metric(gateway, "gateway_cost_total", service="llm", limit="tokens") == before + 11
