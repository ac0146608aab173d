"""Where requests go, and what is remembered of that."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from portico.core.errors import Answer, MessageError
from portico.core.exchange import Place
from portico.core.messages import Fields, RequestHead
from portico.proxy.routing import places as module
from portico.proxy.routing.places import Places
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


def found(places: Places, asking: RequestHead, path: bytes) -> str:
    place = places.find(asking, path)
    assert isinstance(place, Place)
    name: str = place.route.name
    return name


def test_a_place_is_looked_up_once_for_all_requests_with_its_host_and_method() -> None:
    routes = router(("/", {}))
    places = Places(routes)
    for asking in (request(), request()):
        assert found(places, asking, b"/x") == "a"
        assert found(places, asking, b"/x") == "a"
    assert routes.matches == 1
    found(places, request(method=b"POST"), b"/x")
    found(places, request(host=b"b.example"), b"/x")
    found(places, request(), b"/y")
    assert routes.matches == 4


def test_hosts_and_methods_are_told_apart() -> None:
    places = Places(router(("/", {"hosts": ("a.example",)}), ("/", {}), ("/", {"methods": frozenset({b"PUT"})})))
    for _ in range(2):
        assert found(places, request(), b"/x") == "a"
        assert found(places, request(host=b"b.example"), b"/x") == "b"
        assert found(places, request(b"b.example", b"PUT"), b"/x") == "c"


def test_a_request_that_is_repeated_after_a_reload_finds_the_new_routes() -> None:
    asking = request()
    assert found(Places(router(("/", {}))), asking, b"/x") == "a"
    assert found(Places(router(("/other", {}), ("/", {}))), asking, b"/x") == "b"


def test_what_is_asked_for_again_stays_and_the_rest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 10)
    routes = router(("/", {}))
    places, asking = Places(routes), request()
    for number in range(100):
        assert found(places, asking, b"/kept") == "a"
        assert found(places, asking, b"/%d" % number) == "a"
    assert routes.matches == 101
    found(places, asking, b"/0")
    assert routes.matches == 102


@pytest.mark.parametrize("answered", [True, False])
def test_hosts_and_paths_without_end_take_no_memory_without_end(
    monkeypatch: pytest.MonkeyPatch, answered: bool
) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 10)
    places = Places(router(("/x" if answered else "/other", {})))
    for number in range(1000):
        place = places.find(request(b"host%d.example" % number), b"/x")
        assert isinstance(place, Place if answered else Answer)
    remembered = [*places._young.values(), *places._old.values()]
    assert len(remembered) + sum(map(len, remembered)) <= 20


def test_a_route_that_depends_on_fields_is_looked_up_each_time() -> None:
    routes = router(("/", {"headers": ((b"x-beta", b"1"),)}), ("/", {}))
    places, asking = Places(routes), request()
    assert found(places, asking, b"/x") == "b"
    asking.fields = Fields([b"x-beta"], [b"X-Beta: 1"])
    assert found(places, asking, b"/x") == "a"


@pytest.mark.parametrize("path", [b"//x", b"/x//", b"/x//y", b"//x//y"])
def test_whether_a_path_with_empty_segments_hides_a_route_is_asked_each_time_where_fields_decide(path: bytes) -> None:
    places = Places(
        router(("/x", {"headers": ((b"x-beta", b"1"),)}), ("/x/y", {"headers": ((b"x-beta", b"1"),)}), ("/", {}))
    )
    plain, narrowed = request(), request()
    narrowed.fields = Fields([b"x-beta"], [b"X-Beta: 1"])
    hides = path != b"/x//"  # that is under /x whether slashes are merged or not
    for _ in range(2):
        assert found(places, plain, path) == "c"
        if hides:
            with pytest.raises(MessageError, match="hide which route"):
                places.find(narrowed, path)
        else:
            assert found(places, narrowed, path) == "a"


def test_a_path_with_empty_segments_that_no_field_decides_about_is_remembered() -> None:
    routes = router(("/x", {"headers": ((b"x-beta", b"1"),)}), ("/", {}))
    places = Places(routes)
    for _ in range(3):
        assert found(places, request(), b"/a//b") == "b"
    assert routes.matches == 2, "by the path as it came, and by the merged one"


@pytest.mark.parametrize("method", [b"OPTIONS", b"GET"])
@pytest.mark.parametrize(
    ("host", "name"), [(b"a.example", "a"), (b"A.EXAMPLE", "a"), (b"a.example.:8080", "a"), (b"b.example", "b")]
)
def test_what_is_remembered_of_a_host_is_right_for_each_way_to_write_it(host: bytes, name: str, method: bytes) -> None:
    places = Places(router(("/", {"hosts": ("a.example",)}), ("/", {})))
    for asking in (host, b"a.example", b"b.example", host):
        expected = {host: name, b"a.example": "a", b"b.example": "b"}[asking]
        assert found(places, request(asking, method), b"/x") == expected


def test_a_preflight_leaves_nothing_behind_for_other_options_requests() -> None:
    answering: Any = SimpleNamespace(answers_preflights=True)
    reads, options = (replace(route(name), handling=answering) for name in "ab")
    places = Places(
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
        assert found(places, preflight, path) == "a", "also where a path with merged slashes is compared"
        assert found(places, plain, path) == "b"


def test_long_hosts_and_paths_are_not_remembered() -> None:
    routes = router(("/", {}))
    places = Places(routes)
    for number in range(10):
        long = b"%d" % number + b"x" * 16_000
        assert found(places, request(long), b"/x") == "a"
        assert found(places, request(), b"/" + long) == "a"
    assert [host for host, _ in places._young] == [b"a.example"]
    assert [*map(len, places._young.values())] == [0]
    assert max(map(len, places._targets)) < 300
