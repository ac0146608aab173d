"""The supervisor's listeners: their announcement, their tickets, and others after a reload."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

from portico.config import GatewaySettings
from portico.net.tls.tickets import TicketContexts
from portico.processes.ipc.listeners import Listener, Listeners, address_of, turn_away

logger: Final = logging.getLogger("portico.supervisor")


def announce(listeners: Iterable[Listener], what: str, **extra: object) -> None:
    """An event for each address; `what` is who listens."""
    for listener in listeners:
        named = _named(listener)
        logger.info("%s listening on %s", what, listener.url, extra={**extra, **named})
        if listener.redirect is not None:
            logger.info("redirecting to https from http://%s", address_of(listener.redirect), extra=named)


def _named(listener: Listener) -> dict[str, str]:
    return {"listener": listener.key} if listener.key else {}


def keep_tickets(tickets: dict[str, TicketContexts], listeners: Listeners) -> None:
    """One for each listener with TLS, in place: contexts that two shared would have the certificates of one."""
    secure = {listener.key for listener in listeners.gateway if listener.speaks_tls}
    for key in tickets.keys() - secure:
        del tickets[key]
    for key in secure - tickets.keys():
        tickets[key] = TicketContexts()


def relisten(current: Listeners, settings: GatewaySettings, what: str) -> Listeners:
    """Those that other settings want, open for workers that are forked next; `current` where these are the same.

    On what is not wanted any more no handshake begins from now on, and the workers that are there accept those that
    have begun: each has its own end of the socket.
    """
    following, problems = current.following(settings)
    for problem in problems:
        logger.error("not all listeners of the configuration could be opened", extra={"reason": problem})
    before = {listener.manner for listener in current.gateway}
    if before == {listener.manner for listener in following.gateway}:
        return current
    kept = following.public
    for listener in current.gateway:
        if gone := [each for each in listener.sockets.values() if each not in kept]:
            logger.info("no longer listening on %s", " and ".join(map(address_of, gone)), extra=_named(listener))
        for each in gone:
            turn_away(each)
            each.close()
    announce((each for each in following.gateway if each.manner not in before), what)
    return following
