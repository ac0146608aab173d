"""Which connections a worker accepts, by what they come from."""

from __future__ import annotations

from typing import cast

from portico.core.exchange import Client
from portico.wire.frontend import Connection, Limits

from .world import ServerWorld


class Counted:
    """A connection as far as it is counted."""

    def __init__(self, address: str) -> None:
        self.client = Client(address, 8000, secure=False)


def arriving(address: str) -> Connection:
    return cast(Connection, Counted(address))


def test_all_addresses_of_an_ipv6_network_are_one_client() -> None:
    """Rate limits count by /64: whoever has one could open any number of connections else."""
    server = ServerWorld(Limits(connections_per_client=2)).server
    crowd = [arriving(f"2001:db8:0:1::{number}") for number in range(3)]
    errors = [server.admit(each) for each in crowd]
    assert [error and error.reason for error in errors] == [None, None, "too_many_connections"]
    assert server.admit(arriving("2001:db8:0:2::1")) is None, "another network"
    assert server.clients["2001:db8:0:1::/64"] == 3
    for each in crowd:
        server.release(each)
    assert "2001:db8:0:1::/64" not in server.clients
    assert server.admit(arriving("2001:db8:0:1::9")) is None


def test_an_ipv4_address_in_ipv6_form_is_the_same_client() -> None:
    server = ServerWorld(Limits(connections_per_client=1)).server
    assert server.admit(arriving("192.0.2.1")) is None
    error = server.admit(arriving("::ffff:192.0.2.1"))
    assert error is not None
    assert error.reason == "too_many_connections"
