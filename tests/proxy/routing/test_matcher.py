"""Where requests go, and what is remembered of that."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from portico.core.errors import Answer, MessageError
from portico.core.exchange import RouteMatch
from portico.core.messages import Fields, RequestHead
from portico.proxy.routing import matcher as module
from portico.proxy.routing.matcher import Matcher
from portico.proxy.routing.route import Rewrite, Route
from portico.proxy.routing.router import Router, Rule


def route(name: str) -> Route:
    return Route(name, cast(Any, None), Rewrite.of("/{path}"), b"", b"")


class Counting(Router[Any]):
    """Counts how often it is asked."""

    matches = 0

    def match(self, *asked: Any) -> Any:
        self.matches += 1
        return super().match(*asked)


def router(*rules: tuple[str, dict[str, Any]]) -> Counting:
    return Counting(
        [Rule(path, route(name), **conditions) for name, (path, conditions) in zip("abcdef", rules, strict=False)]
    )


def request(host: bytes = b"a.example", method: bytes = b"GET") -> RequestHead:
    made = RequestHead()
    made.known_by = None
    made.host, made.method, made.fields = host, method, Fields([], [])
    return made


def found(matcher: Matcher, asking: RequestHead, path: bytes) -> str:
    found = matcher.find(asking, path)
    assert isinstance(found, RouteMatch)
    name: str = found.route.name
    return name


def test_a_place_is_looked_up_once_for_all_requests_with_its_host_and_method() -> None:
    routes = router(("/", {}))
    matcher = Matcher(routes)
    for asking in (request(), request()):
        assert found(matcher, asking, b"/x") == "a"
        assert found(matcher, asking, b"/x") == "a"
    assert routes.matches == 1
    found(matcher, request(method=b"POST"), b"/x")
    found(matcher, request(host=b"b.example"), b"/x")
    found(matcher, request(), b"/y")
    assert routes.matches == 4


def test_hosts_and_methods_are_told_apart() -> None:
    matcher = Matcher(router(("/", {"hosts": ("a.example",)}), ("/", {}), ("/", {"methods": frozenset({b"PUT"})})))
    for _ in range(2):
        assert found(matcher, request(), b"/x") == "a"
        assert found(matcher, request(host=b"b.example"), b"/x") == "b"
        assert found(matcher, request(b"b.example", b"PUT"), b"/x") == "c"


def test_a_request_that_is_repeated_after_a_reload_finds_the_new_routes() -> None:
    asking = request()
    assert found(Matcher(router(("/", {}))), asking, b"/x") == "a"
    assert found(Matcher(router(("/other", {}), ("/", {}))), asking, b"/x") == "b"


def test_what_is_asked_for_again_stays_and_the_rest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ENTRIES", 10)
    routes = router(("/", {}))
    matcher, asking = Matcher(routes), request()
    for number in range(100):
        assert found(matcher, asking, b"/kept") == "a"
        assert found(matcher, asking, b"/%d" % number) == "a"
    assert routes.matches == 101
    found(matcher, asking, b"/0")
    assert routes.matches == 102


@pytest.mark.parametrize("answered", [True, False])
def test_hosts_and_paths_without_end_take_no_memory_without_end(
    monkeypatch: pytest.MonkeyPatch, answered: bool
) -> None:
    monkeypatch.setattr(module, "_ENTRIES", 10)
    matcher = Matcher(router(("/x" if answered else "/other", {})))
    for number in range(1000):
        found = matcher.find(request(b"host%d.example" % number), b"/x")
        assert isinstance(found, RouteMatch if answered else Answer)
    remembered = [*matcher._young.values(), *matcher._old.values()]
    assert len(remembered) + sum(map(len, remembered)) <= 20


def test_a_route_that_depends_on_fields_is_looked_up_each_time() -> None:
    routes = router(("/", {"headers": ((b"x-beta", b"1"),)}), ("/", {}))
    matcher, asking = Matcher(routes), request()
    assert found(matcher, asking, b"/x") == "b"
    asking.fields = Fields([b"x-beta"], [b"X-Beta: 1"])
    assert found(matcher, asking, b"/x") == "a"


@pytest.mark.parametrize("path", [b"//x", b"/x//", b"/x//y", b"//x//y"])
def test_whether_a_path_with_empty_segments_hides_a_route_is_asked_each_time_where_fields_decide(path: bytes) -> None:
    matcher = Matcher(
        router(("/x", {"headers": ((b"x-beta", b"1"),)}), ("/x/y", {"headers": ((b"x-beta", b"1"),)}), ("/", {}))
    )
    plain, narrowed = request(), request()
    narrowed.fields = Fields([b"x-beta"], [b"X-Beta: 1"])
    hides = path != b"/x//"  # that is under /x whether slashes are merged or not
    for _ in range(2):
        assert found(matcher, plain, path) == "c"
        if hides:
            with pytest.raises(MessageError, match="hide which route"):
                matcher.find(narrowed, path)
        else:
            assert found(matcher, narrowed, path) == "a"


def test_a_path_with_empty_segments_that_no_field_decides_about_is_remembered() -> None:
    routes = router(("/x", {"headers": ((b"x-beta", b"1"),)}), ("/", {}))
    matcher = Matcher(routes)
    for _ in range(3):
        assert found(matcher, request(), b"/a//b") == "b"
    assert routes.matches == 2, "by the path as it came, and by the merged one"


@pytest.mark.parametrize("method", [b"OPTIONS", b"GET"])
@pytest.mark.parametrize(
    ("host", "name"), [(b"a.example", "a"), (b"A.EXAMPLE", "a"), (b"a.example.:8080", "a"), (b"b.example", "b")]
)
def test_what_is_remembered_of_a_host_is_right_for_each_way_to_write_it(host: bytes, name: str, method: bytes) -> None:
    matcher = Matcher(router(("/", {"hosts": ("a.example",)}), ("/", {})))
    for asking in (host, b"a.example", b"b.example", host):
        expected = {host: name, b"a.example": "a", b"b.example": "b"}[asking]
        assert found(matcher, request(asking, method), b"/x") == expected


def test_a_preflight_leaves_nothing_behind_for_other_options_requests() -> None:
    answering: Any = SimpleNamespace(answers_preflights=True)
    reads, options = (replace(route(name), handling=answering) for name in "ab")
    matcher = Matcher(
        Router(
            [
                Rule("/", reads, methods=frozenset({b"GET"})),
                Rule("/", options, methods=frozenset({b"OPTIONS"})),
            ]
        )
    )
    preflight, plain = request(method=b"OPTIONS"), request(method=b"OPTIONS")
    names = [b"origin", b"access-control-request-method"]
    preflight.fields = Fields(names, [b"Origin: https://a", b"Access-Control-Request-Method: GET"])
    for path in (b"/x", b"/x", b"/x//y", b"/x//y"):
        assert found(matcher, preflight, path) == "a", "also where a path with merged slashes is compared"
        assert found(matcher, plain, path) == "b"


def test_long_hosts_and_paths_are_not_remembered() -> None:
    routes = router(("/", {}))
    matcher = Matcher(routes)
    for number in range(10):
        long = b"%d" % number + b"x" * 16_000
        assert found(matcher, request(long), b"/x") == "a"
        assert found(matcher, request(), b"/" + long) == "a"
    assert [host for host, _ in matcher._young] == [b"a.example"]
    assert [*map(len, matcher._young.values())] == [0]
    assert max(map(len, matcher._targets)) < 300
