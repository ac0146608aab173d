"""What is said of routes agrees with what the router does, for thousands of configurations and requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from types import SimpleNamespace
from typing import Any, Final, cast

from portico.config import Config, ListenerSettings, ResolvedRoute
from portico.core.errors import Answer, MessageError
from portico.core.messages import RequestHead
from portico.core.paths import segments_of
from portico.core.slices import at_once
from portico.proxy.routing.matcher import Matcher
from portico.proxy.routing.route import LocalRoute, Route
from portico.proxy.routing.router import Router, Rule
from portico.snapshot.explain.explaining import begun
from portico.snapshot.explain.explanation import Condition, Explanation, Lost
from portico.snapshot.explain.paths import text_of
from portico.snapshot.explain.question import Question, read
from portico.snapshot.explain.routing import Routing
from portico.snapshot.explain.written import Written
from portico.snapshot.routing import rewrite_of, rule_of
from portico.wire.frontend import Limits

CONFIGURATIONS: Final = 1500
REQUESTS: Final = 2
OFTEN: Final = ("path", "listener")
"""What most routes lose by: it is not tried each time."""
ORDER: Final[tuple[Condition, ...]] = ("listener", "path", "host", "method", "header", "query", "precedence")

PATHS: Final = (
    *("/", "/a", "/a/b", "/a/b/c", "/ab", "/b", "= /a", "= /a/", "= /a/b", "= /"),
    *("~ ^/a/(?P<x>[0-9]+)$", "~ ^/a/[a-z]+", "~* ^/A/B$", "~ /b$", "~ ^/(a|b)/x", "/a%2Fb"),
)
HOSTS: Final = ((), (), (), ("s.example",), ("*.example",), ("s.example", "*.t.example"))
METHODS: Final = ((), (), ("GET",), ("POST",), ("GET", "PUT"))
HEADERS: Final[tuple[dict[str, str], ...]] = ({}, {}, {}, {"X-A": "1"}, {"X-A": "~ ^[12]$"}, {"X-A": "1", "X-B": "2"})
QUERIES: Final[tuple[dict[str, Any], ...]] = ({}, {}, {}, {"q": "1"}, {"q": True}, {"q": "~ ^1", "r": "2"})
TARGETS: Final = (
    *("/", "/a", "/a/", "/a/b", "/a/b/c", "/a/7", "/a/x", "/ab", "/b", "/b/x", "/c", "/A/b", "/a/7x"),
    *("/a//b", "/a%2Fb", "/%61/b", "/a;v/b", "/a/../b", "/a%", "/a\\b", "/a/%2E%2E/b"),
)
ASKED_HOSTS: Final = ("s.example", "S.example.:8080", "x.t.example", "y.example", "other", "[::1]:80")
ASKED_METHODS: Final = ("GET", "GET", "HEAD", "POST", "PUT", "post", "OPTIONS")
FIELDS: Final = (("X-A", "1"), ("X-A", "2"), ("X-A", "3"), ("X-B", "2"), ("Origin", "https://o.example"))

EXEMPLARY: Final = Config.model_validate({"services": {"s": {"url": "http://127.0.0.1:1"}}}).all_routes[0]
LISTENERS: Final = (
    ListenerSettings(name="here", port=1, routes=("h*",)),
    ListenerSettings(name="there", port=2, routes=("t*",)),
)
"""A route's name says which of them serves it."""


@dataclass
class World:
    """Routes, and what is compiled of them for each listener."""

    routes: list[ResolvedRoute]

    def __post_init__(self) -> None:
        handlings = [cast(Any, SimpleNamespace(answers_preflights=answers, service_name="s")) for answers in (0, 1)]
        self.matchers = [self._matcher(listener, handlings) for listener in LISTENERS]

    def _matcher(self, listener: ListenerSettings, handlings: Sequence[Any]) -> Matcher:
        served = [route for route in self.routes if listener.serves(route.name)]
        rules: list[Rule[Route | LocalRoute]] = [
            rule_of(route, Route(route.name, handlings[len(route.hosts) % 2], rewrite_of(route), b"", b""))
            for route in served
        ]
        return Matcher(Router(rules))

    def explained(self, question: Question) -> Explanation:
        """What is said of a request to the first listener."""
        said = begun(question, "here", secure=False)
        routing = Routing(self.matchers[0].apart(), self.matchers, Written(self.routes, LISTENERS), "here")
        at_once(routing.routing(cast(Any, SimpleNamespace()), self.head(question), said, 100))
        return said

    def found(self, question: Question) -> str:
        """What the router does: the name of a route, or the status of an answer."""
        request = self.head(question)
        try:
            match = self.matchers[0].find(request, request.target.partition(b"?")[0])
        except MessageError:
            return "400"
        return str(match.status) if isinstance(match, Answer) else cast(str, match.route.name)

    def head(self, question: Question) -> RequestHead:
        return read(question, Limits())

    def without(self, lost: Lost, question: Question) -> World:
        """The same, but for the condition by which a route lost."""
        (route,) = (each for each in self.routes if each.name == lost["name"])
        name = lost["wanted"].partition(":")[0].partition("=")[0]
        match lost["condition"]:
            case "listener":
                changed = replace(route, name="h" + route.name)
            case "path":
                path = text_of(segments_of(question.target.partition("?")[0].encode()))
                changed = replace(route, path=f"= {path}", is_fallback=False)
            case "host":
                changed = replace(route, hosts=())
            case "method":
                changed = replace(route, methods=())
            case "header":
                changed = replace(route, headers={key: value for key, value in route.headers.items() if key != name})
            case "query":
                changed = replace(route, query={key: value for key, value in route.query.items() if key != name})
            case _:
                return World([each for each in self.routes if each.name != lost["wanted"]])
        return World([changed if each is route else each for each in self.routes])


def a_world(random: Random) -> World:
    many = random.random() < 0.1  # for a few paths: they are found by what they ask for
    routes = [
        replace(
            EXEMPLARY,
            name=f"{random.choice('hhht')}{index}",
            path=random.choice(PATHS[:2] if many else PATHS),
            hosts=random.choice(HOSTS),
            methods=random.choice(METHODS),
            headers=random.choice(HEADERS),
            query=random.choice(QUERIES),
            rewrite=random.choice(("/{path}", "keep", "/fixed")),
            is_default=False,
        )
        for index in range(random.randint(20, 40) if many else random.randint(1, 7))
    ]
    if random.random() < 0.2:
        routes.append(replace(EXEMPLARY, name="h-last", path="/", is_fallback=True, rewrite="keep"))
    return World(routes)


def a_question(random: Random) -> Question:
    query = random.choice(("", "", "?q=1", "?q=2&r=2", "?q=1&q=2", "?q=1&r=2"))
    headers = (("Host", random.choice(ASKED_HOSTS)), *random.sample(FIELDS, random.randint(0, 3)))
    method = random.choice(ASKED_METHODS)
    if method == "OPTIONS":
        headers = (*headers, ("Access-Control-Request-Method", random.choice(("GET", "POST"))))
    return Question(method, random.choice(TARGETS) + query, headers)


def outcome(said: Explanation) -> str:
    return said["route"]["name"] if said["route"] is not None else str((said["answer"] or {"status": 0})["status"])


def later(one: Lost, other: Lost) -> bool:
    """Whether a condition is asked after another, or is the next of its kind."""
    before, after = ORDER.index(one["condition"]), ORDER.index(other["condition"])
    return after > before or (after == before and one["condition"] in ("header", "query", "precedence"))


def test_what_is_said_is_what_happens() -> None:
    """Each lost route takes the request once the condition that is named is gone, or loses by a later one."""
    random, seen = Random(26), Counter[str]()
    for _ in range(CONFIGURATIONS):
        world = a_world(random)
        for _ in range(REQUESTS):
            question = a_question(random)
            said = world.explained(question)
            assert outcome(said) == world.found(question), (world.routes, question)
            names = {route.name for route in world.routes}
            if said["request"]["segments"] is None and not said["others"]:
                continue  # its path is refused as it is
            lost = {each["name"]: each for each in said["others"]}
            assert {*lost} == names - {outcome(said)}
            for name, each in lost.items():
                seen[each["condition"]] += 1
                if each["condition"] not in OFTEN or random.random() < 0.2:
                    check(world, question, name, each)
    assert all(seen[condition] >= 80 for condition in ORDER), seen


def check(world: World, question: Question, name: str, lost: Lost) -> None:
    """It takes the request without the condition, or loses by a later one."""
    if lost["condition"] == "path" and lost["at"] is None:
        return  # it is in doubt which route the path means
    if lost["condition"] == "precedence" and not lost["wanted"]:
        return
    changed = world.without(lost, question)
    then = changed.explained(question)
    if lost["condition"] == "listener":
        name = "h" + name
    if outcome(then) == name:
        return
    (still,) = (each for each in then["others"] if each["name"] == name)
    in_doubt = "comes more than once" in still["says"]  # that is said where nothing else is
    assert later(lost, still) or in_doubt or outcome(then) == "400", (lost, still, world.routes, question)
    if lost["condition"] == still["condition"] != "precedence":
        assert lost["wanted"] != still["wanted"]


def test_the_letter_is_the_first_that_differs() -> None:
    """Up to there some path of the route begins so, and with that letter none does."""
    random = Random(27)
    for _ in range(500):
        world, question = a_world(random), a_question(random)
        for each in world.explained(question)["others"]:
            at, path = each["at"], each["got"]
            if each["condition"] != "path" or at is None:
                continue
            assert 0 <= at <= len(path)
            if each["path"].startswith(("/", "= ")):
                literal = each["path"].removeprefix("= ")
                assert path[:at] == literal[:at]
                assert path[at : at + 1] != literal[at : at + 1] or at == len(path)


def test_who_asks_changes_nothing() -> None:
    """The router's caches are as they were: a route match is remembered for requests alone."""
    random = Random(28)
    for _ in range(100):
        world, question = a_world(random), a_question(random)
        world.explained(question)
        assert not world.matchers[0]._young
        assert not world.matchers[0]._targets
