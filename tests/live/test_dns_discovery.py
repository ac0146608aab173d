"""Services whose instances a name server knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from support.backend import Backend
from support.name_server import SERVER_FAILURE, NameServer
from support.world import Gateway, until

ADDRESSES = ("127.0.0.2", "127.0.0.3", "127.0.0.4")


@pytest.fixture(scope="module")
def names() -> Iterator[NameServer]:
    with NameServer() as own:
        yield own


@pytest.fixture(scope="module")
def copies() -> Iterator[dict[str, Backend]]:
    first = Backend(name=ADDRESSES[0], host=ADDRESSES[0])
    others = [Backend(name=address, host=address, port=first.port) for address in ADDRESSES[1:]]
    with first, others[0], others[1]:
        yield {each.name: each for each in (first, *others)}


@pytest.fixture(scope="module")
def gateway(names: NameServer, copies: dict[str, Backend]) -> Iterator[Gateway]:
    port = copies[ADDRESSES[0]].port
    often = {"dns_refresh": "100ms", "health_check": False}
    by_address = {"name": "orders.test", "port": port, "server": names.address}
    by_service = {"name": "_http._tcp.orders.test", "type": "SRV", "server": names.address}
    services = {"plain": {"discover": {"dns": by_address}, **often}, "srv": {"discover": {"dns": by_service}, **often}}
    with Gateway({"services": services}) as own:
        yield own


@pytest.fixture(autouse=True)
def _fresh(names: NameServer) -> None:
    names.records, names.code = {}, 0


def answering(gateway: Gateway, service: str, times: int = 6) -> Counter[str]:
    answers = [gateway.get(f"/api/{service}/x") for _ in range(times)]
    return Counter(answer.json()["backend"] if answer.status == 200 else str(answer.status) for answer in answers)


def test_addresses_are_instances_and_may_change(gateway: Gateway, names: NameServer) -> None:
    until(lambda: set(answering(gateway, "plain")) == {"503"}, "there are none yet")
    names.records["orders.test", "A"] = [*ADDRESSES]
    until(lambda: answering(gateway, "plain") == dict.fromkeys(ADDRESSES, 2), "all have their share")
    names.records["orders.test", "A"] = [ADDRESSES[1], "169.254.169.254"]
    until(lambda: set(answering(gateway, "plain")) == {ADDRESSES[1]}, "one is left, and no service has the other")


def test_what_is_known_goes_on_while_no_server_answers(gateway: Gateway, names: NameServer) -> None:
    names.records["orders.test", "A"] = [ADDRESSES[0]]
    until(lambda: set(answering(gateway, "plain")) == {ADDRESSES[0]})

    def events(what: str) -> int:
        return sum(what in each["event"] and each.get("service") == "plain" for each in gateway.events())

    failed, again = events("cannot be looked up"), events("can be looked up again")
    assert events("cannot be looked up: it has no instances yet")
    names.code = SERVER_FAILURE
    until(lambda: events("cannot be looked up") == failed + 1, "an event")
    assert events("cannot be looked up: what is known of it goes on")
    asked = len(names.asked)
    until(lambda: len(names.asked) > asked + 4, "it is asked again")
    assert set(answering(gateway, "plain")) == {ADDRESSES[0]}
    names.code = 0
    until(lambda: events("can be looked up again") == again + 1, "another event")
    assert events("cannot be looked up") == failed + 1
    del names.records["orders.test", "A"]
    until(lambda: set(answering(gateway, "plain")) == {"503"}, "a name that is gone has no instances")


def test_records_of_services_have_ports_weights_and_priorities(gateway: Gateway, names: NameServer) -> None:
    heavy, light, backup = ADDRESSES
    with Backend(name="heavy", host=heavy) as a, Backend(name="light", host=light) as b, Backend(host=backup) as c:
        first = [f"10 30000 {a.port} {heavy}", f"10 10000 {b.port} {light}"]
        names.records["_http._tcp.orders.test", "SRV"] = [*first, f"20 0 {c.port} {backup}"]
        until(lambda: answering(gateway, "srv", 8) == {"heavy": 6, "light": 2}, "by their weights")
        a.close()
        b.close()
        until(lambda: set(answering(gateway, "srv")) == {"backend"}, "the next priority, while no other answers")
