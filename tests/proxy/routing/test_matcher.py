"""Where requests go, and what is remembered of that."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import Mock
from urllib.parse import quote, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portico.core.errors import Answer, MessageError, Refusal
from portico.core.exchange import RouteMatch
from portico.core.messages import Fields, Known, RequestHead
from portico.core.paths import folded_segments
from portico.core.patterns.pattern import Pattern, path_pattern
from portico.proxy.routing import matcher as module
from portico.proxy.routing.captured import CapturedRewrite
from portico.proxy.routing.challenges import PREFIX, Challenges
from portico.proxy.routing.matcher import Matcher
from portico.proxy.routing.route import LocalRoute, Rewrite, Route
from portico.proxy.routing.router import Router, Rule


def route(name: str, handling: Any = None, **given: Any) -> Route:
    """A route with a handling of its own, unless it shares one."""
    handling = handling or cast(Any, SimpleNamespace(answers_preflights=False))
    return Route(name, handling, Rewrite.of("/{path}"), b"", b"", **given)


def matcher_of(*rules: Rule[Any]) -> Matcher:
    return Matcher(Router(rules))


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


def request(host: bytes = b"a.example", method: bytes = b"GET", target: bytes = b"/") -> RequestHead:
    made = RequestHead()
    made.known = Known()
    made.host, made.method, made.fields, made.target = host, method, Fields([], []), target
    return made


def found(matcher: Matcher, asking: RequestHead, path: bytes) -> str:
    found = matcher.find(asking, path)
    assert isinstance(found, RouteMatch)
    name: str = found.route.name
    return name


def test_challenges_come_before_routes_while_they_hold() -> None:
    """Also for a path that went to a route before; what is asked of them costs others nothing."""
    routes = router(("/", {}))
    challenges = Challenges()
    matcher = Matcher(routes, challenges=challenges)
    path, asking = PREFIX + b"t0ken", request()
    assert found(matcher, asking, path) == "a"
    challenges.learn({"t0ken": "t0ken.thumb"})
    match = matcher.find(asking, path)
    assert isinstance(match, RouteMatch)
    assert (match.handling, match.route.answer().body) == (None, b"t0ken.thumb")
    assert found(matcher, request(method=b"HEAD"), path) == PREFIX.decode()
    assert found(matcher, request(method=b"PUT"), path) == "a"
    for other in (path + b"/", path[:-1], PREFIX, PREFIX[:-1], path.replace(b"t", b"%74")):
        assert found(matcher, asking, other) == "a", other
    challenges.learn({})
    assert found(matcher, asking, path) == "a"


def test_a_route_match_is_looked_up_once_per_path_host_and_method() -> None:
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


def test_hosts_and_methods_are_distinguished() -> None:
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


# ---- paths that a service may read as another route's

GUARDED = ["/shop/admin", "/shop/v1:admin", "/shop/a b", "/shop/caf%C3%A9", "/shop/deep/er"]


def shop(open_path: str = "/shop", **given: Any) -> Matcher:
    """A route that is open, and below it routes that are not."""
    rules = [
        Rule(open_path, route("open", **given)),
        *(Rule(path.replace(" ", "%20"), route(path)) for path in GUARDED),
    ]
    return matcher_of(*rules)


@pytest.mark.parametrize(
    "path",
    [
        *("/shop/admin%2Fusers", "/shop/admin%2fusers", "/shop%2Fadmin/users", "/shop/%61dmin%2F", "/shop//admin"),
        *("/shop/v1%3Aadmin/x", "/shop/v1%3aadmin", "/shop/deep%2Fer", "/shop/deep%2Fer%2Fest", "/shop/deep//er"),
        *("/shop\\admin", "/shop/admin\\x", "/shop/admin%5Cx", "/shop%5cadmin", "/shop/deep\\er/x"),
        *("/shop/admin;v=1", "/shop/admin;/x", "/shop/admin%3Bv=1/x", "/shop;a/admin", "/shop;a=%2Fb/admin"),
        *("/shop/admin%3Fx", "/shop/admin%23x", "/shop/admin%0A", "/shop/ad%0Dmin/x", "/shop/admin%20/x"),
        *("/shop/admin%252Fusers", "/shop/%2561dmin", "/shop/admin%253Bx", "/shop/%61%64min%2F%2Fx", "/shop//a%20b"),
        *("/shop/caf%25C3%25A9/x", "/shop//caf%C3%A9", "/shop%2Fcaf%c3%a9", "/shop/admin;x\\y%2Fz"),
    ],
)
@pytest.mark.parametrize("open_path", ["/shop", "/"])
def test_a_path_that_a_service_may_read_as_a_guarded_one_is_refused(path: str, open_path: str) -> None:
    for method in (b"GET", b"POST", b"OPTIONS"):
        matcher = shop(open_path)
        if open_path == "/shop" and path[5] != "/":
            assert isinstance(matcher.find(request(method=method), path.encode()), Refusal), "no route at all"
            continue
        for _ in range(2):
            with pytest.raises(MessageError, match="hide which route") as caught:
                matcher.find(request(method=method), path.encode())
            assert caught.value.reason == "malformed_request"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        *((path, "open") for path in ("/shop/a%2Fb", "/shop/x%3Ay", "/shop/adm%2Fin", "/shop/admin2%2Fx", "/shop//x")),
        *((path, "open") for path in ("/shop/x;v=1", "/shop/x\\y", "/shop/%E2%82%AC", "/shop/x%20y", "/shop/100%25")),
        *((path, "/shop/admin") for path in ("/shop/admin/a%2Fb", "/shop/%61dmin/x;y", "/shop/admin//x%3F")),
        *(("/shop/a%20b/c%20d", "/shop/a b"), ("/shop/caf%c3%a9/a%2Fb", "/shop/caf%C3%A9")),
        *(("/shop/v1:admin/a%3Ab", "/shop/v1:admin"), ("/shop/deep/a%2Fer", "open"), ("/shop/deep/er%20s", "open")),
    ],
)
def test_a_path_with_encoded_characters_takes_its_route(path: str, name: str) -> None:
    assert found(shop(), request(), path.encode()) == name


@pytest.mark.parametrize("path", ["/shop/x/%252e%252e/admin", "/shop/..%20/x", "/shop/x%5C..%0A", "/shop/..%3Fx"])
def test_a_path_in_which_a_service_may_go_upwards_is_refused(path: str) -> None:
    with pytest.raises(MessageError, match="a dot segment"):
        shop().find(request(), path.encode())


def test_what_is_written_encoded_is_guarded_however_it_is_asked_for() -> None:
    matcher = matcher_of(Rule("/shop", route("open")), Rule("/shop/v1%3Aadmin", route("closed")))
    assert found(matcher, request(), b"/shop/v1%3Aadmin/x") == "closed"
    assert found(matcher, request(), b"/shop/v1/admin") == "open"
    for path in (b"/shop/v1:admin/x", b"/shop/v1%253Aadmin", b"/shop//v1:admin"):
        with pytest.raises(MessageError, match="hide which route"):
            matcher.find(request(), path)


def test_of_two_ways_to_write_a_path_both_may_have_a_route() -> None:
    matcher = matcher_of(Rule("/x/a:b", route("plain")), Rule("/x/a%3Ab", route("encoded")), Rule("/", route("open")))
    assert found(matcher, request(), b"/x/a:b/c") == "plain"


def test_an_exception_with_odd_characters_stays_one() -> None:
    """What lies above it would hold for its readings: it was written to be an exception from just that."""
    matcher = matcher_of(Rule("/", route("closed")), Rule("/a;b", route("open")), Rule("/a/c", route("secret")))
    assert found(matcher, request(), b"/a;b/x") == "open"
    with pytest.raises(MessageError):
        matcher.find(request(), b"/a;b/c")


def test_routes_that_do_the_same_hide_nothing() -> None:
    shared: Any = SimpleNamespace(answers_preflights=False)
    outer, inner = (replace(route(name, shared), rewrite=Rewrite.of("keep")) for name in "ab")
    assert found(matcher_of(Rule("/a", outer), Rule("/a/b", inner)), request(), b"/a/b%2Fc") == "a"
    others: list[Any] = [
        replace(inner, handling=route("b").handling),
        replace(inner, rewrite=Rewrite.of("/{path}")),
        replace(inner, rewrite=Rewrite.of("/elsewhere")),
        LocalRoute("b", Mock()),
    ]
    for other in others:
        with pytest.raises(MessageError):
            matcher_of(Rule("/a", outer), Rule("/a/b", other)).find(request(), b"/a/b%2Fc")


def test_a_route_whose_service_sees_one_path_hides_nothing() -> None:
    fixed = replace(route("a"), rewrite=Rewrite.of("/elsewhere"))
    assert found(matcher_of(Rule("/a", fixed), Rule("/a/b", route("b"))), request(), b"/a/b%2Fc") == "a"


def test_what_narrows_the_hidden_route_counts() -> None:
    for conditions in ({"hosts": ("a.example",)}, {"methods": frozenset({b"PUT"})}, {"headers": ((b"x-beta", b"1"),)}):
        rules = [Rule("/a", route("open")), Rule("/a/b", route("closed"), **conditions)]
        matcher = matcher_of(*rules)
        assert found(matcher, request(b"b.example"), b"/a/b%2Fc") == "open"
        asking = request(method=b"PUT")
        asking.fields = Fields([b"x-beta"], [b"X-Beta: 1"])
        for _ in range(2):
            with pytest.raises(MessageError):
                matcher.find(asking, b"/a/b%2Fc")
            assert found(matcher, request(b"b.example"), b"/a/b%2Fc") == "open"


def test_a_method_in_small_letters_passes_no_route_for_its_capitals() -> None:
    posts: dict[str, Any] = {"methods": frozenset({b"POST"})}
    matcher = matcher_of(Rule("/a", route("open")), Rule("/a", route("closed"), **posts), Rule("/b", route("b")))
    inner = matcher_of(Rule("/a", route("open")), Rule("/a/b", route("closed"), **posts))
    for method in (b"post", b"Post", b"pOST"):
        for asked, path in ((matcher, b"/a/x"), (inner, b"/a/b"), (inner, b"/a/b%2Fc"), (inner, b"/a//b")):
            for _ in range(2):
                with pytest.raises(MessageError, match="capitals"):
                    asked.find(request(method=method), path)
        assert found(matcher, request(method=method), b"/b") == "b"
    assert found(matcher, request(method=b"get"), b"/a/x") == "open"
    assert found(matcher, request(method=b"POST"), b"/a/x") == "closed"


def test_a_route_may_take_encoded_slashes_for_data() -> None:
    matcher = shop(encoded_slashes=True)
    for path in (b"/shop/admin%2Fusers", b"/shop/admin%252Fusers", b"/shop/admin%2F%3Fx"):
        assert found(matcher, request(), path) == "open"
    for path in (b"/shop//admin", b"/shop/admin;x", b"/shop/v1%3Aadmin", b"/shop/admin%5Cx", b"/shop/x%2F..%2Fadmin"):
        with pytest.raises(MessageError):
            matcher.find(request(), path)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        *(
            (path, None)
            for path in ("/shop/Admin/x", "/SHOP/admin", "/shop/admin./x", "/shop/aDmin%20", "/shop/admin%2E.")
        ),
        *(
            (path, None)
            for path in ("/Shop%2FAdmin", "/shop//ADMIN", "/shop/CAF%C3%89/x", "/shop/caf%c3%89", "/SHOP/x")
        ),
        *((path, "open") for path in ("/shop/Other", "/shop/x/ADMIN", "/shop/x.", "/shop/a%2FB")),
        *(("/shop/admin/X", "/shop/admin"), ("/shop/admin/x%2FY.", "/shop/admin")),
    ],
)
def test_a_service_may_fold_paths(path: str, name: str | None) -> None:
    rules: list[Rule[Any]] = [
        Rule("/", route("elsewhere", case_insensitive=True)),
        Rule("/shop", route("open", case_insensitive=True)),
        *(Rule(each, route(each, case_insensitive=True)) for each in ("/shop/admin", "/shop/caf%C3%A9")),
    ]
    matcher = Matcher(Router(rules), Router(rules, folded_segments))
    for _ in range(2):
        if name is None:
            with pytest.raises(MessageError, match="hide which route"):
                matcher.find(request(), path.encode())
        else:
            assert found(matcher, request(), path.encode()) == name
    exact = matcher_of(Rule("/shop", route("open")), Rule("/shop/admin", route("closed")))
    assert found(exact, request(), b"/shop/Admin") == "open", "to most services case means something"


def test_paths_that_are_not_plain_are_remembered_too() -> None:
    routes = router(("/", {}), ("/x", {}))
    matcher = Matcher(routes)
    for _ in range(3):
        assert found(matcher, request(), b"/a%2Fb;c") == "a"
    assert routes.matches == 4, "by the path as it came, and by what it may be read as"
    found(matcher, request(), b"/plain")
    assert routes.matches == 5


# ---- patterns


def by_pattern(text: str, name: str = "pattern", rewrite: str = "keep", **given: Any) -> Rule[Any]:
    pattern = path_pattern(text)
    made = Rewrite.of("keep") if rewrite == "keep" else CapturedRewrite.by(rewrite, pattern)
    return Rule(f"~ {text}", replace(route(name, **given), rewrite=made, by_pattern=True), pattern=pattern)


def test_what_a_pattern_captured_is_remembered_with_the_path() -> None:
    routes = Counting([by_pattern("^/users/(?P<id>[^/]+)$", rewrite="/u/{id}")])
    matcher = Matcher(routes)
    for _ in range(3):
        match = matcher.find(request(), b"/users/%37")
        assert isinstance(match, RouteMatch)
        assert match.target == b"/u/%37"
    assert routes.matches == 1


def test_what_depends_on_the_query_is_not_remembered() -> None:
    rules = [Rule("/a", route("plain")), Rule("/a", route("two"), query=((b"v", b"2"),)), Rule("/b", route("other"))]
    matcher = matcher_of(*rules)
    for _ in range(2):
        assert found(matcher, request(target=b"/a?v=2"), b"/a") == "two"
        assert found(matcher, request(target=b"/a"), b"/a") == "plain"
        assert found(matcher, request(target=b"/b?v=2"), b"/b") == "other"
    assert [*map(len, matcher._young.values())] == [1]
    refused = Matcher(Router([Rule("/a", route("two"), query=((b"v", b"2"),))])).find(request(target=b"/a?v=3"), b"/a")
    assert isinstance(refused, Refusal)
    assert refused.reason == "no_route"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/shop/x", "open"),
        ("/shop/admin/x", "closed"),
        ("/shop/a%2Fb", None),
        ("/shop/x%2F", None),
        ("/shop//admin/x", None),
        ("/shop/admin%2Fx", None),
        ("/shop/%2561dmin%2Fx", None),
        ("/shop/x;y", "open"),
    ],
)
def test_no_spelling_leads_from_one_pattern_past_another(path: str, name: str | None) -> None:
    matcher = matcher_of(
        by_pattern("^/shop/admin/", "closed"), by_pattern("^/shop/[^/]+$", "open"), Rule("/shop", route("below"))
    )
    for _ in range(2):
        if name is None:
            with pytest.raises(MessageError, match="hide which route"):
                matcher.find(request(), path.encode())
        else:
            assert found(matcher, request(), path.encode()) == name


def test_a_pattern_guards_what_a_service_reads_as_its_path() -> None:
    matcher = matcher_of(
        Rule("/", route("open")), by_pattern("^/admin(/|$)", "closed"), by_pattern("^/v1%3Aadmin", "encoded")
    )
    assert found(matcher, request(), b"/admin/x") == "closed"
    assert found(matcher, request(), b"/v1%3aadmin") == "encoded"
    for path in (
        b"/admin%2Fx",
        b"//admin",
        b"/admin;x/y",
        b"/%2561dmin",
        b"/v1:admin",
        b"/x%5C..%2Fadmin",
        b"/admin%3F",
    ):
        with pytest.raises(MessageError):
            matcher.find(request(), path)


def test_an_exact_path_guards_it_too() -> None:
    matcher = matcher_of(Rule("/", route("open")), Rule("/admin/keys", route("closed"), exact=True))
    assert found(matcher, request(), b"/admin/keys") == "closed"
    assert found(matcher, request(), b"/admin/keys/x") == "open"
    for path in (b"/admin%2Fkeys", b"/admin//keys", b"/admin/keys;x", b"/admin/keys%00"[:-3] + b"%3F"):
        with pytest.raises(MessageError):
            matcher.find(request(), path)


def test_patterns_of_a_service_that_folds_paths() -> None:
    rules = [
        Rule("/", route("open", case_insensitive=True)),
        by_pattern("^/Admin/Caf%C3%A9", "closed", case_insensitive=True),
    ]
    matcher = Matcher(Router(rules), Router(rules, folded_segments, Pattern.folded))
    assert found(matcher, request(), b"/Admin/Caf%C3%A9/x") == "closed"
    assert found(matcher, request(), b"/other") == "open"
    for path in (b"/admin/caf%C3%A9", b"/ADMIN/CAF%C3%89", b"/admin./caf%c3%a9"):
        with pytest.raises(MessageError, match="hide which route"):
            matcher.find(request(), path)


def test_routes_that_treat_alike_what_a_pattern_leaves_hide_nothing() -> None:
    shared: Any = SimpleNamespace(answers_preflights=False)
    rest = replace(route("rest", shared), rewrite=Rewrite.of("keep"))
    matcher = matcher_of(by_pattern("^/x/[^/]+$", handling=shared), Rule("/", rest))
    assert found(matcher, request(), b"/x/a%2Fb") == "pattern"
    matcher = matcher_of(by_pattern("^/x/(?P<a>[^/]+)$", rewrite="/{a}", handling=shared), Rule("/", rest))
    with pytest.raises(MessageError, match="hide which route"):
        matcher.find(request(), b"/x/a%2Fb")


NAMES = st.sampled_from(["a", "b", "a:b", "a b", "a;b", "a%b", "é"])
SPELLINGS: dict[str, list[str]] = {
    "/": ["/", "//", "%2F", "%2f", "%252F", "\\", "%5C", "/;x/", "%2F%2F", ";x=1/"],
    " ": ["%20", "%2520"],
}


def written(name: str) -> str:
    """A name as it is written in the configuration."""
    return quote(name, safe=":;")


@st.composite
def spelled(draw: st.DrawFn, names: list[str]) -> bytes:
    """A path that some service takes for these names."""
    text = ""
    for character in "/".join(["", *names]):
        plain = quote(character, safe=":;/")
        ways = SPELLINGS.get(character) or [plain, quote_fully(character), quote_fully(character).replace("%", "%25")]
        text += draw(st.sampled_from(ways if text else ["/"]))
    return (text + draw(st.sampled_from(["", "/", "%2Fx", ";v=1", "%0A", "%3Fq", "%23", "%20", "//x"]))).encode()


def quote_fully(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_no_spelling_of_a_guarded_path_passes_unguarded(data: st.DataObject) -> None:
    """Whatever the routes are, and however a path below the guarded one is written."""
    names = data.draw(st.lists(NAMES, min_size=1, max_size=3))
    others = data.draw(st.lists(st.lists(NAMES, max_size=3), max_size=4))
    shared: Any = SimpleNamespace(answers_preflights=False)
    guard = route("guard", shared)
    rules = [Rule("/" + "/".join(map(written, names)), guard)]
    others = [path for path in others if path[: len(names)] != names]  # others would be exceptions from the guard
    rules += [Rule("/" + "/".join(map(written, path)), route("other")) for path in others]
    path = data.draw(spelled(names))
    if any(";" in name for name in names):
        return  # without its parameters such a path is another one
    try:
        answer = matcher_of(*rules).find(request(), path)
    except MessageError:
        return
    assert isinstance(answer, Refusal) or answer.route is guard, (path, [rule.path for rule in rules])  # type: ignore[union-attr]


def merged(path: str) -> str:
    return re.sub("/+", "/", path)


def unparametrised(path: str) -> str:
    return re.sub(";[^/]*", "", path)


SERVICES: list[Callable[[str], str]] = [
    unquote,
    lambda path: merged(unquote(path)),
    lambda path: merged(unquote(unparametrised(path))),
    lambda path: merged(unparametrised(unquote(path))),
    lambda path: merged(unquote(path).replace("\\", "/")),
    lambda path: unquote(unquote(path)),
    lambda path: re.split("[?#]", unquote(path))[0],
    lambda path: unquote(path).removesuffix("\n"),
]
PIECES = [
    "a",
    "b",
    ":",
    "/",
    "/",
    "//",
    "%2F",
    "%2f",
    "%5C",
    "\\",
    ";",
    ";x",
    "%3B",
    "%61",
    "%62",
    "%3A",
    "%25",
    "2F",
    "61",
]


@settings(max_examples=500, deadline=None)
@given(
    st.lists(st.sampled_from([*PIECES, "%20", "%0A", "%3F", "%23", "."]), max_size=9).map(
        lambda pieces: "/a" + "".join(pieces)
    ),
    st.sampled_from(SERVICES),
)
def test_what_a_service_takes_for_a_guarded_path_is_guarded(path: str, read: Callable[[str], str]) -> None:
    guarded = ["/a/b", "/a:b", "/b", "/a/a/b"]
    matcher = matcher_of(
        Rule("/", route("open")),
        Rule("/a", route("open")),
        *(Rule(each, route("guard" + each)) for each in guarded),
    )
    try:
        name = found(matcher, request(), path.encode())
    except MessageError:
        return
    for each in guarded:
        if (read(path) + "/").startswith(each + "/"):
            assert name == "guard" + each


def test_heads_that_are_remembered_keep_no_matches_that_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of many hosts are, for all connections: of each host they know what was found since its last request."""
    monkeypatch.setattr(module, "_ENTRIES", 10)
    matcher = Matcher(router(("/", {})))
    heads = [request(host) for number in range(50) for host in (b"host%d.example" % number, b"%0300d" % number)]
    for head in heads:
        for number in range(8):
            assert found(matcher, head, b"/%d" % number) == "a"
    assert 0 < sum(len(head.known.matches) for head in heads) <= 20
    for head in heads:
        assert found(matcher, head, b"/0") == "a"


def test_long_paths_reduce_how_many_entries_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_BYTES", 20_000)
    matcher, asking = Matcher(router(("/", {}))), request()
    for number in range(1000):
        found(matcher, asking, b"/%0200d" % number)
        paths = [path for generation in (matcher._young, matcher._old) for each in generation.values() for path in each]
        assert 3 * sum(map(len, paths)) <= 2 * 20_000
    assert len(paths) > 20


def test_what_is_not_asked_for_any_more_is_forgotten() -> None:
    routes = router(("/", {}))
    matcher, asking = Matcher(routes), request()
    for path in (b"/kept", b"/left"):
        found(matcher, asking, path)
    matcher.age(0.0)
    found(matcher, asking, b"/kept")
    matcher.age(0.0)
    assert routes.matches == 2
    found(matcher, asking, b"/kept")
    assert routes.matches == 2
    found(matcher, asking, b"/left")
    assert routes.matches == 3
    for _ in range(2):
        matcher.age(0.0)
    assert (matcher._young, matcher._old, matcher._targets) == ({}, {}, {})
