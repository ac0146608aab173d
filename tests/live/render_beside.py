"""A target of `portico render` beside Portico: what it does otherwise is exactly what is listed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest
import yaml

from live.render_cases import CASES, Case, ask, compare, configuration, service
from portico.config import Config, load_text
from portico.core.errors import MessageError
from portico.core.messages import Fields
from portico.core.paths import normalised, segments_of
from portico.proxy.routing.router import Router
from portico.render import Rendering
from portico.snapshot.routing import rule_of
from support.backend import Backend
from support.messages import Message
from support.process import free_port
from support.world import Gateway

Start: TypeAlias = Callable[[Rendering, int, Path], AbstractContextManager[object]]
"""Starts a target with what is rendered, on a port, with its files in a directory."""


RARE: Final[list[tuple[str, tuple[str, ...], int]]] = [
    ("/rare/1", (), 3),
    ("/rare-answer", (), 2),
    ("/per-key/1", ("X-Key: a",), 1),
    ("/per-key/1", ("X-Key: b",), 1),
    ("/per-key/1", (), 1),
]
"""Requests that are limited, and how many of each are admitted at once."""


NEEDLESS: Final = "a path with a percent-encoding of what needs none"
"""What is listed for Envoy, which refuses it."""


@dataclass(frozen=True)
class Both:
    """A target and Portico, which listen on these ports."""

    target: int
    portico: int
    routes: Router[str]
    """What finds the names of routes."""
    lost: frozenset[str]
    """The names of those for which the target has a loss."""
    otherwise: tuple[str, ...] = ()
    """What is listed for all routes."""

    def ask(self, case: Case) -> tuple[Message, Message]:
        """What the target and Portico answer."""
        return ask(self.target, case), ask(self.portico, case)

    def compare(self, case: Case) -> None:
        """Both give the same answer. A case of a route that is listed is skipped: nothing else may differ."""
        if (route := route_of(self.routes, case)) in self.lost:
            pytest.skip(f"listed: the route {route} is otherwise there")
        theirs, ours = self.ask(case)
        if theirs.status == 400 and NEEDLESS in " ".join(self.otherwise) and is_needless(case.target):
            pytest.skip(f"listed: {NEEDLESS}")
        compare(case, theirs, ours)

    def admit(self, target: str, lines: tuple[str, ...], admitted: int) -> tuple[Message, Message]:
        """Both admit as many of the same requests, and say of the next, whose answers these are, when to come again."""
        answers = [self.ask(Case("GET", target, 200, lines=lines)) for _ in range(admitted + 1)]
        for pair in answers[:admitted]:
            assert [answer.status for answer in pair] == [200, 200]
        for answer in answers[admitted]:
            assert answer.status == 429
            assert 1 <= int(answer.get("retry-after") or 0) <= 60
        return answers[admitted]

    def compared(self) -> int:
        """How many cases are compared."""
        return sum(route_of(self.routes, case) not in self.lost for case in CASES)


def is_needless(target: str) -> bool:
    """Whether the path has something encoded that needs no encoding."""
    path = target.partition("?")[0].encode()
    return normalised(path).count(b"%") < path.count(b"%")


@contextmanager
def beside(
    render: Callable[[Config], Rendering],
    start: Start,
    directory: Path,
    configure: Callable[[str, Path], dict[str, Any]] = configuration,
) -> Iterator[Both]:
    """The target and Portico, with one service behind both; `configure` makes routes of its URL and a directory."""
    with ExitStack() as stack:
        backend = stack.enter_context(Backend(service))
        written, port = configure(backend.url, directory), free_port()
        config = load(written, port)
        rendering = render(config)
        stack.enter_context(start(rendering, port, directory))
        unchecked = {name: {**own, "health_check": False} for name, own in written["services"].items()}
        portico = stack.enter_context(Gateway({**written, "services": unchecked}))
        routes = Router(rule_of(route, route.name) for route in config.all_routes if not route.is_variant)
        yield Both(port, portico.port, routes, lost_routes(config, rendering), rendering.otherwise)


def load(written: Mapping[str, Any], port: int) -> Config:
    """The configuration for a target that listens on `port`."""
    own = {"host": "127.0.0.1", "port": port, "log": {"access": "off"}}
    return load_text(yaml.safe_dump({"gateway": own, **written}), "portico.yaml", {})


def lost_routes(config: Config, rendering: Rendering) -> frozenset[str]:
    """The names of the routes for which a loss is listed; one that is listed elsewhere excuses no case."""
    found = [re.match(r"routes\[(\d+)\]", loss.what) for loss in rendering.losses]
    places = {("routes", int(each[1])) for each in found if each is not None}
    return frozenset(route.name for route in config.all_routes if route.source[:2] in places)


def route_of(routes: Router[str], case: Case) -> str | None:
    """The name of the route that a case is of; None where there is none."""
    fields = [line.encode() for line in case.lines]
    names = [line.partition(b":")[0].lower() for line in fields]
    lines = dict(line.split(": ", 1) for line in case.lines)
    method = lines.get("Access-Control-Request-Method", case.method)
    path, _, query = case.target.partition("?")
    try:
        segments = segments_of(path.encode())
    except MessageError:  # a path that is refused before
        return None
    found = routes.match(segments, case.host.encode(), method.encode(), Fields(names, fields), f"?{query}".encode())
    return found[0] if found is not None else None
