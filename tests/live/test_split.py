"""Routes that are split: which side a request gets, in all workers and gateways, and what holds on each side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from support.backend import Backend, Connection, Refusing, described
from support.client import ask
from support.frames import TEXT, Frame
from support.messages import Message
from support.metrics import metric
from support.redis_process import RedisProcess
from support.tokens import SECRET, bearer, token
from support.websocket import WebSocket, accept, next_frame, say
from support.world import Gateway, until

CANARY = "X-Canary: 1"


def a_site(connection: Connection) -> None:
    """A service of which each release has a script of its own, `/app.NAME.js`, and nothing else but pages."""
    name = connection.backend.name
    while (asked := connection.next_request()) is not None:
        path = asked.target.partition("?")[0]
        if path.endswith(".js") and path != f"/app.{name}.js":
            connection.answer(b"", "404 Not Found")
        elif path.endswith("/missing"):
            connection.answer(b"", "503 Service Unavailable")
        else:
            lines = ("Content-Type: application/json", "Cache-Control: max-age=60", "CDN-Cache-Control: max-age=60")
            connection.answer(described(asked, connection.backend), "200 OK", *lines, 'ETag: "x"')


def a_tunnel(connection: Connection) -> None:
    """A WebSocket that says its service's name, whatever it is told."""
    accept(connection)
    while (frame := next_frame(connection)) is not None:
        say(connection, frame.opcode, connection.backend.name.encode())


def split(*sides: Any, **route: Any) -> dict[str, Any]:
    """A route whose sides are the services named, in equal parts, or as they are given."""
    return {"split": [side if isinstance(side, dict) else {"service": side, "weight": 1} for side in sides], **route}


def by_header(service: str) -> dict[str, Any]:
    return {"service": service, "weight": 0, "headers": {"X-Canary": "1"}}


class World:
    """The services, of two releases each, and the configuration of all gateways."""

    def __init__(self, stack: ExitStack) -> None:
        sites = [stack.enter_context(Backend(a_site, name=name)) for name in ("one", "one", "two", "two")]
        self.urls = [each.url for each in sites]
        self.tunnels = [stack.enter_context(Backend(a_tunnel, name=name)) for name in ("one", "two")]
        self.redis = stack.enter_context(RedisProcess())
        self.refused = stack.enter_context(Refusing()).url

    def config(self, **more: Any) -> dict[str, Any]:
        unchecked = {"health_check": False}
        one, two = {"instances": self.urls[:2], **unchecked}, {"instances": self.urls[2:], **unchecked}
        return {
            "gateway": {"redis_url": self.redis.url},
            "services": {
                "one": one,
                "two": two,
                "versioned": {"versions": {"v1": one, "v2": {**two, "deprecated": "2026-12-01"}}},
                "sessions": {**one, "sticky": {"cookie": "auto", "key": "k" * 32}},
                "retried": {**unchecked, "instances": [self.refused, self.urls[2]], "retries": 2},
                "first": {**unchecked, "url": self.tunnels[0].url},
                "second": {**unchecked, "url": self.tunnels[1].url},
                "closed": {**two, "maintenance": True},
                "sick": {"url": self.urls[2], "health_check": {"path": "/missing", "interval": "200ms"}},
                "dead": {**unchecked, "url": self.refused, "retries": 0},
            },
            "routes": [
                split("one", "two", name="share", path="/share"),
                split("one", "two", name="sticky", path="/sticky", sticky="cookie"),
                split("one", by_header("two"), name="rule", path="/rule", rewrite="/deep/{path}"),
                split("one", by_header("two"), name="cached", path="/cached", policies={"cache": {}}),
                split("one", "two", name="numbered", path="/numbered", sticky="cookie", policies={"cache": {}}),
                split(
                    "one",
                    by_header("two"),
                    name="shared",
                    path="/shared",
                    policies={"cache": {"store": "redis", "purge": {"networks": ["127.0.0.1"]}}},
                ),
                split(
                    "one",
                    "two",
                    name="known",
                    path="/known",
                    sticky="consumer",
                    policies={"auth": {"jwt": {"secret": SECRET}}},
                ),
                split(
                    {"service": "versioned", "version": "v1", "weight": 1},
                    {**by_header("versioned"), "version": "v2"},
                    name="versions",
                    path="/versions",
                ),
                split("sessions", "two", name="sessions", path="/sessions", sticky="cookie"),
                split("one", by_header("retried"), name="retried", path="/retried"),
                split("first", by_header("second"), name="tunnel", path="/tunnel"),
                split("one", by_header("two"), name="bare", path="/bare", redirect_slash=True, body_size="1KiB"),
                split("one", by_header("closed"), name="maintained", path="/maintained", body_size="1KiB"),
                split("one", by_header("closed"), name="refusing", path="/refusing", otherwise="refuse"),
                split("one", by_header("dead"), name="failing", path="/failing"),
                split("one", by_header("sick"), name="sick", path="/sick"),
                split("one", by_header("two"), name="else", fallback=True),
            ],
            **more,
        }


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with ExitStack() as stack:
        yield World(stack)


@pytest.fixture(scope="module")
def gateway(world: World) -> Iterator[Gateway]:
    config = world.config()
    with Gateway({**config, "gateway": {**config["gateway"], "workers": 2}}) as own:
        own.wait_for_control()
        yield own


@pytest.fixture(scope="module")
def other(world: World) -> Iterator[Gateway]:
    """Another gateway with the same configuration."""
    with Gateway(world.config()) as own:
        own.wait_for_control()
        yield own


def side(answer: Message) -> str:
    """The service that answered."""
    assert answer.status == 200, (answer.status, answer.body)
    return str(answer.json()["backend"])


def reload(gateway: Gateway, config: dict[str, Any]) -> None:
    gateway.write(config)
    assert ask(gateway.admin_port, "POST", "/admin/reload", "Host: localhost").status == 200


def wait_for_hit(gateway: Gateway, url: str, *lines: str, status: int = 200) -> None:
    """Ask until the cache answers with this status: each request may be another worker's, and Redis may be slow."""

    def is_hit() -> bool:
        answer = gateway.get(url, *lines)
        return answer.status == status and "hit" in (answer.get("cache-status") or "")

    until(is_hit, f"the cache answers {url} with {status}")


# ---- shares


def test_requests_are_shared_out(gateway: Gateway) -> None:
    """On one connection, so by one worker."""
    with gateway.wire() as wire:
        answers = [wire.ask("GET", "/share/x") for _ in range(200)]
    served = Counter(map(side, answers))
    assert 96 <= served["one"] <= 104
    for answer in answers[:5]:
        record = gateway.logged(answer.get("x-request-id"))
        assert (record["service"], record["route"]) == (side(answer), "share")
    until(
        lambda: metric(gateway, "gateway_split_requests_total", route="share", service="one") == served["one"],
        "what a side got is counted",
    )
    assert metric(gateway, "gateway_split_duration_seconds_count", route="share", service="two") == served["two"]
    assert metric(gateway, "gateway_split_errors_total", route="share", service="two") == 0


def test_clients_stay_with_page_and_script(gateway: Gateway, other: Gateway, world: World) -> None:
    """Both halves are pinned, by two workers and two gateways, and over a reload, whichever instance serves them."""
    cookies = {}
    for number in range(100):
        page = (gateway, other)[number % 2].get("/sticky/")
        cookie = page.get("set-cookie")
        assert cookie is not None
        assert "Path=/sticky; HttpOnly; SameSite=Lax" in cookie
        assert page.all("vary") == ["Cookie"]
        assert page.all("cache-control") == ["max-age=60", "private"]
        assert page.get("cdn-cache-control") is None
        cookies[f"Cookie: a=b; {cookie.partition(';')[0]}"] = side(page)
    assert 45 <= Counter(cookies.values())["one"] <= 55
    for turn in range(2):
        for asked in (gateway, other):
            for cookie, name in cookies.items():
                script = asked.get(f"/sticky/app.{name}.js", cookie)
                assert side(script) == name
                assert script.get("set-cookie") is None
        if turn == 0:
            reload(gateway, {**world.config(), "consumers": [{"name": "new"}]})


def test_who_signed_in_stays(gateway: Gateway, other: Gateway) -> None:
    sides = {name: side(gateway.get("/known/x", bearer(token(sub=name)))) for name in map(str, range(30))}
    assert set(sides.values()) == {"one", "two"}
    for name, own in sides.items():
        assert side(other.get("/known/x", bearer(token(sub=name)))) == own
    refused = gateway.get("/known/x")
    assert (refused.status, refused.get("vary")) == (401, None)


# ---- what holds on each side


@pytest.mark.parametrize(("lines", "name"), [([], "one"), ([CANARY], "two"), (["X-Canary: 2"], "one")])
def test_by_a_header(gateway: Gateway, lines: list[str], name: str) -> None:
    answer = gateway.get("/rule/a%20b?c=d", *lines)
    assert (side(answer), answer.json()["target"]) == (name, "/deep/a%20b?c=d")
    assert answer.all("vary") == ["X-Canary"]
    assert ["X-Forwarded-Prefix", "/rule"] in answer.json()["fields"]
    head = gateway.ask("HEAD", "/rule/x", *lines)
    assert (head.status, head.get("etag"), head.body) == (200, '"x"', b"")
    posted = gateway.ask("POST", "/rule/x", *lines, body=bytes(100_000))
    assert (side(posted), posted.json()["length"]) == (name, 100_000)


@pytest.mark.parametrize("route", ["cached", "shared"])
def test_each_side_has_its_own_cache(gateway: Gateway, route: str) -> None:
    url = f"/{route}/x"
    for lines, name in (([], "one"), ([CANARY], "two")):
        wait_for_hit(gateway, url, *lines)
        answer = gateway.get(url, *lines)
        assert (side(answer), answer.get("vary")) == (name, "X-Canary")
        assert gateway.logged(answer.get("x-request-id"))["service"] == name
        wait_for_hit(gateway, url, *lines, 'If-None-Match: "x"', status=304)


def test_the_number_of_a_client_is_no_credential(gateway: Gateway) -> None:
    for number, name in (("17", "one"), ("4999", "one"), ("5000", "two"), ("9999", "two")):
        cookie = f"Cookie: portico_split_numbered={number}"
        wait_for_hit(gateway, "/numbered/x", cookie)
        assert side(gateway.get("/numbered/x", cookie)) == name
    for cookie in ("portico_split_numbered=17; session=1", "portico_split_numbered=17x", "portico_split_cached=17"):
        answer = gateway.get("/numbered/y", f"Cookie: {cookie}")
        assert "detail=credentials" in (answer.get("cache-status") or "")


def test_a_purge_is_for_all_sides(gateway: Gateway) -> None:
    for lines in ([], [CANARY]):
        wait_for_hit(gateway, "/shared/y", *lines)
    until(lambda: gateway.ask("PURGE", "/shared/y").status == 200, "every worker has confirmed the purge")
    for lines in ([], [CANARY]):
        assert "hit" not in (gateway.get("/shared/y", *lines).get("cache-status") or "")


def test_versions_as_sides(gateway: Gateway) -> None:
    old, new = gateway.get("/versions/x"), gateway.get("/versions/x", CANARY)
    assert (side(old), old.get("deprecation")) == ("one", None)
    assert (side(new), new.get("deprecation")) == ("two", "@1796083200")
    record = gateway.logged(new.get("x-request-id"))
    assert (record["service"], record["version"]) == ("versioned", "v2")
    until(
        lambda: metric(gateway, "gateway_split_requests_total", route="versions", service="versioned@v2") == 1,
        "it is counted by its version",
    )


def test_sessions_on_a_side(gateway: Gateway) -> None:
    """A client keeps its side, and on the side that has sessions its instance too."""
    cookies: list[str] = []
    while len(cookies) < 2:  # the number of a side without sessions is all that its clients get
        cookies = [line.partition(";")[0] for line in gateway.get("/sessions/x").all("set-cookie")]
    upstreams = set()
    for _ in range(12):
        answer = gateway.get("/sessions/x", f"Cookie: {'; '.join(cookies)}")
        assert side(answer) == "one"
        upstreams.add(gateway.logged(answer.get("x-request-id"))["upstream"])
    assert len(upstreams) == 1


def test_retries_stay_on_their_side(gateway: Gateway) -> None:
    for _ in range(4):
        assert side(gateway.get("/retried/x", CANARY)) == "two"


def test_a_websocket_is_on_one_side(gateway: Gateway) -> None:
    for lines, name in (([], b"one"), ([CANARY], b"two")):
        with WebSocket(gateway.port, "/tunnel/x", *lines) as socket:
            for _ in range(3):
                socket.say(TEXT, b"who")
                assert socket.next_frame() == Frame(TEXT, name)


def test_before_the_side_is_chosen(gateway: Gateway) -> None:
    browser = ("Accept: text/html", "Sec-Fetch-Mode: navigate")
    for lines in ([], [CANARY]):
        redirected = gateway.get("/bare", *browser, *lines)
        assert (redirected.status, redirected.get("location")) == (307, "./bare/")
        assert "X-Canary" in redirected.all("vary")
        assert gateway.ask("POST", "/bare/x", *lines, body=bytes(1025)).status == 413
        assert gateway.ask("POST", "/bare/x", *lines, body=bytes(1024)).status == 200


def test_a_split_as_the_fallback(gateway: Gateway) -> None:
    assert side(gateway.get("/anything/else")) == "one"
    answer = gateway.get("/anything/else", CANARY)
    assert (side(answer), answer.json()["target"]) == ("two", "/anything/else")


# ---- sides that cannot serve


def test_a_side_in_maintenance_is_served_by_the_others(gateway: Gateway) -> None:
    assert side(gateway.get("/maintained/x", CANARY)) == "one"
    refused = gateway.get("/refusing/x", CANARY)
    assert (refused.status, refused.json()["reason"], refused.get("vary")) == (503, "maintenance", "X-Canary")
    assert side(gateway.get("/refusing/x")) == "one"
    until(
        lambda: metric(gateway, "gateway_split_diverted_total", route="maintained", service="closed") == 1,
        "it is counted where it belonged",
    )


def test_a_side_that_fails_its_checks_is_served_by_the_others(gateway: Gateway) -> None:
    until(lambda: side(gateway.get("/sick/x", CANARY)) == "one", "its instance fails its checks")
    (event,) = [
        each for each in gateway.events() if each["event"].startswith("a side of") and each["service"] == "sick"
    ]
    assert (event["level"], event["route"], event["reason"]) == ("WARNING", "sick", "the others have its share")


def test_what_fails_on_a_side_is_its_own(gateway: Gateway) -> None:
    answer = gateway.get("/failing/x", CANARY)
    assert (answer.status, answer.json()["reason"]) == (502, "upstream_refused")
    assert gateway.logged(answer.get("x-request-id"))["service"] == "dead"
    until(
        lambda: metric(gateway, "gateway_split_errors_total", route="failing", service="dead") == 1,
        "it is an error of that side",
    )
