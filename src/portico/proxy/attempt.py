"""One attempt at one instance of a service: take or open a connection, send, leave."""

from __future__ import annotations

import asyncio
import time

from portico.core.errors import UpstreamError
from portico.core.exchange import Exchange
from portico.core.faults import contain
from portico.proxy.routing.route import Handling
from portico.upstreams.instance import Instance
from portico.wire.deadlines import NEVER
from portico.wire.http1.client import UpstreamConnection


class Attempt:
    """The base of a forwarding's successive attempts and of a hedge; subclasses are `ResponseReceiver`s.

    While `instance` is set, the exchange counts there; while `waiting` is, a connection is being opened or a pause
    runs. The subclass decides what is sent and how a failure is handled.
    """

    # fmt: off
    __slots__ = (
        # the exchange
        "exchange", "handling", "loop",
        # the attempt that is under way
        "connection", "instance", "reused", "sent_at", "waiting",
    )
    # fmt: on

    instance: Instance | None
    connection: UpstreamConnection | None
    reused: bool
    """Whether the connection has carried an exchange before; set with it."""
    sent_at: float
    """When the request was sent (monotonic seconds); 0 before."""
    waiting: asyncio.TimerHandle | asyncio.Task[None] | None

    def __init__(self, exchange: Exchange, handling: Handling, loop: asyncio.AbstractEventLoop) -> None:
        self.exchange = exchange
        self.handling = handling
        self.loop = loop
        self.instance = self.connection = self.waiting = None
        self.sent_at = 0.0

    def connect(self, instance: Instance, only_once: bool, fresh_only: bool = False) -> None:
        """Count at `instance`, find an open connection to it or open one, and send.

        With `only_once` an idle connection must be safe for a request that cannot be repeated, with `fresh_only` none
        will do.
        """
        breaker = instance.breaker
        if breaker is not None and breaker.alert:
            breaker.started(self.exchange)
        self.instance = instance
        instance.in_flight += 1
        connection = None if fresh_only else instance.take(only_once)
        if connection is None:
            self.reused = False
            self.waiting = self.loop.create_task(self._open(instance))
            return
        self.reused = True
        self.send(instance, connection)

    async def _open(self, instance: Instance) -> None:
        try:
            try:
                connection = await instance.connect(min(self.handling.timeouts.connect, self.time_left()))
            except UpstreamError as error:
                self.waiting = None
                self.upstream_failed(error)
            else:
                self.waiting, self.connection = None, connection
                if instance.reachability.is_failing:
                    instance.reachability.succeeded()
                self.send(instance, connection)
        except Exception:
            self.waiting = None
            contain(self)

    def send(self, instance: Instance, connection: UpstreamConnection) -> None:
        """Send the request, or as much of it as has arrived."""
        raise NotImplementedError

    def upstream_failed(self, error: UpstreamError) -> None:
        """No whole response will come."""
        raise NotImplementedError

    def broke(self) -> None:
        """A bug of the gateway's ended the attempt; the instance is left already."""
        raise NotImplementedError

    def faulted(self) -> None:
        """A bug of the gateway's: leave the instance, then handle the failure."""
        try:
            self.drop()
        finally:
            self.broke()

    def response_faulted(self) -> None:
        """The same, while a response is processed."""
        self.faulted()

    def is_stale(self, error: UpstreamError) -> bool:
        """Whether the service had closed a kept connection just as it was reused: not a failure of either side."""
        connection = self.connection
        return connection is not None and self.reused and not connection.received and error.phase == "reset"

    def time_left(self) -> float:
        """Seconds until the exchange must be over."""
        total = self.handling.timeouts.total
        return NEVER if total is None else self.exchange.started + total - time.monotonic()

    def drop_connection(self) -> None:
        """Leave an exchange with a service unfinished; its connection cannot serve another."""
        connection, self.connection = self.connection, None
        if connection is not None:
            try:
                connection.close()
            finally:
                self.leave()

    def drop(self) -> None:
        """Abandon the current attempt, in whatever phase it is."""
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            waiting.cancel()
        try:
            self.drop_connection()
        finally:
            self.leave()

    def leave(self) -> Instance | None:
        """Count at the instance no more, if that is still so."""
        instance, self.instance = self.instance, None
        if instance is not None:
            instance.in_flight -= 1
            if instance.breaker is not None and instance.breaker.alert:
                instance.breaker.left(self.exchange)
        return instance
