"""Which instance a request belongs to, by the gateway's cookie or by what a service issued."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from portico.core.exchange import Exchange
from portico.core.slices import at_once
from portico.upstreams.consistent_hash import by_header
from portico.upstreams.instance import Instance
from portico.upstreams.sticky import CookieSticky, Sticky
from portico.upstreams.sticky_issued import Bindings, IssuedSticky

from .members import Member, exchange, members

A: Any
B: Any
C: Any
A, B, C = members(3)


class Shared:
    """What is put into Redis, and whether that serves."""

    def __init__(self) -> None:
        self.is_up = True
        self.stored: list[tuple[bytes, str, float]] = []

    def put(self, key: bytes, instance: str, ttl: float) -> None:
        self.stored.append((key, instance, ttl))


def always(instance: Any) -> Any:
    """A balancer that chooses one instance, if that is not excluded."""
    return lambda excluded, _: None if instance in excluded else instance


def chosen(sticky: Sticky, asked: Exchange, excluded: Sequence[Any] = (), usable: Sequence[Any] = (A, B)) -> Any:
    return sticky.over(always(C), {*usable})(excluded, asked)


def with_cookie(sticky: CookieSticky, instance: Instance) -> Exchange:
    return exchange(f"Cookie: a=b; where={sticky.id_of(instance.name).decode()}; c=d")


# ---- by a cookie


def test_the_cookie_leads_to_its_instance_while_that_can_be_used() -> None:
    sticky = CookieSticky("where", b"key", "s")
    assert chosen(sticky, exchange()) is C
    assert chosen(sticky, with_cookie(sticky, A)) is A
    assert chosen(sticky, with_cookie(sticky, B)) is B
    assert chosen(sticky, with_cookie(sticky, A), excluded=[A]) is C
    assert chosen(sticky, with_cookie(sticky, A), usable=[B]) is C
    assert chosen(sticky, with_cookie(sticky, A), excluded=[A, C]) is None


@pytest.mark.parametrize(("key", "scope"), [(b"other", "s"), (b"key", "t")])
def test_the_cookies_of_another_key_or_service_lead_nowhere(key: bytes, scope: str) -> None:
    other = CookieSticky("where", key, scope)
    assert chosen(CookieSticky("where", b"key", "s"), with_cookie(other, A)) is C


def test_an_id_is_the_same_wherever_the_key_is() -> None:
    one, other = CookieSticky("where", b"key", "s"), CookieSticky("other", b"key", "s")
    assert one.id_of("10.0.0.1:80") == other.id_of("10.0.0.1:80")
    assert len({one.id_of(f"10.0.0.{number}:80") for number in range(100)}) == 100
    assert len(one.id_of("10.0.0.1:80")) == 16


# ---- by what the service issued


def issued(bindings: Bindings | None = None, shared: Shared | None = None) -> IssuedSticky:
    sticky = IssuedSticky(
        by_header("Session"), "s", Bindings(100.0) if bindings is None else bindings, cast(Any, shared)
    )
    sticky.over(always(C), {A, B})
    return sticky


def test_a_value_leads_to_the_instance_that_issued_it() -> None:
    sticky = issued()
    sticky.issued(b"one", A.name, 1000.0, is_error=False)
    assert chosen(sticky, exchange("Session: one")) is A
    assert chosen(sticky, exchange("Session: two")) is C
    assert chosen(sticky, exchange()) is C
    assert chosen(sticky, exchange("Session: one"), usable=[B]) is C
    sticky.issued(b"one", B.name, 1000.0, is_error=True)
    assert chosen(sticky, exchange("Session: one")) is A, "an error that repeats a value does not issue it"
    sticky.issued(b"one", B.name, 1000.0, is_error=False)
    assert chosen(sticky, exchange("Session: one")) is B, "it has taken the session over"
    sticky.issued(b"three", B.name, 1000.0, is_error=True)
    assert chosen(sticky, exchange("Session: three")) is B, "a page of errors may begin a session"


def test_a_value_is_forgotten_when_nobody_uses_it_any_more() -> None:
    bindings = Bindings(100.0)
    sticky = issued(bindings)
    for value in (b"one", b"two"):
        sticky.issued(value, A.name, 1000.0, is_error=False)
    assert sticky.named(exchange("Session: one", started=1090.0)) is A
    at_once(bindings.age(1110.0))
    assert len(bindings) == 1
    assert sticky.named(exchange("Session: one", started=1180.0)) is A, "each use counts"
    assert sticky.named(exchange("Session: one", started=1300.0)) is None


def test_only_so_many_are_remembered() -> None:
    bindings = Bindings(100.0, most=2)
    for digest in (b"1", b"2"):
        bindings.put(digest, "a", 0.0)
    assert bindings.get(b"1", 1.0)
    bindings.put(b"3", "a", 2.0)
    assert [bindings.get(digest, 3.0) is not None for digest in (b"1", b"2", b"3")] == [True, False, True]


def test_sessions_that_nobody_uses_push_out_none_that_are_used() -> None:
    bindings = Bindings(1000.0, most=100)
    bindings.put(b"used", "a", 0.0)
    assert bindings.get(b"used", 0.0)
    for number in range(10_000):
        bindings.put(b"%d" % number, "a", 1.0)
        assert len(bindings) <= 100
        assert bindings.known(b"%d" % number), "one that begins is used soon, and known until then"
    assert bindings.get(b"used", 1.0)


def test_a_new_session_is_known_where_all_others_are_used() -> None:
    bindings = Bindings(1000.0, most=100)
    for number in range(500):
        bindings.put(b"%d" % number, "a", 1.0)
        bindings.get(b"%d" % number, 1.0)
    for digest in (b"x", b"y", b"z"):
        bindings.put(digest, "a", 2.0)
    assert [bindings.get(digest, 3.0) is not None for digest in (b"x", b"y", b"z", b"0")] == [True, True, True, False]


def test_redis_is_told_once_what_is_issued_and_now_and_then_that_it_is_used() -> None:
    shared = Shared()
    sticky = issued(shared=shared)
    for _ in range(3):
        sticky.issued(b"one", A.name, 1000.0, is_error=False)
    ((key, instance, ttl),) = shared.stored
    assert (instance, ttl) == (A.name, 100.0)
    assert key.startswith(b"portico:sticky:s:")
    assert b"one" not in key
    assert sticky.asks_about(exchange("Session: one", started=1020.0)) is None
    assert len(shared.stored) == 1
    for moment in (1030.0, 1031.0):
        assert sticky.asks_about(exchange("Session: one", started=moment)) is None
    assert len(shared.stored) == 2


def test_redis_is_asked_about_what_a_worker_does_not_know() -> None:
    shared = Shared()
    sticky = issued(shared=shared)
    assert sticky.asks_about(exchange()) is None
    digest = sticky.asks_about(exchange("Session: one"))
    assert digest is not None
    sticky.found(digest, A.name, 1000.0)
    assert sticky.asks_about(exchange("Session: one")) is None
    assert sticky.named(exchange("Session: one")) is A
    sticky.over(always(C), {B})
    assert sticky.asks_about(exchange("Session: one")) == digest, "another instance may have taken it over"
    shared.is_up = False
    assert sticky.asks_about(exchange("Session: two")) is None


def test_of_two_instances_of_one_name_the_one_that_stays_is_led_to() -> None:
    """As while the TLS of an instance changes."""
    other: Any = Member(A.name)
    sticky = issued()
    sticky.issued(b"one", A.name, 1000.0, is_error=False)
    for usable, led_to in (({A, other}, {A, other}), ({other}, {other}), ({A}, {A}), (set[Any](), {None})):
        sticky.over(always(C), usable)
        assert sticky.named(exchange("Session: one")) in led_to
