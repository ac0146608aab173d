"""The gateway with a cache before one service, between scripted clients and that service."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from fuzz.case import Answer as Reply
from fuzz.readers import Message
from portico.plugin import Policy
from portico.policies import Hooks
from portico.policies import Policy as RequestPolicy
from portico.proxy.cache.caches import Caches
from proxy.hooks.scene import Scene
from proxy.hooks.scene import scene as hooked_scene

STATUS: Final = b"cache-status"


def get(path: str = "/x", *lines: str, method: str = "GET", version: str = "1.1") -> str:
    """A request without a body."""
    return "\r\n".join((f"{method} /api/open{path} HTTP/{version}", "Host: a.example", *lines, "", ""))


def reply(body: str = "ok", *lines: str, status: str = "200 OK", age: int | None = 60, end: str = "keep") -> Reply:
    """A response that is fresh for `age` seconds, if it says so; without a length where `lines` have a coding."""
    is_framed = any(line.startswith(("Content-Length", "Transfer-Encoding")) for line in lines) or end != "keep"
    framing = () if is_framed else (f"Content-Length: {len(body)}",)
    fresh = () if age is None else (f"Cache-Control: max-age={age}",)
    return Reply("\r\n".join((f"HTTP/1.1 {status}", *framing, *fresh, *lines, "", body)), end=end)


def chunked(*pieces: str) -> str:
    """A body in chunks."""
    return "".join(f"{len(piece):x}\r\n{piece}\r\n" for piece in pieces) + "0\r\n\r\n"


def config(cache: Any = True, policies: dict[str, Any] | None = None, **service: Any) -> dict[str, Any]:
    """A configuration with this cache; further `policies` and keys of the service."""
    own = {"cache": cache, **(policies or {})}
    return {"services": {"open": {"url": "http://open.test", "health_check": False, "policies": own, **service}}}


@contextmanager
def scene(
    *answers: Reply,
    cache: Any = True,
    clients: int = 1,
    chain: Sequence[Policy | RequestPolicy | Hooks] = (),
    policies: dict[str, Any] | None = None,
    service: dict[str, Any] | None = None,
    dials: str = "o",
    limits: dict[str, int] | None = None,
    sizes: Sequence[int] = (1 << 20,),
) -> Iterator[Scene]:
    """A gateway with this `cache`; afterwards nobody waits for anything, and nothing is left that was under way."""
    place: dict[str, Any] = {"cors": {}} if chain else {}  # policies of a test come right before it
    built = config(cache, place | (policies or {}), **(service or {}))
    with hooked_scene(
        *chain, answers=answers or (reply(),), clients=clients, config=built, dials=dials, limits=limits, sizes=sizes
    ) as own:
        yield own
        caches = caches_of(own)
        own.simulation.expire()
        assert not caches.flights.leading, caches.flights.leading
        assert caches.room.used == 0, f"{caches.room.used} bytes of responses that nobody fetches any more"
        counted = sum(caches.metrics.cached["open"].values())
        asked = sum(len(own.simulation.seen_of(client)) for client in own.simulation.clients)
        assert counted == asked, f"{counted} outcomes of {asked} requests: {caches.metrics.cached}"


def caches_of(own: Scene) -> Caches:
    """What is stored and under way."""
    return own.simulation.builder.caches


def one(message: Message, name: bytes) -> bytes | None:
    """The one value of a field; None where it is absent."""
    values = message.all(name)
    assert len(values) < 2, values
    return values[0] if values else None


def statuses(own: Scene, client: int = 0) -> list[bytes | None]:
    """What the cache said of each response to a client."""
    return [one(message, STATUS) for message in own.responses(client)]


def bodies(own: Scene, client: int = 0) -> list[bytes]:
    """The bodies that a client got, which are complete."""
    assert all(message.complete for message in own.responses(client))
    return [bytes(message.body) for message in own.responses(client)]


def outcomes(own: Scene) -> dict[str, int]:
    """How often each came out."""
    counts = caches_of(own).metrics.cached["open"]
    return {outcome: count for outcome, count in counts.items() if count}


def ask(own: Scene, *texts: str, client: int = 0) -> None:
    """A client sends this, and all follows from it for which no time has to pass."""
    for text in texts:
        own.say(text, client)
        play(own)


def play(own: Scene) -> None:
    """Services send all that they have to say."""
    simulation = own.simulation
    while speakers := [service for service in simulation.services if service.pieces and not service.line.lost]:
        for speaker in speakers:
            if speaker.pieces:
                speaker.say()
                simulation.turn()
