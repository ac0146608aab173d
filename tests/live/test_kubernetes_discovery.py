"""Services whose pods an API server of Kubernetes knows."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.api_server import ApiServer, endpoint, endpoint_slice, status
from support.authority import Authority
from support.backend import Backend
from support.client import ask
from support.world import Gateway, alive, until

PODS = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
TOKEN = "the account's token"


class Cluster:
    """An API server, three pods that listen on one port each, and a gateway that watches."""

    def __init__(
        self, server: ApiServer, pods: dict[str, Backend], gateway: Gateway, token_file: Path, config: dict[str, Any]
    ) -> None:
        self.server = server
        self.config = config
        self.pods = pods
        self.gateway = gateway
        self.token_file = token_file
        self.port = pods[PODS[0]].port

    def slice(self, name: str, *endpoints: dict[str, Any], **ports: int) -> dict[str, Any]:
        return endpoint_slice(name, "orders", endpoints, ports or {"http": self.port})

    def has(self, *endpoints: dict[str, Any]) -> None:
        """The Service has these endpoints, in one slice, and no others."""
        self.server.put(self.slice("orders-1", *endpoints))

    def answering(self, service: str = "orders") -> set[str]:
        """Which pods answer: six requests go round all of three."""
        answers = [self.gateway.get(f"/api/{service}/x") for _ in range(6)]
        return {answer.json()["backend"] if answer.status == 200 else str(answer.status) for answer in answers}

    def answer(self, *pods: str, service: str = "orders") -> None:
        until(lambda: self.answering(service) == {*pods}, f"{pods} answer")

    def asked(self, kind: str) -> list[dict[str, str]]:
        """The parameters of every request to `list` or `watch` the Service."""
        return self.server.requests_to(kind, "orders")

    def versions(self) -> list[str]:
        """What its watches began at."""
        return [wanted["resourceVersion"] for wanted in self.asked("watch")]

    def events(self, about: str) -> list[dict[str, Any]]:
        return [event for event in self.gateway.events() if about in event["event"]]

    def shown(self) -> list[dict[str, Any]]:
        """The instances of `orders` as the admin API shows them."""
        answer = ask(self.gateway.admin_port, "GET", "/admin/services", "Host: localhost")
        (service,) = (each for each in answer.json()["services"] if each["name"] == "orders")
        found: list[dict[str, Any]] = service["instances"]
        return found

    def about_orders(self, what: str) -> list[dict[str, Any]]:
        return [event for event in self.events(f"{what} watched") if event["service"] == "orders"]

    def problem(self, service: str = "orders") -> str:
        said = self.gateway.get("/health").json()["services"][service]
        return str(said.get("error", ""))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    authority = Authority(folder / "authority")
    token_file = folder / "token"
    token_file.write_text(TOKEN)
    first = Backend(name=PODS[0], host=PODS[0])
    others = [Backend(name=pod, host=pod, port=first.port) for pod in PODS[1:]]
    tls = authority.server_context(authority.leaf("api", "127.0.0.1"))
    account = {"token_file": str(token_file), "ca_file": str(authority.ca), "namespace": "shop"}
    unchecked = {"health_check": False}
    services = {
        "orders": {"discover": "kubernetes", **unchecked},
        "first": {"discover": {"kubernetes": {"service": "two", "port": "app1"}}, **unchecked},
        "second": {"discover": {"kubernetes": {"service": "two", "port": "app2"}}, **unchecked},
        "wrong": {"discover": {"kubernetes": {"service": "two", "port": "app3"}}, **unchecked},
    }
    with ApiServer(token_file, tls=tls) as server, first, others[0], others[1]:
        config = {"gateway": {"kubernetes": {"url": server.url, **account}}, "services": services}
        with Gateway(config) as gateway:
            gateway.clean = False  # a wrong port is an error
            yield Cluster(server, {each.name: each for each in (first, *others)}, gateway, token_file, config)


@pytest.fixture(autouse=True)
def _fresh(cluster: Cluster) -> None:
    """Every test begins with three pods, and with a watch that works."""
    cluster.server.watch_seconds = 3600.0
    for (namespace, name), own in [*cluster.server.slices.items()]:
        if own["metadata"]["labels"]["kubernetes.io/service-name"] == "orders" and name != "orders-1":
            cluster.server.delete(name, namespace)
    cluster.has(*map(endpoint, PODS))
    cluster.answer(*PODS)


def test_pods_come_and_go_by_their_conditions(cluster: Cluster) -> None:
    a, b, c = PODS
    cluster.has(endpoint(a, ready=True), endpoint(b, ready=False, serving=False), endpoint(c, ready=True))
    cluster.answer(a, c)
    cluster.has(endpoint(a), endpoint(b), endpoint(c, ready=False, serving=True, terminating=True))
    cluster.answer(a, b)
    cluster.has(endpoint(a, ready=True, serving=True, terminating=True), endpoint(b))  # publishNotReadyAddresses
    cluster.answer(b)
    cluster.has(endpoint(a, ready=False, serving=True, terminating=True), endpoint(b, ready=False, terminating=True))
    cluster.answer(a)
    cluster.has()
    cluster.answer("503")
    assert cluster.shown() == []


def test_nobody_registers_what_kubernetes_knows(cluster: Cluster) -> None:
    (instance, *_) = cluster.shown()
    path = f"/admin/registry/orders/{instance['id']}"
    for method, more in (("PUT", ""), ("POST", "/heartbeat"), ("DELETE", "")):
        body = b'{"url": "http://127.0.0.9:1"}'
        answer = ask(cluster.gateway.admin_port, method, path + more, "Host: localhost", body=body)
        assert answer.status == 422, answer.body
        assert "kubernetes knows the instances of orders" in answer.json()["detail"]
    assert len(cluster.shown()) == 3


def test_several_slices_are_one_service_and_a_pod_in_two_counts_once(cluster: Cluster) -> None:
    a, b, c = PODS
    cluster.server.put(
        cluster.slice("orders-1", endpoint(a, pod="a")),
        cluster.slice("orders-2", endpoint(b, pod="b"), endpoint(a, pod="a", ready=False)),
        endpoint_slice("other-1", "other", [endpoint(c)], {"http": cluster.port}),
        endpoint_slice("orders-9", "orders", [endpoint(c)], {"http": cluster.port}, namespace="elsewhere"),
        endpoint_slice("orders-6", "orders", [endpoint("::1", pod="a")], {"http": cluster.port}, "IPv6"),
        endpoint_slice("orders-7", "orders", [endpoint("a.example")], {"http": cluster.port}, "FQDN"),
    )
    cluster.answer(a, b)
    shown = [(each["url"], each["source"]) for each in cluster.shown()]
    assert sorted(shown) == [(f"http://{pod}:{cluster.port}", "kubernetes") for pod in (a, b)]
    cluster.server.delete("orders-2")
    cluster.answer(a)


def test_two_applications_of_one_service_have_their_own_ports(cluster: Cluster) -> None:
    a, b, c = PODS
    with Backend(name="other port", host=c) as elsewhere, Backend(name="six", host="::1") as six:
        cluster.server.put(
            endpoint_slice("two-1", "two", [endpoint(a, b)], {"app1": cluster.port}),
            endpoint_slice("two-2", "two", [endpoint(b)], {"app2": cluster.port}),
            endpoint_slice("two-3", "two", [endpoint(c)], {"app1": elsewhere.port}),
            endpoint_slice("two-4", "two", [endpoint("::1")], {"app2": six.port}, "IPv6"),
        )
        cluster.answer(a, "other port", service="first")
        cluster.answer(b, "six", service="second")
        cluster.answer("503", service="wrong")
        until(lambda: "app1" in cluster.problem("wrong"), "the page says which ports there are")
        page = cluster.gateway.get("/metrics").body.decode()
        assert 'gateway_discovery_up{service="wrong"} 0.0' in page
        assert 'gateway_discovery_up{service="first"} 1.0' in page
        (event,) = cluster.events("the port of a service in Kubernetes is wrong")[-1:]
        assert (event["level"], event["service"]) == ("ERROR", "wrong")
        assert event["reason"].startswith("it has no port app3: write one of app1 (")
        assert f"app2 ({cluster.port})" in event["reason"]


def test_a_reload_changes_what_is_asked_for(cluster: Cluster) -> None:
    """Another port of a Service that is watched already, and another Service."""
    a, b, c = PODS
    cluster.server.put(
        endpoint_slice("two-1", "two", [endpoint(a)], {"app1": cluster.port}),
        endpoint_slice("two-2", "two", [endpoint(b)], {"app2": cluster.port}),
        endpoint_slice("other-1", "other", [endpoint(c)], {"http": cluster.port}),
    )
    for name in ("two-3", "two-4"):
        if ("shop", name) in cluster.server.slices:
            cluster.server.delete(name)
    cluster.answer(a, service="first")
    services = cluster.config["services"]
    changed = {
        "orders": {**services["orders"], "discover": {"kubernetes": "other"}},
        "first": {**services["first"], "discover": {"kubernetes": {"service": "two", "port": "app2"}}},
    }
    watches = len(cluster.server.requests_to("watch", "two"))
    cluster.gateway.write({**cluster.config, "services": changed})
    cluster.gateway.reload()
    cluster.answer(b, service="first")
    cluster.answer(c)
    assert len(cluster.server.requests_to("watch", "two")) == watches, "the same watch serves the other port"
    cluster.gateway.write(cluster.config)
    cluster.gateway.reload()
    cluster.answer(a, service="first")
    cluster.answer(*PODS)


def test_a_watch_that_is_too_old_begins_with_a_new_list(cluster: Cluster) -> None:
    """C30: in the body, as a status, and where the version is one that another server had."""
    a, b, c = PODS
    gone = status(410, "Expired", "too old resource version: 1 (2)")
    too_large = status(504, "Timeout", "Too large resource version: 9, current: 1")
    for refused in ([], [gone], [too_large]):
        lists, warned = len(cluster.asked("list")), len(cluster.events("cannot be watched"))
        stale = cluster.versions()[-1]
        cluster.server.refuse["watch", "orders"] = [*refused]
        cluster.server.compact()
        cluster.server.slices["shop", "orders-1"]["endpoints"] = [endpoint(b), endpoint(c)]  # while nobody watched
        cluster.server.end_watches(None if refused else gone)
        cluster.answer(b, c)
        assert not any(target == a for target in cluster.answering())
        until(lambda lists=lists: len(cluster.asked("list")) > lists, "a list")  # type: ignore[misc]
        assert all("resourceVersion" not in each for each in cluster.asked("list"))
        assert cluster.versions().count(stale) <= 2, "none begins at the stale version again and again"
        assert len(cluster.events("cannot be watched")) - warned <= 1
        cluster.has(*map(endpoint, PODS))
        cluster.answer(*PODS)


def test_watches_that_end_go_on_where_they_were(cluster: Cluster) -> None:
    cluster.server.watch_seconds = 1.2
    lists = len(cluster.asked("list"))
    cluster.server.bookmark()
    cluster.server.end_watches()
    watches = len(cluster.asked("watch"))
    until(lambda: len(cluster.asked("watch")) >= watches + 4, "watches begin anew")
    cluster.has(endpoint(PODS[1]))
    cluster.answer(PODS[1])
    assert len(cluster.asked("list")) == lists, "a bookmark's version, and an ended watch's, need no list"
    assert int(cluster.versions()[-1]) >= cluster.server.version - 1


def test_what_is_known_outlives_control(cluster: Cluster) -> None:
    """Also while nobody can be asked."""
    server = cluster.server
    cluster.has(endpoint(PODS[2]))
    cluster.answer(PODS[2])
    control = cluster.gateway.control()
    server.refuse["list", "orders"] = [status(500, "InternalError", "no leader")]
    os.kill(control, signal.SIGKILL)
    until(lambda: not alive(control))
    cluster.gateway.wait_for_control()
    assert cluster.answering() == {PODS[2]}
    cluster.has(endpoint(PODS[1]))
    cluster.answer(PODS[1])


def test_what_is_known_goes_on_while_the_server_is_away(cluster: Cluster) -> None:
    cluster.gateway.get("/api/orders/x")
    told, again = len(cluster.about_orders("cannot be")), len(cluster.about_orders("is"))
    server = cluster.server
    token = cluster.token_file.read_text()
    cluster.token_file.write_text("another token")  # kubelet has replaced it: the old one is refused from now on
    server.end_watches()
    cluster.has(endpoint(PODS[0]))
    cluster.answer(PODS[0])
    server.refuse["list", "orders"] = [status(500, "InternalError", "etcdserver: leader changed")]
    server.refuse["watch", "orders"] = [status(403, "Forbidden", "endpointslices is forbidden")]
    server.end_watches()
    until(lambda: len(cluster.about_orders("cannot be")) > told, "an event")
    assert cluster.answering() == {PODS[0]}
    server.delete("orders-1")
    cluster.answer("503")
    until(lambda: len(cluster.about_orders("is")) > again, "another event")
    assert len(cluster.about_orders("cannot be")) == told + 1
    cluster.token_file.write_text(token)
