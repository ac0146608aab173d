"""What the gateway holds while it works, and what is left of it: bounded sums, clean pools, no fault, and an end."""

from __future__ import annotations

from typing import Any, Final

from portico.policies.awaited import RUNNING
from portico.upstreams.breaker import Breaker
from portico.wire.http1.client import UpstreamConnection
from portico.wire.http1.server import READING_HEAD, ServerConnection

from .case import LARGEST_READ
from .simulation import Simulation

_ROOM: Final = LARGEST_READ
"""Bytes that one read may bring on top of what a limit allows."""
_BUFFERED: Final = 64 * 1024 + 2 * _ROOM
"""One read may come as a request is begun, another while it runs; then no more."""
_HELD: Final = 64 * 1024 + 64 * 1024 + 2 * _ROOM


def check_faults(simulation: Simulation) -> None:
    """No exception reached the loop, and no exchange failed for a reason that nobody foresaw."""
    assert not simulation.loop.faults, f"the loop caught {simulation.loop.faults}"
    assert not simulation.events.lines, f"the gateway reported {simulation.events.lines}"


def check_bounds(simulation: Simulation) -> None:
    """What the gateway holds for its connections stays under fixed sums, whatever has come."""
    for client in simulation.clients:
        protocol: Any = client.line.protocol
        assert isinstance(protocol, ServerConnection)
        assert len(protocol.buffer) <= _BUFFERED, f"{len(protocol.buffer)} bytes of a client's are kept"
        assert _held(protocol) <= _HELD, f"{_held(protocol)} bytes wait for a client"
        assert protocol.decoder is None or len(protocol.decoder._pending) <= 8192 + 4 + _BUFFERED
        receiver = getattr(protocol, "receiver", None)
        kept = sum(map(len, getattr(receiver, "kept", ())))
        assert kept <= _BUFFERED, f"{kept} bytes of content are kept"
        seen = simulation.seen_of(client)
        if seen and seen[-1].ends and protocol.state is READING_HEAD:
            assert not kept, f"an idle connection keeps {kept} bytes of content"
            assert seen[-1].exchange is not None
            assert not seen[-1].exchange.content, "an idle connection keeps content"
        assert len(client.line.unsent) <= _HELD, f"{len(client.line.unsent)} bytes are written to a client"
    for service in simulation.services:
        upstream: Any = service.line.protocol
        assert isinstance(upstream, UpstreamConnection)
        assert len(upstream.buffer) <= _BUFFERED, f"{len(upstream.buffer)} bytes of a service's are kept"
        assert _held(upstream) <= _HELD, f"{_held(upstream)} bytes wait for a service"
        assert len(service.line.unsent) <= _HELD, f"{len(service.line.unsent)} bytes are written to a service"


def _held(protocol: Any) -> int:
    return len(protocol.outgoing)


def check_pools(simulation: Simulation) -> None:
    """Every connection that is kept for reuse is at rest; one that has closed is only waiting to be forgotten."""
    for instance in simulation.instances:
        for connection in instance._idle:
            if connection.is_alive():
                assert connection.is_reusable(), "a kept connection that cannot be used again"
                assert not connection.buffer, "a kept connection with bytes of an earlier response"
                assert connection.receiver is None, "a kept connection that still has an exchange"


def check_end(simulation: Simulation) -> None:
    """After every time-out has passed nothing is left: no exchange, no connection, no deadline, no task."""
    for client in simulation.clients:
        for seen in simulation.seen_of(client):
            assert len(seen.ends) == 1, f"an exchange ended {len(seen.ends)} times"
    assert simulation.server.in_flight == 0, f"{simulation.server.in_flight} in flight after all"
    assert not simulation.server.connections, "a client's connection that never ends"
    for instance in simulation.instances:
        assert instance.in_flight == 0, f"{instance.in_flight} in flight at {instance.name} after all"
        assert not any(connection.is_alive() for connection in instance._idle), "an idle connection that never ends"
    assert all(service.line.lost for service in simulation.services), "a service's connection that never ends"
    timed = {item for items in simulation.deadlines._slots.values() for item in items}
    assert all(isinstance(item, Breaker) for item in timed), "a deadline of nobody"
    assert not RUNNING, "a task that never ends"
