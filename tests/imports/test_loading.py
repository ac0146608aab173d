"""What is written loads: what would not is closed, or left out, and said with the source's line."""

from __future__ import annotations

import pytest

from portico.config import load_text
from portico.imports import Draft, Part, SourceError, Variable, Where, finished


def draft(*routes: Part) -> Draft:
    made = Draft("source.conf", "nginx")
    made.services["shop"] = Part(Where("source.conf", 2), {"default_routes": False, "url": "http://127.0.0.1:9001"})
    made.routes += routes
    return made


def route(line: int, **data: object) -> Part:
    return Part(Where("source.conf", line), {"name": f"r{line}", "service": "shop", **data})


def test_what_loads_is_left_as_it_is() -> None:
    made = draft(route(5, path="/a"))
    assert finished(made, "portico.yaml").text == made.text()


def test_a_route_that_does_not_load_is_closed() -> None:
    imported = finished(draft(route(5, path="/a", retries="many"), route(6, path="/b")), "portico.yaml")
    config = load_text(imported.text, "portico.yaml", {})
    closed = next(each for each in config.routes if each.name == "r5")
    assert (closed.path, closed.service, closed.respond is not None) == ("/a", None, True)
    assert [(remark.line, remark.kind) for remark in imported.remarks] == [(5, "left")]
    assert "source.conf:5: route r5: it answers 503, as it does not load: routes[0].retries" in imported.text


def test_a_route_whose_path_does_not_load_is_left_out() -> None:
    imported = finished(draft(route(5, path="~ ^/(a"), route(6, path="/b")), "portico.yaml")
    assert [each.name for each in load_text(imported.text, "portico.yaml", {}).routes] == ["r6"]
    assert [str(remark)[:45] for remark in imported.remarks] == ["source.conf:5: left: route r5: it does not lo"]


def test_the_routes_of_a_service_that_does_not_load_are_closed() -> None:
    made = draft(route(5, path="/a"), Part(Where("source.conf", 6), {"name": "r6", "path": "/b", "service": "other"}))
    made.services["other"] = Part(Where("source.conf", 3), {"url": "http://127.0.0.1:70000"})
    imported = finished(made, "portico.yaml")
    config = load_text(imported.text, "portico.yaml", {})
    assert set(config.services) == {"shop"}
    assert [each.respond is not None for each in config.routes] == [False, True]


def test_a_key_of_the_gateway_that_does_not_load_is_left_out() -> None:
    made = draft(route(5, path="/a"))
    made.gateway.data = {"port": 8080, "workers": "many"}
    imported = finished(made, "portico.yaml")
    assert load_text(imported.text, "portico.yaml", {}).gateway.port == 8080
    assert [remark.kind for remark in imported.remarks] == ["left"]


def test_policies_of_all_routes_that_do_not_load_are_refused() -> None:
    made = draft(route(5, path="/a"))
    made.policies.data = {"ip_filter": {"allow": ["nowhere"]}}
    with pytest.raises(SourceError, match="does not load"):
        finished(made, "portico.yaml")


def test_a_variable_needs_no_value_yet() -> None:
    made = draft(route(5, path="/a", policies={"auth": {"jwt": {"secret": Variable("JWT_KEY")}}}))
    assert '"${JWT_KEY}"' in finished(made, "portico.yaml").text


def test_nothing_is_refused() -> None:
    made = Draft("source.conf", "nginx")
    with pytest.raises(SourceError, match=r"source\.conf:1: there is nothing in it"):
        finished(made, "portico.yaml")
