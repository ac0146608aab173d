"""Several listeners of one gateway: who gets what where, and what changes while it runs."""

from __future__ import annotations

import json
import signal
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from support.authority import Authority, Leaf
from support.backend import Backend, Connection
from support.client import Wire, ask, request
from support.messages import Message
from support.metrics import metric
from support.portico import run_portico
from support.process import free_port
from support.traffic import traffic
from support.world import Gateway, until

BALANCER = "127.0.0.9"
PROXY = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 4433\r\n"
HERE = {"host": "127.0.0.1", "port": 0}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def leaves(authority: Authority) -> dict[str, Leaf]:
    return {name: authority.leaf(name, f"{name}.test", "localhost") for name in ("shop", "partner")}


@pytest.fixture(scope="module", params=[1, 2], ids=["one worker", "two workers"])
def gateway(request: pytest.FixtureRequest, leaves: dict[str, Leaf]) -> Iterator[Gateway]:
    listen = [
        {"name": "inside", **HERE},
        {"name": "plain", **HERE, "routes": ["rest"], "endpoints": False},
        {"name": "shop", **HERE, "tls": {**leaves["shop"].written, "redirect_from": 0}, "routes": ["orders", "rest"]},
        {"name": "partner", **HERE, "tls": leaves["partner"].written, "routes": ["echo"]},
        {"name": "balanced", **HERE, "proxy_protocol": True},
        {"name": "six", "host": "::1", "port": 0},
    ]
    with Backend() as backend:
        config = {
            "gateway": {"listen": listen, "workers": request.param, "trusted_proxies": [f"{BALANCER}/32"]},
            "services": {"echo": backend},
            "routes": [
                {"name": "orders", "service": "echo", "path": "/orders", "hosts": ["shop.test"], "methods": ["POST"]},
                {"name": "rest", "service": "echo", "path": "/rest"},
            ],
            "policies": {"headers": {"security": True}},
        }
        with Gateway(config) as own:
            own.wait_for_control()
            yield own


def secured(gateway: Gateway, listener: str, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> Wire:
    port = gateway.port_of(listener)
    plain = socket.create_connection(("127.0.0.1", port), timeout=20)
    return Wire(port, context.wrap_socket(plain, server_hostname="localhost", session=session))


def fields(answer: Message) -> dict[str, str]:
    """What the service was told."""
    assert answer.status == 200, answer
    return dict(answer.json()["fields"])


def test_a_near_miss(gateway: Gateway, authority: Authority) -> None:
    """The right host, method, path and listener are all needed; what is missing, the log shows."""
    context = authority.client_context()
    with secured(gateway, "shop", context) as wire:
        for host in ("shop.test", "shop.test.", "SHOP.test:8443"):
            assert wire.ask("POST", "/orders", f"Host: {host}", body=b"x").status == 200, host
        wrong_method = wire.ask("GET", "/orders", "Host: shop.test")
        wrong_path = wire.ask("POST", "/order", "Host: shop.test", body=b"")
    elsewhere = ask(gateway.port_of("plain"), "POST", "/orders", "Host: shop.test", body=b"")
    assert (wrong_method.status, wrong_method.get("allow")) == (405, "POST")
    said = [(answer.status, answer.json()["reason"]) for answer in (wrong_path, elsewhere)]
    assert said == [(404, "no_route")] * 2
    assert elsewhere.json()["detail"].startswith("no route of this listener")
    for answer, listener in ((wrong_method, "shop"), (wrong_path, "shop"), (elsewhere, "plain")):
        line = gateway.logged(answer.get("x-request-id"))
        assert (line["listener"], line["host"], line["route"]) == (listener, "shop.test", None)


def test_the_log_and_the_metric_have_the_listener(gateway: Gateway) -> None:
    counted = metric(gateway, "gateway_listener_requests_total", listener="plain", status="200") or 0
    answer = ask(gateway.port_of("plain"), "GET", "/rest/x", 'Host: a"b.test')
    assert answer.status == 400, "a host that is none is not logged"
    answer = ask(gateway.port_of("plain"), "GET", "/rest/x", "Host: any.test:81")
    line = gateway.logged(answer.get("x-request-id"))
    assert (line["listener"], line["host"], line["route"]) == ("plain", "any.test:81", "rest")
    until(
        lambda: metric(gateway, "gateway_listener_requests_total", listener="plain", status="200") == counted + 1,
        "the metric counts it",
    )


def test_bytes_that_are_no_request_have_a_listener_too(gateway: Gateway) -> None:
    with Wire(gateway.port_of("plain")) as wire:
        wire.send(b"rubbish\r\n\r\n")
        answer = wire.receive()
    assert answer.status == 400
    line = gateway.logged(answer.get("x-request-id"))
    assert (line["listener"], line.get("host")) == ("plain", None)


def test_each_has_its_own_certificate_and_sessions(
    gateway: Gateway, authority: Authority, leaves: dict[str, Leaf]
) -> None:
    context = authority.client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # a session is there after the handshake
    for name in ("shop", "partner"):
        with secured(gateway, name, context) as wire:
            assert isinstance(wire.socket, ssl.SSLSocket)
            own = ssl.PEM_cert_to_DER_cert(leaves[name].certificate.read_text().partition("-----END")[0] + END)
            assert wire.socket.getpeercert(binary_form=True) == own
            session = wire.socket.session
        for _ in range(4):  # at whatever worker
            with secured(gateway, name, context, session) as again:
                assert isinstance(again.socket, ssl.SSLSocket)
                assert again.socket.session_reused
                assert again.ask("GET", "/readyz").status == 200


END = "-----END CERTIFICATE-----\n"


def test_services_are_told_by_which_way_a_request_came(gateway: Gateway, authority: Authority) -> None:
    with secured(gateway, "shop", authority.client_context()) as wire:
        over_tls = wire.ask("GET", "/rest/x")
    plain = ask(gateway.port_of("plain"), "GET", "/rest/x")
    for answer, proto, name in ((over_tls, "https", "shop"), (plain, "http", "plain")):
        told = fields(answer)
        assert (told["X-Forwarded-Proto"], told["X-Forwarded-Port"]) == (proto, str(gateway.port_of(name)))
        assert (answer.get("strict-transport-security") is not None) == (proto == "https")


def test_the_redirecting_port_of_one(gateway: Gateway) -> None:
    answer = ask(gateway.redirecting_port, "GET", "/rest/x?y", "Host: shop.test")
    assert (answer.status, answer.get("location")) == (308, f"https://shop.test:{gateway.port_of('shop')}/rest/x?y")
    assert gateway.logged(answer.get("x-request-id"))["listener"] == "shop"


def test_plain_http_to_a_port_of_tls(gateway: Gateway) -> None:
    answer = ask(gateway.port_of("partner"), "GET", "/")
    assert (answer.status, answer.json()["reason"]) == (400, "malformed_request")
    assert gateway.logged(answer.get("x-request-id"))["listener"] == "partner"


def test_proxy_headers_at_one_alone(gateway: Gateway) -> None:
    with balanced(gateway, "balanced") as wire:
        wire.send(PROXY)
        told = fields(wire.ask("GET", "/rest/x"))
        assert (told["X-Forwarded-For"], told["X-Forwarded-Port"]) == ("192.0.2.7", "4433")
    with balanced(gateway, "inside") as wire:
        wire.send(PROXY + request("GET", "/rest/x"))
        assert wire.receive().status == 400
    with balanced(gateway, "inside") as wire:
        assert fields(wire.ask("GET", "/rest/x", "X-Forwarded-For: 192.0.2.8"))["X-Real-IP"] == "192.0.2.8"


def balanced(gateway: Gateway, listener: str) -> Wire:
    """A connection from the balancer's address."""
    port = gateway.port_of(listener)
    return Wire(port, socket.create_connection(("127.0.0.1", port), 20, source_address=(BALANCER, 0)))


def test_ipv6_beside_ipv4(gateway: Gateway) -> None:
    port = gateway.port_of("six")
    with Wire(port, socket.create_connection(("::1", port), 20)) as wire:
        answer = wire.ask("GET", "/rest/x")
    assert fields(answer)["X-Forwarded-For"] == "::1"
    assert gateway.logged(answer.get("x-request-id"))["client_ip"] == "::1"


def test_the_front_page_names_what_its_listener_serves(gateway: Gateway, authority: Authority) -> None:
    page = gateway.get("/").json()
    assert (page["services"], [*page["endpoints"]][:3]) == (["echo"], ["orders", "rest", "echo"])
    with secured(gateway, "partner", authority.client_context()) as wire:
        page = wire.ask("GET", "/").json()
        assert wire.ask("GET", "/listeners/inside").status == 404, "which is for the gateway itself alone"
    assert (page["services"], [*page["endpoints"]]) == (["echo"], ["echo", "health", "livez", "readyz", "metrics"])
    answer = ask(gateway.port_of("plain"), "GET", "/")
    assert (answer.status, answer.json()["reason"]) == (404, "no_route")


def test_all_addresses_are_said(gateway: Gateway) -> None:
    listening = [event["listener"] for event in gateway.events() if " listening on " in event["event"]]
    assert listening == ["inside", "plain", "shop", "partner", "balanced", "six"]
    where = ("--admin", f"127.0.0.1:{gateway.admin_port}")
    shown = json.loads(run_portico("status", "--json", *where).stdout)["listeners"]
    assert [(each["name"], each["url"].rpartition(":")[0]) for each in shown] == [
        ("inside", "http://127.0.0.1"),
        ("plain", "http://127.0.0.1"),
        ("shop", "https://127.0.0.1"),
        ("partner", "https://127.0.0.1"),
        ("balanced", "http://127.0.0.1"),
        ("six", "http://[::1]"),
    ]
    lines = run_portico("status", *where).stdout.splitlines()
    assert f"listening on https://127.0.0.1:{gateway.port_of('shop')} (shop)" in lines


# ---- while it runs


def written(*listen: dict[str, Any], workers: int = 1, **services: Any) -> dict[str, Any]:
    return {"gateway": {"listen": [*listen], "workers": workers}, "services": services}


def reload(gateway: Gateway, config: dict[str, Any]) -> Message:
    gateway.write(config)
    return ask(gateway.admin_port, "POST", "/admin/reload", "Host: localhost")


def is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 20).close()
    except ConnectionRefusedError:
        return True
    return False


def is_served(port: int, target: str = "/api/echo/x", status: int = 200) -> bool:
    try:
        return ask(port, "GET", target).status == status
    except OSError:
        return False


def test_its_routes_change_by_a_reload_at_once(backend: Backend) -> None:
    one, other = {"name": "one", **HERE, "routes": ["a"]}, {"name": "other", **HERE}
    with Gateway(written(one, other, a=backend, b=backend)) as gateway, Wire(gateway.port) as kept:
        gateway.wait_for_control()
        workers = gateway.workers()
        ports = [gateway.port_of(name) for name in ("one", "other")]
        assert [kept.ask("GET", path).status for path in ("/api/a/x", "/api/b/x", "/health")] == [200, 404, 200]
        changed = {**one, "routes": ["b"], "endpoints": "off"}
        assert reload(gateway, written(changed, other, a=backend, b=backend)).status == 200
        assert [kept.ask("GET", path).status for path in ("/api/a/x", "/api/b/x", "/health")] == [404, 200, 404]
        assert is_served(ports[1], "/api/a/x")
        gateway.clean = False  # what is refused is an event of level ERROR
        refused = reload(gateway, written({**one, "routes": ["c"]}, other, a=backend, b=backend))
        assert refused.status == 422
        assert 'gateway.listen[0].routes[0]: there is no route "c"' in refused.json()["detail"]
        assert kept.ask("GET", "/api/b/x").status == 200
        assert gateway.workers() == workers, "no worker had to be replaced for that"


@pytest.mark.parametrize("workers", [1, 2])
def test_listeners_come_and_go_by_a_reload(backend: Backend, leaves: dict[str, Leaf], workers: int) -> None:
    """Nothing is lost at those that stay, nor at the one that goes."""
    stays, goes, comes = free_port(), free_port(), free_port()
    at = {"host": "127.0.0.1"}
    stay, go = {"name": "stay", **at, "port": stays}, {"name": "go", **at, "port": goes}
    with Gateway(written(stay, go, workers=workers, echo=backend)) as gateway:
        gateway.wait_for_control()
        old = set(gateway.workers())
        come = {"name": "come", **at, "port": comes, "tls": leaves["shop"].written}
        is_over = False
        with traffic(stays, lambda: not is_over) as kept, traffic(goes) as going:
            try:
                assert reload(gateway, written(stay, come, workers=workers, echo=backend)).status == 200
                assert going.refused.wait(30), "the one that goes is closed"
                until(lambda: len(gateway.workers()) == workers and not old & set(gateway.workers()), "all are new")
                assert is_served(comes, status=400), "it speaks TLS"
            finally:
                is_over = True
        for driven in (kept, going):
            assert driven.dropped == []
            assert set(driven.statuses) == {200}
        assert not kept.refused.is_set()
        status = ask(gateway.admin_port, "GET", "/admin/status", "Host: localhost").json()
        assert [(each["name"], each["url"]) for each in status["listeners"]] == [
            ("stay", f"http://127.0.0.1:{stays}"),
            ("come", f"https://127.0.0.1:{comes}"),
        ]
        said = {event["event"]: event.get("listener") for event in gateway.events()}
        assert said[f"no longer listening on 127.0.0.1:{goes}"] == "go"
        assert {event: name for event, name in said.items() if event.endswith(f"https://127.0.0.1:{comes}")}


def test_one_address_becomes_two_and_back(backend: Backend) -> None:
    """A key, a name and a port may change; who is there is served."""
    first, second = free_port(), free_port()
    one: dict[str, Any] = {"gateway": {"host": "127.0.0.1", "port": first}, "services": {"echo": backend}}
    two = written(
        {"name": "a", "host": "127.0.0.1", "port": first}, {"host": "127.0.0.1", "port": second}, echo=backend
    )
    with Gateway(one) as gateway:
        gateway.wait_for_control()
        assert "listener" not in gateway.logged(gateway.get("/api/echo/x").get("x-request-id"))
        assert reload(gateway, two).status == 200
        until(lambda: is_served(second), "the second is there")
        until(lambda: len(gateway.workers()) == 1, "the old worker has left")
        assert gateway.logged(gateway.get("/api/echo/y").get("x-request-id"))["listener"] == "a"
        one["gateway"]["port"] = second
        assert reload(gateway, one).status == 200
        until(lambda: is_refused(first), "the first is closed")
        assert is_served(second)
        gateway.port = second


def test_an_address_turns_to_tls_and_a_port_redirects_to_it(
    backend: Backend, authority: Authority, leaves: dict[str, Leaf]
) -> None:
    port, redirecting = free_port(), free_port()
    config: dict[str, Any] = {"gateway": {"host": "127.0.0.1", "port": port}, "services": {"echo": backend}}
    with Gateway(config) as gateway:
        gateway.wait_for_control()
        config["gateway"]["tls"] = {**leaves["shop"].written, "redirect_from": redirecting}
        assert reload(gateway, config).status == 200
        until(lambda: is_served(redirecting, status=308), "it redirects")
        until(lambda: len(gateway.workers()) == 1, "the old worker has left")
        with socket.create_connection(("127.0.0.1", port), 20) as plain:
            context = authority.client_context()
            with Wire(port, context.wrap_socket(plain, server_hostname="localhost")) as wire:
                assert wire.ask("GET", "/api/echo/x").status == 200
        del config["gateway"]["tls"]
        assert reload(gateway, config).status == 200
        until(lambda: is_refused(redirecting), "the redirecting port is closed")
        until(lambda: is_served(port), "it is plain again")


def test_a_reload_that_cannot_listen_changes_nothing(backend: Backend) -> None:
    with (
        Gateway(written({"name": "a", **HERE}, echo=backend)) as gateway,
        socket.create_server(("127.0.0.1", 0)) as taken,
    ):
        gateway.wait_for_control()
        port = taken.getsockname()[1]
        inside = {"name": "inside", "host": "127.0.0.1", "port": port}
        answer = reload(gateway, written({"name": "a", **HERE}, inside, echo=backend))
        assert answer.status == 422
        assert answer.json()["detail"] == (
            f"cannot listen on 127.0.0.1:{port} (listener inside): Address already in use; "
            "stop what uses it, or give it another port"
        )
        gateway.clean = False  # what is refused is an event of level ERROR
        assert is_served(gateway.port)
        taken.close()
        gateway.write(written({"name": "a", **HERE}, inside, echo=backend))
        gateway.signal(signal.SIGHUP)
        until(lambda: is_served(port), "the same is taken over once it can be")
        answer = reload(gateway, written({**inside, "host": "0.0.0.0"}, echo=backend))
        assert answer.status == 422
        assert answer.json()["detail"].endswith("or restart the gateway, which listens there at another host now")


def test_a_rolling_restart_and_a_drain_are_of_all_listeners(backend: Backend) -> None:
    asked: list[str] = []

    def slow(connection: Connection) -> None:
        while (message := connection.next_request()) is not None:
            asked.append(message.target)
            if message.target == "/slow":
                until(lambda: is_refused(ports[0]) and is_refused(ports[1]), "both are closed")
            connection.answer(b"12345")

    backend.script = slow
    listen = ({"name": "a", **HERE}, {"name": "b", **HERE, "routes": ["echo"]})
    with Gateway(written(*listen, workers=2, echo=backend)) as gateway:
        gateway.wait_for_control()
        ports = [gateway.port_of(name) for name in "ab"]
        is_over = False
        with traffic(ports[1], lambda: not is_over) as driven:
            try:
                old = set(gateway.workers())
                gateway.signal(signal.SIGUSR1)
                until(lambda: len(gateway.workers()) == 2 and not old & set(gateway.workers()), "all are new")
            finally:
                is_over = True
        assert (driven.dropped, set(driven.statuses)) == ([], {200})
        with Wire(ports[0]) as first, Wire(ports[1]) as second:
            for wire in (first, second):
                wire.send(request("GET", "/api/echo/slow"))
            until(lambda: asked.count("/slow") == 2, "both are under way")
            gateway.signal(signal.SIGTERM)
            for wire in (first, second):
                answer = wire.receive()
                assert (answer.status, answer.get("connection")) == (200, "close")
        gateway.stop()
