"""The gateway with users' policies on one route, between scripted clients and services."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from unittest import mock

from fuzz.case import Answer as Reply
from fuzz.case import Case
from fuzz.ends import Service
from fuzz.left_over import check_bounds, check_end, check_pools
from fuzz.readers import Message
from fuzz.sent_back import responses_of
from fuzz.simulation import Simulation
from portico import policies
from portico.config import Config
from portico.core.exchange import Exchange
from portico.plugin import Policy
from portico.policies.plugins import hooks as hooks_module
from portico.policies.plugins import steps as steps_module
from portico.policies.plugins.hooks import PluginHooks
from portico.wire.http1.server import ServerConnection

PLAIN: Final[dict[str, Any]] = {
    "services": {
        "open": {
            "url": "http://open.test",
            "health_check": False,
            "retries": {"attempts": 2, "on": ["connect", "reset", 503], "budget": 1.0},
            "policies": {"cors": {}},
        }
    }
}
"""`cors` stands for the place in the order: the policies of a test come right before it."""
LIMITED: Final[dict[str, Any]] = {
    "services": {
        "open": {
            "url": "http://open.test",
            "health_check": False,
            "policies": {"rate_limit": {"requests_per_minute": 6000, "burst": 6000}},
        }
    }
}
"""The same with `rate_limit`, which drops no field of a service's: heads that repeat are passed as they were."""

OK: Final = Reply("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-From: service\r\n\r\nok")
STREAM: Final = Reply("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-From: service\r\n\r\n2\r\nok\r\n0\r\n\r\n")
UNTIL_CLOSE: Final = Reply("HTTP/1.1 200 OK\r\nX-From: service\r\n\r\nok", end="close")
RESPONSES: Final = {"whole": OK, "stream": STREAM, "until close": UNTIL_CLOSE}


def get(path: str = "/api/open/x", *lines: str, method: str = "GET", version: str = "1.1") -> str:
    """A request without a body."""
    return "\r\n".join((f"{method} {path} HTTP/{version}", "Host: a.example", *lines, "", ""))


def post(body: str, *lines: str, path: str = "/api/open/x", method: str = "POST") -> str:
    """A request with a body of known length."""
    return get(path, f"Content-Length: {len(body)}", *lines, method=method) + body


def chunked(*pieces: str) -> str:
    """A body in chunks."""
    return "".join(f"{len(piece):x}\r\n{piece}\r\n" for piece in pieces if piece) + "0\r\n\r\n"


def reply(body: str = "", *lines: str, status: str = "200 OK", end: str = "keep") -> Reply:
    """A response with a body of known length, unless `lines` say otherwise."""
    is_framed = any(line.startswith(("Content-Length", "Transfer-Encoding")) for line in lines)
    framing = () if is_framed else (f"Content-Length: {len(body)}",)
    return Reply("\r\n".join((f"HTTP/1.1 {status}", *framing, *lines, "", body)), end=end)


@dataclass
class Scene:
    """A simulated gateway; `hooks` are those of its policies, `reports` what failed or blocked in them."""

    simulation: Simulation
    hooks: list[PluginHooks]
    reports: list[tuple[str, str, BaseException | None]] = field(default_factory=list)

    def say(self, text: str, client: int = 0) -> None:
        """The client sends this, in one piece; services notice it and answer nothing yet."""
        self.simulation.clients[client].line.say(text.encode("latin-1"))
        self.simulation.turn()

    def ask(self, *texts: str, client: int = 0) -> None:
        """The client sends this, piece by piece, and everything follows from it."""
        for text in texts:
            self.say(text, client)
        self.simulation.settle()

    def pass_time(self, seconds: float) -> None:
        self.simulation.loop.pass_time(seconds)
        self.simulation.turn()

    def reset(self, client: int = 0) -> None:
        """The client breaks its connection."""
        self.simulation.clients[client].line.reset()
        self.simulation.turn()

    def connection(self, client: int = 0) -> ServerConnection:
        protocol = self.simulation.clients[client].line.protocol
        assert isinstance(protocol, ServerConnection)
        return protocol

    def received(self, client: int = 0) -> bytes:
        """What the client has read."""
        return bytes(self.simulation.clients[client].line.received)

    def responses(self, client: int = 0) -> list[Message]:
        """The same, as responses."""
        return responses_of(self.simulation, self.simulation.clients[client])

    def response(self) -> Message:
        """The only one."""
        (found,) = self.responses()
        return found

    def outcome(self) -> tuple[int, bytes]:
        """The status and body of the only one, which is complete."""
        found = self.response()
        assert found.complete, found
        return found.status, bytes(found.body)

    def exchange(self, client: int = 0) -> Exchange:
        """The client's last exchange."""
        found = self.simulation.seen_of(self.simulation.clients[client])[-1].exchange
        assert found is not None
        return found

    @property
    def service(self) -> Service:
        """The last connection to a service."""
        return self.simulation.services[-1]

    @property
    def requests(self) -> list[Message]:
        """What services were sent."""
        return [request for service in self.simulation.services for request in service.requests]

    @property
    def running(self) -> list[int]:
        return [each.running for each in self.hooks]

    def failures(self) -> list[tuple[str, str, str]]:
        """What was reported so far: policy, hook, exception."""
        found = [(name, hook, type(error).__name__) for name, hook, error in self.reports]
        self.reports.clear()
        return found


def _giving(policy: Any) -> Callable[[Any, Any], Any]:
    return lambda settings, context: policy


@contextmanager
def scene(
    *chain: Policy | policies.Policy | policies.Hooks,
    answers: Sequence[Reply] = (OK,),
    skip: bool = False,
    clients: int = 1,
    dials: str = "o",
    limits: dict[str, int] | None = None,
    sizes: Sequence[int] = (1 << 20,),
    config: dict[str, Any] = PLAIN,
    key: str = "cors",
) -> Iterator[Scene]:
    """A gateway with these policies, those of users in their containment; afterwards nothing is left of it all.

    What failed in them is to be asked for by `failures`.
    """
    own = Scene(None, [])  # type: ignore[arg-type]  # set below
    steps = []
    for each in chain:
        one: Any = each
        if isinstance(each, Policy):
            name = type(each).__name__

            def report(hook: str, error: BaseException | None, seconds: float, name: str = name) -> None:
                own.reports.append((name, hook, error))

            own.hooks.append(PluginHooks(each, name, 1.0, skip, report))
            one = own.hooks[-1].as_hooks()
        steps.append(policies.Step(key, None, _giving(one)))
    case = Case([""] * clients, list(answers), sizes=list(sizes), dials=dials, limits=limits or {})
    built = Config.model_validate(config)
    with (
        Simulation(case, steps, built) as simulation,
        mock.patch.object(hooks_module, "monotonic", simulation.loop.time),
        mock.patch.object(steps_module, "monotonic", simulation.loop.time),
    ):
        own.simulation = simulation
        simulation.watch.append(check_bounds)
        yield own
        check_pools(simulation)
        simulation.expire()
        check_end(simulation)
        assert own.running == [0] * len(own.hooks), f"running: {own.running}"
        assert not own.reports, f"policies failed: {own.reports}"
        assert not simulation.loop.faults, simulation.loop.faults
        assert not simulation.events.lines, simulation.events.lines
