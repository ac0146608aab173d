"""Where a request comes in: the listener that its URL names, or the port beside it that redirects to HTTPS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from portico.config import Config, ListenerSettings
from portico.core.exchange import Client
from portico.snapshot.explain.question import Question

NO_PORTS: Final[Mapping[str, int]] = {}
"""As they are written: one that is 0 is chosen when it is opened."""


@dataclass(frozen=True, slots=True)
class Entrance:
    """One of the ports of a gateway; `redirects` says that it is the one that sends every client to HTTPS."""

    listener: ListenerSettings
    port: int
    redirects: bool

    @property
    def secure(self) -> bool:
        """Whether clients speak TLS."""
        return self.listener.tls is not None and not self.redirects

    @property
    def https_port(self) -> int:
        """Where a port that redirects sends them."""
        tls = self.listener.tls
        return (tls.redirect_to if tls is not None else None) or self.listener.port

    def client(self, question: Question) -> Client:
        """Who asks, on a connection here."""
        return Client(question.client_ip, self.port, self.secure)


def entrance_of(question: Question, config: Config, ports: Mapping[str, int] = NO_PORTS) -> Entrance:
    """Where it comes in. `ports` are those of the listeners, by their names, where they are open.

    Raises ValueError where no listener is called as it says.
    """
    entrances = [*_entrances(config.gateway.listeners, ports)]
    if question.listener is not None:
        for each in entrances:
            if question.listener in (str(each.port), "" if each.redirects else each.listener.key):
                return each
        names = ", ".join(dict.fromkeys(each.listener.key or str(each.port) for each in entrances))
        raise ValueError(f"no listener is called {question.listener}: there is {names}")
    if question.scheme is None:
        return entrances[0]
    alike = [each for each in entrances if each.secure == (question.scheme == "https")]
    at_port = [each for each in entrances if each.port == question.port]
    both = [each for each in at_port if each in alike]
    plain = [each for each in alike if not each.redirects]
    return next(iter((*both, *at_port, *plain, *alike, *entrances)))


def _entrances(listeners: Sequence[ListenerSettings], ports: Mapping[str, int]) -> Iterator[Entrance]:
    for listener in listeners:
        yield Entrance(listener, ports.get(listener.key, listener.port), redirects=False)
    for listener in listeners:
        if listener.tls is not None and listener.tls.redirect_from is not None:
            yield Entrance(listener, listener.tls.redirect_from, redirects=True)
