"""Where tenants come from, how long they are believed, and that nobody names his own."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import jwt
import pytest

from portico.plugin import Verdict
from portico.testing import Received, Reply, RunningGateway, StartGateway, make_context, make_exchange, make_policy
from tenant import TenantHeader

SECRET = "0123456789abcdef0123456789abcdef"
AUTH = {"policies": {"auth": {"jwt": {"secret": SECRET}}}}


def token(consumer: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {jwt.encode({'sub': consumer, 'exp': time.time() + 60}, SECRET)}"}


@pytest.fixture
def directory(gateway: StartGateway) -> RunningGateway:
    """The directory of tenants: any HTTP service would do, and this one is at hand."""
    running = gateway()
    running.service.script = look_up
    return running


def look_up(request: Received) -> Reply:
    tenants = {"ann": "acme", "a&b=c/..": "odd"}
    consumer = httpx.URL(request.target).params["consumer"]
    return Reply(200, {"tenant": tenants[consumer]}) if consumer in tenants else Reply(404)


def test_the_service_gets_the_tenant_of_the_consumer(gateway: StartGateway, directory: RunningGateway) -> None:
    running = gateway(TenantHeader, directory=directory.url, patience=20, config=AUTH)
    for consumer, status in (("ann", 200), ("a&b=c/..", 200), ("bob", 403), ("ann", 200)):
        headers = {**token(consumer), "X-Tenant": "other", "x-tenant": "another", "X_Tenant": "third"}
        assert running.client.get("/", headers=headers).status_code == status
    seen = [[value for name, value in each.headers.items() if "tenant" in name] for each in running.service.requests]
    assert seen == [["acme"], ["odd"], ["acme"]]
    assert len(directory.service.requests) == 3  # ann was remembered


def test_nobody_gets_through_without_a_consumer(gateway: StartGateway, directory: RunningGateway) -> None:
    running = gateway(TenantHeader, directory=directory.url)
    response = running.client.get("/", headers={"X-Tenant": "acme"})
    assert (response.status_code, response.json()["reason"]) == (403, "consumer_missing")
    assert running.service.requests == []


@pytest.mark.parametrize(
    "reply", [Reply(500), Reply(200, "acme"), Reply(200, {"tenant": "a\r\nX-Admin: 1"}), Reply(200, {})]
)
def test_a_directory_that_is_down_or_talks_nonsense_names_no_tenant(
    gateway: StartGateway, directory: RunningGateway, reply: Reply
) -> None:
    directory.service.script = reply
    running = gateway(TenantHeader, directory=directory.url, patience=20, config=AUTH)
    response = running.client.get("/", headers=token("ann"))
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert "no tenant could be looked up" in [event.getMessage() for event in running.events]
    assert running.service.requests == []


# ---- the cache, by itself


def policy(answer: Callable[[httpx.Request], Any], state: dict[str, Any], **settings: Any) -> TenantHeader:
    client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    context = make_context(state=state, http=client)
    return make_policy(TenantHeader, context=context, directory="http://d.example/", **settings)


async def verdict(of: TenantHeader, consumer: str = "ann") -> Verdict:
    decided = of.request(make_exchange(consumer=consumer))
    return await decided if isinstance(decided, Awaitable) else decided


def test_a_reload_keeps_what_was_found_out() -> None:
    state: dict[str, Any] = {}

    async def run() -> None:
        first = policy(lambda request: httpx.Response(200, json={"tenant": "acme"}), state)
        await first.open()
        assert await verdict(first) is None
        second = policy(lambda request: httpx.Response(500), state)
        await second.open()
        assert second.request(make_exchange(consumer="ann")) is None, "at once, without a look-up"

    asyncio.run(run())


@pytest.mark.parametrize(("later", "status"), [(59, None), (61, None), (119, None), (121, 503)])
def test_an_old_tenant_is_believed_for_a_while_if_the_directory_is_down(
    later: float, status: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([httpx.Response(200, json={"tenant": "acme"}), httpx.Response(500)])
    now = 1000.0
    monkeypatch.setattr("tenant.monotonic", lambda: now)

    async def run() -> None:
        nonlocal now
        own = policy(lambda request: next(answers), {}, lifetime=60, stale=60)
        await own.open()
        await verdict(own)
        now += later
        refused = await verdict(own)
        assert (refused and refused.status) == status

    asyncio.run(run())


def test_all_who_wait_ask_once_and_one_that_leaves_does_not_end_it() -> None:
    asked: list[str] = []
    has_begun, go_on = asyncio.Event(), asyncio.Event()

    async def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.params["consumer"])
        has_begun.set()
        await go_on.wait()
        return httpx.Response(200, json={"tenant": "acme"})

    async def run() -> None:
        own = policy(answer, {}, patience=30)
        await own.open()
        waiting = [asyncio.create_task(verdict(own)) for _ in range(3)]
        await has_begun.wait()
        waiting[0].cancel()
        go_on.set()
        assert await asyncio.gather(*waiting[1:]) == [None, None]
        assert asked == ["ann"]
        assert own.asked == {}
        await own.close()

    asyncio.run(run())


def test_it_remembers_no_more_than_it_may() -> None:
    async def run() -> None:
        own = policy(lambda request: httpx.Response(404), {}, remembered=2)
        await own.open()
        for consumer in ("a", "b", "a", "c"):
            refused = await verdict(own, consumer)
            assert refused is not None
            assert refused.reason == "tenant_unknown"
        assert set(own.known) == {"b", "c"}

    asyncio.run(run())
