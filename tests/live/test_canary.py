"""Canaries as they are in use: stepping up, going back, steered, and kept over everything that may end."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from support.backend import Backend, Connection, Refusing
from support.client import ask
from support.messages import Message
from support.portico import run_portico
from support.world import Gateway, until

ENOUGH = 20


class Side:
    """The script of a service that answers with its name; it can be made to fail, or to be slow."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.status = "200 OK"
        self.delay = 0.0

    def __call__(self, connection: Connection) -> None:
        while connection.next_request() is not None:
            time.sleep(self.delay)
            connection.answer(self.name.encode(), self.status)


@pytest.fixture(scope="module")
def sides() -> Iterator[dict[str, Backend]]:
    """`shop` and what may come after it."""
    with Backend(Side("shop")) as shop, Backend(Side("next")) as coming, Backend(Side("other")) as other:
        yield {"shop": shop, "next": coming, "other": other}


@pytest.fixture(autouse=True)
def well(sides: dict[str, Backend]) -> None:
    """All of them begin every test well."""
    for side in sides.values():
        script(side).status, script(side).delay = "200 OK", 0.0


def script(side: Backend) -> Side:
    assert isinstance(side.script, Side)
    return side.script


def canary(**written: Any) -> dict[str, Any]:
    return {"to": "next", "steps": [25, 50, 100], "every": "1h", "min_requests": ENOUGH, **written}


def config(sides: Mapping[str, Backend], name: str, settings: dict[str, Any], **route: Any) -> dict[str, Any]:
    """One route with a canary; each test has a name of its own, so that nothing is left of another."""
    routes = [{"name": name, "service": "shop", "path": "/", "canary": settings, **route}]
    return {"gateway": {"workers": 2}, "services": dict(sides), "routes": routes}


@pytest.fixture(scope="module")
def gateway(sides: dict[str, Backend]) -> Iterator[Gateway]:
    with Gateway({"gateway": {"workers": 2}, "services": dict(sides)}) as own:
        own.wait_for_control()
        yield own


def begin(gateway: Gateway, written: dict[str, Any]) -> None:
    gateway.write(written)
    answer = admin(gateway, "POST", "/admin/reload")
    assert answer.status == 200, answer.body


def admin(gateway: Gateway, method: str, path: str, body: dict[str, Any] | None = None) -> Message:
    content = json.dumps(body).encode() if body is not None else None
    return ask(gateway.admin_port, method, path, "Host: localhost", body=content)


def seen(gateway: Gateway) -> dict[str, Any]:
    """The one canary that there is."""
    (one,) = admin(gateway, "GET", "/admin/canaries").json()["canaries"]
    return dict(one)


def steer(gateway: Gateway, name: str, action: str, **body: Any) -> dict[str, Any]:
    answer = admin(gateway, "POST", f"/admin/canaries/{name}/{action}", body or None)
    assert answer.status == 200, answer.body
    return dict(answer.json()["canary"])


def served(gateway: Gateway, number: int = 100) -> Counter[str]:
    """Which services answered so many requests, on connections to both workers, and the errors among them."""
    found: Counter[str] = Counter()
    for _ in range(number // 20):
        with gateway.wire() as wire:
            for _ in range(20):
                answer = wire.ask("GET", "/")
                found[answer.body.decode() if answer.status == 200 else str(answer.status)] += 1
    return found


def goes_on_until(gateway: Gateway, *phases: str) -> dict[str, Any]:
    """Requests come until the canary is in one of these phases."""

    def look() -> dict[str, Any] | None:
        served(gateway, 40)
        one = seen(gateway)
        return one if one["phase"] in phases else None

    return until(look, f"the canary is {phases}") or {}


def happened(one: Mapping[str, Any]) -> list[tuple[str, float]]:
    return [(entry["what"], entry["share"]) for entry in one["history"]]


def test_it_steps_up_until_all_requests_go_to_the_new_service(gateway: Gateway, sides: dict[str, Backend]) -> None:
    begin(gateway, config(sides, "up", canary(every="1s", abort_if={"errors": "2%", "p99": "10x"})))
    first = served(gateway, 100)
    assert first["shop"], "the first step is a quarter"
    assert first["next"]
    one = goes_on_until(gateway, "promoted")
    assert happened(one) == [("began", 25), ("stepped up", 50), ("stepped up", 100), ("promoted", 100)]
    assert {entry["who"] for entry in one["history"]} == {"gateway"}
    assert one["advice"] == "write service: next in the route, in place of service: shop and canary"
    assert served(gateway) == {"next": 100}
    events = [event for event in gateway.events() if event.get("route") == "up"]
    assert [event["event"] for event in events][:2] == ["the canary has begun", "the canary has stepped up"]
    page = gateway.get("/metrics").body.decode()
    assert 'gateway_canary_share{route="up",to="next"} 1.0' in page
    assert 'gateway_canary_phase{phase="promoted",route="up",to="next"} 1.0' in page
    assert 'gateway_canary_changes_total{route="up",what="stepped_up"} 2.0' in page
    shares = [entry["at"] for entry in one["history"]]
    assert shares == sorted(shares)


def test_one_that_turns_bad_gets_nothing_any_more(gateway: Gateway, sides: dict[str, Backend]) -> None:
    begin(gateway, config(sides, "bad", canary(steps=[50, 100], every="30s", abort_if={"errors": "2%"})))
    served(gateway, 100)
    assert seen(gateway)["phase"] == "running"
    script(sides["next"]).status = "500 Broken"
    one = goes_on_until(gateway, "aborted")
    assert happened(one) == [("began", 50), ("aborted", 0)]
    assert one["history"][1]["at"] - one["history"][0]["at"] < 30, "within the step"
    assert one["history"][1]["why"].startswith("errors: ")
    until(lambda: served(gateway) == {"shop": 100}, "all go to the old service")
    (event,) = [event for event in gateway.events() if event.get("route") == "bad" and "aborted" in event["event"]]
    assert event["level"] == "WARNING"
    script(sides["next"]).status = "200 OK"
    assert served(gateway) == {"shop": 100}, "it stays so"


def test_one_that_is_down_gets_nothing_any_more(gateway: Gateway, sides: dict[str, Backend]) -> None:
    """Its share goes to the old service: clients see nothing of it."""
    with Refusing() as dead:
        check = {"path": "/h", "interval": "100ms", "unhealthy_after": 1}
        written = config(sides, "down", canary(steps=[50, 100], every="1s", to="dead", abort_if={"errors": "2%"}))
        written["services"]["dead"] = {"url": dead.url, "health_check": check}
        written["routes"].append({"path": "/ready", "service": "dead"})
        begin(gateway, written)
        until(lambda: gateway.get("/ready").status == 503, "it is known to be down")
        assert served(gateway) == {"shop": 100}
        one = goes_on_until(gateway, "aborted")
    assert happened(one) == [("began", 50), ("aborted", 0)]


def test_one_that_turns_slow_gets_nothing_any_more(gateway: Gateway, sides: dict[str, Backend]) -> None:
    begin(gateway, config(sides, "slow", canary(steps=[50], abort_if={"p99": "2x"})))
    script(sides["shop"]).delay = 0.01
    script(sides["next"]).delay = 0.3
    one = goes_on_until(gateway, "aborted")
    assert one["history"][1]["why"].startswith("p99: ")


def test_a_step_waits_for_requests(gateway: Gateway, sides: dict[str, Backend]) -> None:
    begin(gateway, config(sides, "few", canary(every="1s", min_requests=10_000)))
    served(gateway, 20)
    one = until(lambda: (one := seen(gateway))["elapsed"] > 1 and one["waits_for"].endswith("requests") and one)
    assert (one["phase"], one["step"]) == ("running", 1)


def test_steered(gateway: Gateway, sides: dict[str, Backend]) -> None:
    begin(gateway, config(sides, "steered", canary(abort_if={"errors": "2%"})))
    assert steer(gateway, "steered", "promote", who="anna", why="it is fine")["share"] == 100
    assert served(gateway) == {"next": 100}
    assert steer(gateway, "steered", "abort")["share"] == 0
    assert served(gateway) == {"shop": 100}
    assert steer(gateway, "steered", "retry")["share"] == 25
    assert steer(gateway, "steered", "pause")["phase"] == "paused"
    one = steer(gateway, "steered", "resume")
    told = [(entry["who"], entry["what"], entry["why"]) for entry in one["history"]]
    assert told == [
        ("gateway", "began", ""),
        ("anna", "promoted", "it is fine"),
        ("admin API", "aborted", ""),
        ("admin API", "retried", ""),
        ("admin API", "paused", ""),
        ("admin API", "resumed", ""),
    ]


@pytest.mark.parametrize(
    ("path", "body", "status", "detail"),
    [
        ("refused/retry", None, 409, "the canary of refused cannot retry: it is running, not aborted"),
        ("refusd/abort", None, 404, "the route refusd has no canary; did you mean refused?"),
        ("refused/stop", None, 404, "there is no stop: expected one of abort, retry, promote, pause, resume"),
        ("refused/abort", {"reason": "x"}, 422, "reason"),
        ("refused/abort", {"why": "x" * 5000}, 422, "4096 bytes at most"),
    ],
)
def test_what_is_refused(
    gateway: Gateway, sides: dict[str, Backend], path: str, body: dict[str, Any] | None, status: int, detail: str
) -> None:
    begin(gateway, config(sides, "refused", canary()))
    answer = admin(gateway, "POST", f"/admin/canaries/{path}", body)
    assert (answer.status, answer.get("content-type")) == (status, "application/problem+json")
    assert detail in answer.json()["detail"]
    foreign = ask(gateway.admin_port, "POST", "/admin/canaries/refused/abort", "Host: evil.example")
    assert foreign.status == 403
    assert seen(gateway)["phase"] == "running"


def test_a_promotion_is_taken_back(gateway: Gateway, sides: dict[str, Backend]) -> None:
    """argoproj/argo-rollouts#4461: an abort after a promotion of what is unhealthy has to be obeyed."""
    begin(gateway, config(sides, "hasty", canary(abort_if={"errors": "2%"})))
    script(sides["next"]).status = "500 Broken"
    steer(gateway, "hasty", "promote")
    assert served(gateway) == {"500": 100}
    steer(gateway, "hasty", "abort")
    assert served(gateway) == {"shop": 100}
    script(sides["next"]).status = "200 OK"
    steer(gateway, "hasty", "retry")
    served(gateway)
    one = until(lambda: (one := seen(gateway))["counted"]["next"]["requests"] and one)
    assert one["phase"] == "running", "what was wrong before is not counted again"
    assert one["counted"]["next"]["errors"] == 0


def test_kept_over_reloads_and_a_killed_control(gateway: Gateway, sides: dict[str, Backend]) -> None:
    written = config(sides, "kept", canary(every="2s", steps=[25, 50], min_requests=0))
    begin(gateway, written)
    one = until(lambda: (one := seen(gateway))["step"] == 2 and one, "it has stepped up")
    begin(gateway, written | {"routes": [*written["routes"], {"path": "/more", "respond": 204}]})
    again = seen(gateway)
    assert (again["step"], again["history"]) == (2, one["history"])
    assert again["elapsed"] >= one["elapsed"]
    os.kill(gateway.control(), signal.SIGKILL)
    gateway.clean = False  # that is an event
    until(lambda: gateway.get("/metrics").status == 200 and seen(gateway)["elapsed"] > again["elapsed"])
    assert seen(gateway)["history"] == one["history"]
    other = config(sides, "kept", canary(to="other", steps=[25, 50]))
    begin(gateway, other)
    one = seen(gateway)
    assert happened(one) == [("began", 25)]
    assert one["history"][0]["why"] == "in place of shop to next, which was running at 50 %"
    assert set(served(gateway)) == {"shop", "other"}
    begin(gateway, config(sides, "kept", canary(to="other", steps=[10, 50])))
    assert happened(seen(gateway)) == [("began", 10)], "other steps are another canary"
    begin(gateway, {"services": dict(sides)})
    assert admin(gateway, "GET", "/admin/canaries").json()["canaries"] == []
    begin(gateway, written)
    assert happened(seen(gateway)) == [("began", 25)], "it was forgotten"


def test_a_new_worker_goes_by_the_same(gateway: Gateway, sides: dict[str, Backend]) -> None:
    begin(gateway, config(sides, "worker", canary()))
    steer(gateway, "worker", "promote")
    before = gateway.workers()
    os.kill(before[0], signal.SIGKILL)
    gateway.clean = False  # that is an event
    until(lambda: len({*gateway.workers()} - {*before}) == 1 and len(gateway.workers()) == 2, "there is another one")
    assert served(gateway) == {"next": 100}


def test_the_file_is_changed_as_it_was_advised(gateway: Gateway, sides: dict[str, Backend]) -> None:
    """No request goes to the old service again, which may be gone by then."""
    written = config(sides, "done", canary())
    begin(gateway, written)
    steer(gateway, "done", "promote")
    script(sides["shop"]).status = "500 Gone"
    found: Counter[str] = Counter()
    is_over = threading.Event()

    def go_on() -> None:
        while not is_over.is_set():
            found.update(served(gateway, 20))

    clients = [threading.Thread(target=go_on) for _ in range(2)]
    for client in clients:
        client.start()
    try:
        for after in ({"service": "next"}, {"service": "next", "canary": canary(to="other", steps=[50])}):
            begin(gateway, written | {"routes": [{"name": "done", "path": "/", **after}]})
    finally:
        is_over.set()
        for client in clients:
            client.join()
    assert set(found) <= {"next", "other"}
    assert found["next"]


def test_kept_over_a_restart(sides: dict[str, Backend]) -> None:
    written = config(sides, "restart", canary())
    with Gateway(written) as own:
        own.wait_for_control()
        steer(own, "restart", "promote")
        before = seen(own)
        own.stop()
        again = Gateway(env={"XDG_STATE_HOME": str(own.directory)})
        again.file = own.file
        with again:
            assert served(again) == {"next": 100}, "from the first request on"
            again.wait_for_control()
            assert seen(again)["history"] == before["history"]
            told = {event["event"]: event for event in again.events()}
            assert told["the canary goes on where it was"].items() >= {"share": "100 %", "phase": "promoted"}.items()
            assert "write service: next in the route, in place of service: shop and canary" in told


def test_clients_stay_on_the_new_side(gateway: Gateway, sides: dict[str, Backend]) -> None:
    begin(gateway, config(sides, "sticky", canary(steps=[20, 60, 100]), sticky={"header": "X-User"}))

    def on_the_new_side() -> set[int]:
        with gateway.wire() as wire:
            return {user for user in range(100) if wire.ask("GET", "/", f"X-User: {user}").body == b"next"}

    first = on_the_new_side()
    assert 5 <= len(first) <= 40
    assert on_the_new_side() == first
    steer(gateway, "sticky", "promote")
    assert on_the_new_side() == set(range(100))
    steer(gateway, "sticky", "abort")
    assert on_the_new_side() == set()
    steer(gateway, "sticky", "retry")
    assert on_the_new_side() == first


def test_commands(gateway: Gateway, sides: dict[str, Backend]) -> None:
    begin(gateway, config(sides, "commands", canary()))
    at = ("--admin", f"127.0.0.1:{gateway.admin_port}")
    said = run_portico("canary", "abort", "commands", "--why", "looks odd", *at)
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith("commands is aborted: next gets 0 % of the requests, in ")
    listed = run_portico("canary", "list", *at)
    assert listed.stdout.splitlines()[1].split()[:4] == ["commands", "shop", "next", "aborted"]
    history = run_portico("canary", "list", "commands", *at)
    assert "looks odd" in history.stdout.splitlines()[-1]
    found = json.loads(run_portico("canary", "list", "--json", *at).stdout)
    assert found["canaries"][0]["phase"] == "aborted"
    refused = run_portico("canary", "resume", "commands", *at)
    assert (refused.returncode, refused.stderr.strip()) == (
        1,
        "portico: the canary of commands cannot resume: it is aborted, not paused; see retry",
    )
    unknown = run_portico("canary", "list", "nothing", *at)
    assert (unknown.returncode, "has no canary" in unknown.stderr) == (1, True)
