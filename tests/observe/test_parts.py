"""What is counted of routes and instances, and what is forgotten of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from portico.core.exchange import Exchange
from portico.observe.parts import Parts, add_up_parts


def exchange(**given: Any) -> Exchange:
    handling = SimpleNamespace(service_name="shop", version=given.pop("version", None))
    match = SimpleNamespace(handling=handling, route=SimpleNamespace(name=given.pop("route", "cart")))
    usual = {"match": match, "status": 200, "started": 1.0, "ended": 1.25, "upstream": "a:80", "upstream_seconds": 0.2}
    return cast(Exchange, SimpleNamespace(**{**usual, **given}))


def test_a_route_takes_the_whole_time_and_an_instance_its_own() -> None:
    parts = Parts()
    parts.observe_route(exchange())
    parts.observe_instance(exchange())
    found = parts.dump(lambda: ["cart"], lambda: {("shop", "a:80"): "http://a:80"})
    ((service, route, statuses, buckets, seconds),) = found["by_route"]
    assert (service, route, statuses, sum(buckets), seconds) == ("shop", "cart", [(200, 1)], 1, 0.25)
    ((service, url, _, _, seconds),) = found["by_instance"]
    assert (service, url, seconds) == ("shop", "http://a:80", 0.2)


def test_a_tunnel_takes_until_it_is_open() -> None:
    parts = Parts()
    parts.observe_route(exchange(status=101, ended=1000.0))
    assert parts.dump(lambda: ["cart"], dict)["by_route"][0][4] == 0.2


def test_a_request_that_no_instance_got_is_none_of_theirs() -> None:
    parts = Parts()
    parts.observe_instance(exchange(upstream=None, status=429))
    assert parts.dump(list, dict) == {"by_route": [], "by_instance": []}


def test_versions_have_instances_of_their_own_or_their_services() -> None:
    parts = Parts()
    parts.observe_instance(exchange(version="2"))
    parts.observe_instance(exchange(version="1"))
    urls = {("shop@2", "a:80"): "http://a:80", ("shop", "a:80"): "http://a:80"}
    assert [each[0] for each in parts.dump(list, lambda: urls)["by_instance"]] == ["shop@2", "shop"]


def test_what_is_gone_is_forgotten_however_many_there_were() -> None:
    parts = Parts()
    for number in range(500):
        parts.observe_instance(exchange(upstream=f"{number}:80"))
        parts.observe_route(exchange(route=f"route-{number}"))
        routes, urls = [f"route-{number}"], {("shop", f"{number}:80"): f"http://{number}:80"}
        found = parts.dump(routes.copy, urls.copy)
        assert [len(each) for each in found.values()] == [1, 1]
    assert parts.dump(list, dict) == {"by_route": [], "by_instance": []}
    assert not vars(parts)["_routes"]
    assert not vars(parts)["_instances"]


def test_workers_add_up() -> None:
    one = ["s", "a", [(200, 1)], [1, 0], 0.5]
    two = ["s", "a", [(200, 2), (502, 1)], [1, 2], 0.25]
    other = ["s", "b", [(200, 1)], [1, 0], 0.5]
    assert add_up_parts([one, other, two]) == [["s", "a", [(200, 3), (502, 1)], [2, 2], 0.75], other]
