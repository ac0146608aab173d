"""The policy of API keys: which are accepted, whose they are, and what becomes of those that end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest
from pydantic import ValidationError

from policies.exchanges import exchange
from portico.core.api_keys import digest_of, new_key
from portico.core.consumers import Consumer, Consumers
from portico.core.errors import Refusal
from portico.core.exchange import Exchange
from portico.policies.auth import ApiKeySettings, AuthSettings, build_auth
from portico.policies.auth.key_table import ApiKey, KeyTable
from portico.policies.policy import Context, Policy, State

NOW = 1_800_000_000.0
KEY, OTHER, FILED = (new_key().text for _ in range(3))
CONSUMERS = Consumers(
    [
        Consumer("ann", ("orders:read", "orders:write")),
        Consumer("bob", ("x",), tuple(map(digest_of, (b"from elsewhere", b"base64+/=", FILED.encode())))),
    ]
)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [NOW]
    for module in ("api_keys", "identified"):
        monkeypatch.setattr(f"portico.policies.auth.{module}.time.time", lambda: now[0])
    return now


def key_of(text: str = KEY, **given: Any) -> ApiKey:
    return ApiKey(**{"id": text[8:16], "digest": digest_of(text.encode()), "consumer": "ann", **given})


class World:
    """A policy with keys that are known."""

    def __init__(self, *keys: ApiKey, consumers: Consumers = CONSUMERS, known: bool = True, **written: Any) -> None:
        self.state = State()
        self.settings = AuthSettings(**{"api_key": {}, **written})
        if known:
            self.table.learn(keys, are_all=True)
        self.policy = self.with_consumers(consumers)

    @property
    def table(self) -> KeyTable:
        return self.state.api_keys

    def with_consumers(self, consumers: Consumers) -> Policy:
        return build_auth(self.settings, Context("gateway", self.state, directory=consumers))

    def ask(self, *lines: str, query: bytes = b"", policy: Policy | None = None) -> Exchange | str:
        asked = exchange(*lines, query=query)
        answer = (policy or self.policy)(asked)
        if isinstance(answer, Refusal):
            assert any(line.startswith(b"WWW-Authenticate: ApiKey realm=") for line in answer.lines)
            return f"{answer.reason}: {answer.detail}"
        assert answer is None
        return asked


def whose(asked: Exchange | str) -> Any:
    return asked if isinstance(asked, str) else (asked.consumer, asked.scopes)


BOTH = ("orders:read", "orders:write")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([f"X-API-Key: {KEY}"], ("ann", BOTH)),
        ([f"x-api-key:{KEY}  "], ("ann", BOTH)),
        ([f"X-API-Key: {FILED}"], ("bob", ("x",))),
        (["X-API-Key: from elsewhere"], ("bob", ("x",))),
        ([], "credentials_missing: send one API key, as 'X-API-Key: KEY'"),
        ([f"X-API-Key: {KEY}"] * 2, "credentials_missing: send one API key, as 'X-API-Key: KEY'"),
        ([f"X_API_Key: {KEY}"], "credentials_missing: send one API key, as 'X-API-Key: KEY'"),
        ([f"X-API-Key: {OTHER}"], "credentials_invalid: the API key is unknown or revoked"),
        (["X-API-Key: From elsewhere"], "credentials_invalid: the API key is unknown or revoked"),
        (["X-API-Key:"], "credentials_invalid: the API key is unknown or revoked"),
        (
            [f"X-API-Key: {KEY[:-1]}"],
            "credentials_invalid: the API key is cut or mistyped: its checksum is not right",
        ),
        ([f"X-API-Key: \xff{KEY}"], "credentials_invalid: the API key is unknown or revoked"),
    ],
)
def test_keys_in_a_field(lines: list[str], expected: Any) -> None:
    world = World(key_of())
    for _ in range(2):
        assert whose(world.ask(*lines)) == expected


@pytest.mark.parametrize(
    ("query", "expected", "left"),
    [
        ("?key={KEY}", "ann", ""),
        ("?a=1&key={KEY}&b=2", "ann", "?a=1&b=2"),
        ("?%6Bey={KEY}&a", "ann", "?a"),
        ("?key={OTHER}", "credentials_invalid", ""),
        ("?key=from%20elsewhere", "bob", ""),
        ("?key=from+elsewhere", "credentials_invalid", ""),
        ("?key=base64+/%3D", "bob", ""),
        ("?key=base64%2b%2F=", "bob", ""),
        ("?key=%", "credentials_invalid", ""),
        ("?key=%zz%00%0a", "credentials_invalid", ""),
        ("?key={KEY}&key={KEY}", "credentials_missing", ""),
        ("?key", "credentials_invalid", ""),
        ("?Key={KEY}", "credentials_missing", "?Key={KEY}"),
        ("", "credentials_missing", ""),
    ],
)
def test_keys_in_the_query_do_not_go_on(query: str, expected: str, left: str) -> None:
    """`{KEY}` is a key that holds, `{OTHER}` one that nobody has."""
    query, left = (text.format(KEY=KEY, OTHER=OTHER) for text in (query, left))
    world = World(key_of(), api_key={"query": "key"})
    asked = exchange(query=query.encode())
    answer = world.policy(asked)
    assert (answer.reason if isinstance(answer, Refusal) else asked.consumer) == expected
    assert asked.query == left.encode()


def test_the_field_does_not_go_on_in_any_spelling() -> None:
    world = World(key_of(), optional=True)
    repeated = exchange(f"X-API-Key: {KEY}", "x_api_key: b", "X.API.Key: c", "X-Other: d")
    for _ in range(2):
        asked = exchange()
        asked.request = repeated.request
        assert world.policy(asked) is None
        assert asked.request is not None
        assert (asked.consumer, asked.request.fields.lines) == ("ann", [b"Host: gateway.example", b"X-Other: d"])
    anonymous = world.ask("X_API_Key: b", "X-Other: d")
    assert isinstance(anonymous, Exchange)
    assert anonymous.request is not None
    assert (anonymous.consumer, anonymous.request.fields.lines) == (None, [b"Host: gateway.example", b"X-Other: d"])


def test_a_request_with_a_token_leaves_its_key_here_too() -> None:
    world = World(key_of(), jwt={"secret": "0123456789abcdef0123456789abcdef"}, api_key={"query": "key"})
    asked = exchange("Authorization: Bearer bad", query=f"?key={KEY}".encode())
    answer = world.policy(asked)
    assert isinstance(answer, Refusal)
    assert (answer.reason, asked.query, asked.consumer) == ("credentials_invalid", b"", None)
    missing = world.policy(exchange())
    assert isinstance(missing, Refusal)
    assert missing.detail == ("send one token, as 'Authorization: Bearer TOKEN'; or send one API key, as '?key=KEY'")


@pytest.mark.parametrize(
    ("scopes", "held"),
    [(None, BOTH), (("orders:read",), ("orders:read",)), ((), ()), (("orders:read", "admin"), ("orders:read",))],
)
def test_scopes_are_never_more_than_the_consumers(scopes: tuple[str, ...] | None, held: tuple[str, ...]) -> None:
    assert whose(World(key_of(scopes=scopes)).ask(f"X-API-Key: {KEY}")) == ("ann", held)


def test_a_consumer_that_goes_takes_its_keys_along() -> None:
    world, line = World(key_of()), f"X-API-Key: {KEY}"
    assert whose(world.ask(line)) == ("ann", BOTH)
    narrowed = world.with_consumers(Consumers([Consumer("ann", ("orders:read",))]))
    assert whose(world.ask(line, policy=narrowed)) == ("ann", ("orders:read",))
    gone = world.with_consumers(Consumers([Consumer("bob")]))
    assert whose(world.ask(line, policy=gone)) == "credentials_invalid: the API key is unknown or revoked"


@pytest.mark.parametrize("place", ["field", "query"])
def test_a_key_that_is_revoked_ends_at_once(place: str) -> None:
    """Also for a connection that remembers whom its fields name."""
    world = World(key_of(), key_of(OTHER), api_key={} if place == "field" else {"query": "k"})
    repeated = exchange(f"X-API-Key: {KEY}")
    query = f"?k={KEY}".encode() if place == "query" else b""
    request = repeated.request

    def ask() -> Any:
        asked = exchange(query=query)
        asked.request = request
        answer = world.policy(asked)
        return answer.reason if isinstance(answer, Refusal) else asked.consumer

    assert (ask(), ask()) == ("ann", "ann")
    world.table.learn([key_of(holds=False)], are_all=False)
    assert (ask(), ask()) == ("credentials_invalid", "credentials_invalid")


def test_a_key_that_expires_ends_then(clock: list[float]) -> None:
    world, line = World(key_of(expires=int(NOW) + 90)), f"X-API-Key: {KEY}"
    for seconds in (0, 30, 89.9):
        clock[0] = NOW + seconds
        assert whose(world.ask(line)) == ("ann", BOTH)
    clock[0] = NOW + 90
    assert whose(world.ask(line)) == "credentials_expired: the API key has expired"
    world.table.learn([key_of()], are_all=False)
    assert whose(world.ask(line)) == ("ann", BOTH)


def test_when_a_key_was_used_is_known_to_the_minute(clock: list[float]) -> None:
    world = World(key_of())
    for seconds in range(0, 200, 10):
        clock[0] = NOW + seconds
        world.ask(f"X-API-Key: {KEY}")
    assert world.table.take_used() == {KEY[8:16]: NOW + 180}
    assert world.table.take_used() == {}
    world.ask("X-API-Key: from elsewhere")
    assert world.table.take_used() == {f"sha256:{digest_of(b'from elsewhere').hex()[:8]}": NOW + 190}


def test_keys_that_have_not_come_are_waited_for() -> None:
    async def played() -> list[Any]:
        world = World(known=False)
        asked = [exchange(f"X-API-Key: {text}") for text in (KEY, OTHER)]
        verdicts = [world.policy(each) for each in asked]
        assert all(isinstance(each, Awaitable) for each in verdicts)
        tasks = [asyncio.ensure_future(each) for each in verdicts if isinstance(each, Awaitable)]
        await asyncio.sleep(0)
        world.table.learn([key_of()], are_all=True)
        first, second = await asyncio.gather(*tasks)
        assert isinstance(second, Refusal)
        return [first, asked[0].consumer, second.reason]

    assert asyncio.run(played()) == [None, "ann", "credentials_invalid"]


def test_keys_that_do_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portico.policies.auth.key_table._TIMEOUT", 0.0)

    async def played() -> Any:
        world = World(known=False)
        assert whose(world.ask("X-API-Key: from elsewhere")) == ("bob", ("x",)), "the file is known"
        verdict = world.policy(exchange(f"X-API-Key: {KEY}"))
        assert isinstance(verdict, Awaitable)
        return await verdict

    answer = asyncio.run(played())
    assert (answer.reason, answer.status, answer.lines) == ("keys_unavailable", 503, [b"Retry-After: 1"])


def test_what_is_learnt_again_ends_nothing() -> None:
    world = World(key_of())
    world.ask(f"X-API-Key: {KEY}")
    (verified,) = world.table.dependent
    epoch = verified.epoch  # type: ignore[attr-defined]
    world.table.learn([key_of()], are_all=True)
    world.table.learn([key_of(OTHER)], are_all=False)
    assert verified.epoch is epoch  # type: ignore[attr-defined]
    world.table.learn([key_of(OTHER)], are_all=True)
    assert verified.epoch is not epoch  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ({"header": "X-Key", "query": "key"}, "a key comes in one place: write header or query, not both"),
        ({"header": "Authorization"}, "Authorization has something else in it"),
        ({"header": "X-Consumer-Username"}, "says who the gateway has identified"),
        ({"header": "Content-Length"}, "follows from the body"),
    ],
)
def test_places_that_a_key_cannot_have(written: dict[str, str], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        ApiKeySettings(**written)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([f"Authorization: Bearer {KEY}"], ("ann", BOTH)),
        ([f"authorization:bearer   {KEY} "], ("ann", BOTH)),
        ([f"Authorization: Bearer {OTHER}"], "credentials_invalid: the API key is unknown or revoked"),
        ([f"Authorization: Basic {KEY}"], "credentials_missing: send one API key, as 'Authorization: Bearer KEY'"),
        (["Authorization: Bearer"], "credentials_missing: send one API key, as 'Authorization: Bearer KEY'"),
        ([f"X-API-Key: {KEY}"], "credentials_missing: send one API key, as 'Authorization: Bearer KEY'"),
        (
            [f"Authorization: Bearer {KEY}", "Authorization: Basic x"],
            "credentials_missing: send one API key, as 'Authorization: Bearer KEY'",
        ),
    ],
)
def test_keys_as_bearer_tokens(lines: list[str], expected: Any) -> None:
    asked = World(key_of(), api_key={"bearer": True}).ask(*lines)
    assert whose(asked) == expected
    if isinstance(asked, Exchange):
        assert asked.request is not None
        assert b"authorization" not in asked.request.fields.names, "the service does not get it"


@pytest.mark.parametrize(
    "written", [{"api_key": {"bearer": True, "header": "X-Key"}}, {"api_key": {"bearer": True}, "jwt": {}}]
)
def test_a_bearer_is_one_thing(written: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"one place|what comes as Bearer is for jwt"):
        AuthSettings(**written)
