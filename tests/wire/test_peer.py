"""Where a connection comes from."""

from __future__ import annotations

import pytest

from wire.world import ServerWorld


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        (("192.0.2.1", 1), "192.0.2.1"),
        (("::ffff:192.0.2.1", 1, 0, 0), "192.0.2.1"),
        (("2001:db8::1", 1, 0, 0), "2001:db8::1"),
        ("", ""),
    ],
)
def test_client_address(peer: object, address: str) -> None:
    world = ServerWorld()
    world.wire.transport._extra["peername"] = peer  # type: ignore[attr-defined]
    connection = world.server()
    connection.connection_made(world.wire.transport)
    assert (connection.client.address, connection.client.local_port, connection.client.secure) == (address, 8000, False)
