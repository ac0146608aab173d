"""Limits with `enforce: false`: what they count, what they report, and that they refuse nothing."""

from __future__ import annotations

from typing import Any

import pytest

from portico.core.errors import Answer
from portico.core.exchange import Exchange, RouteMatch
from portico.observe.families import Counter, Shape
from portico.policies.policy import Context, Policy, State
from portico.policies.rate_limit import (
    RateLimit,
    RateLimitSettings,
    build_after_auth,
    build_before_auth,
    build_shadow_after_auth,
    build_shadow_before_auth,
)
from support.structured import read_list

from .exchanges import exchange

BUILDERS = (build_before_auth, build_shadow_before_auth, build_after_auth, build_shadow_after_auth)
TIGHT: dict[str, Any] = {"requests_per_minute": 1, "burst": 1}


class Handling:
    service_name = "shop"


class Limits:
    """The policies of one level, as a request passes them."""

    def __init__(self, settings: RateLimitSettings, state: State | None = None) -> None:
        self.counter = Counter(Shape("x", "counter", ("service", "limit"), ()), "")
        context = Context("gateway", state or State(), shadowed=self.counter)
        self.policies: list[Policy] = [made for build in BUILDERS if (made := build(settings, context)) is not None]

    def ask(self, *lines: str, **given: Any) -> tuple[Exchange, int | None]:
        """The exchange, and the status of what refused it."""
        asked = exchange(*lines, **given)
        asked.match = RouteMatch(None, Handling(), "/x", b"/x")
        for policy in self.policies:
            answer = policy(asked)
            if answer is not None:
                assert isinstance(answer, Answer)
                return asked, answer.status
        return asked, None

    @property
    def counted(self) -> dict[str, float]:
        return {limit: count for (service, limit), count in self.counter.series.items() if service == "shop"}


def left(asked: Exchange) -> dict[str, int]:
    """What remains by each limit, by name."""
    fields = [line.decode() for line in asked.response_lines if line.startswith(b"RateLimit: ")]
    return {each.value: each.parameters["r"] for each in read_list(*(line[11:] for line in fields))}


def test_it_passes_what_it_would_refuse_and_reports_it() -> None:
    limits = Limits(RateLimit(**TIGHT, enforce=False))
    assert [(asked.shadow, status) for asked, status in (limits.ask() for _ in range(3))] == [
        (None, None),
        ("client_ip", None),
        ("client_ip", None),
    ]
    assert limits.counted == {"client_ip": 2}
    asked, _ = limits.ask()
    assert [line.decode() for line in asked.response_lines] == [
        'RateLimit-Policy: "client_ip";q=1;w=60;portico-shadow',
        'RateLimit: "client_ip";r=0;t=60;portico-shadow',
    ], "no Retry-After: nobody has to wait"


def test_it_would_refuse_just_what_it_refuses_once_it_is_enforced() -> None:
    def refused(enforce: bool) -> list[bool]:
        limits = Limits(RateLimit(requests_per_minute=60, burst=3, enforce=enforce))
        asked = [limits.ask(started=1000.0 + at) for at in (0, 0, 0, 0, 0.5, 1, 1, 1.5, 9, 9, 9, 9)]
        return [(exchange.shadow is not None) if not enforce else status is not None for exchange, status in asked]

    assert refused(enforce=False) == refused(enforce=True)
    assert sum(refused(enforce=True)) == 5


def test_what_was_counted_holds_when_it_is_enforced() -> None:
    state = State()
    assert Limits(RateLimit(**TIGHT, enforce=False), state).ask()[1] is None
    assert Limits(RateLimit(**TIGHT), state).ask()[1] == 429


def test_enforced_ones_and_others_in_a_list() -> None:
    """Those that are not enforced take nothing from the others, and see nothing of what the others refuse."""
    limits = Limits(
        [
            RateLimit(requests_per_minute=1, burst=2, name="shadow", enforce=False),
            RateLimit(requests_per_minute=1, burst=3, name="hard"),
            RateLimit(requests_per_minute=1, burst=4, name="user", by="consumer"),
            RateLimit(requests_per_day=1, name="quota", by="consumer", enforce=False),
        ]
    )
    answers = [limits.ask(consumer="alice") for _ in range(5)]
    assert [status for _, status in answers] == [None, None, None, 429, 429]
    assert [asked.shadow for asked, _ in answers] == [None, "quota-day", "shadow,quota-day", None, None]
    assert limits.counted == {"shadow": 1, "quota-day": 2}
    assert left(answers[0][0]) == {"hard": 2, "shadow": 1, "user": 3, "quota-day": 0}
    assert left(answers[3][0]) == {"hard": 0}, "what comes behind a refusal is not asked"


def test_of_several_that_are_not_enforced_one_that_would_refuse_takes_nothing_from_the_others() -> None:
    limits = Limits(
        [RateLimit(**TIGHT, enforce=False), RateLimit(requests_per_minute=1, burst=5, name="b", enforce=False)]
    )
    assert [left(limits.ask()[0])["b"] for _ in range(4)] == [4, 3, 3, 3], "what would be left"


@pytest.mark.parametrize("enforce", [True, False])
def test_a_field_that_comes_twice(enforce: bool) -> None:
    limits = Limits(RateLimit(**TIGHT, by={"header": "X-Key"}, enforce=enforce))
    asked, status = limits.ask("X-Key: a", "X-Key: b")
    assert (status, asked.shadow) == ((400, None) if enforce else (None, "malformed_request"))


def test_a_consumers_own_numbers_are_those_of_all_limits() -> None:
    """A number that an enforced limit has is not added to one that is not."""
    context = Context("gateway", State(), {"vip": {"requests_per_day": 3}})
    settings = [RateLimit(**TIGHT, by="consumer", enforce=False), RateLimit(requests_per_day=1, by="consumer")]
    hard, shadow = (build(settings, context) for build in (build_after_auth, build_shadow_after_auth))
    assert hard is not None
    assert shadow is not None
    assert [hard(exchange(consumer="vip")) is None for _ in range(4)] == [True, True, True, False]
    shadow(asked := exchange(consumer="vip"))
    assert left(asked) == {"consumer": 0}
