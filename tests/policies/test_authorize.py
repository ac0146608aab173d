"""What the consumer may do: by scopes, roles and claims, by method and time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from policies.exchanges import exchange
from portico.core.errors import Refusal
from portico.policies.authorize import AuthorizeSettings, TimeSettings, build_authorize
from portico.policies.policy import Context, State


def reason(
    settings: Mapping[str, Any],
    claims: Mapping[str, Any] | None = None,
    scopes: tuple[str, ...] = (),
    method: str = "GET",
) -> str | None:
    """Why a request is refused; None where it is not."""
    policy = build_authorize(AuthorizeSettings(**settings), Context("gateway", State()))
    assert policy is not None
    answer = policy(exchange(method=method, claims_or_token=claims, scopes=scopes))
    assert answer is None or isinstance(answer, Refusal)
    assert answer is None or answer.status == 403
    return answer.reason if answer is not None else None


@pytest.mark.parametrize(
    ("held", "expected"),
    [(("a",), None), (("x", "b"), None), (("x",), "scope_missing"), ((), "scope_missing"), (("a b",), "scope_missing")],
)
def test_one_of_several_scopes_will_do(held: tuple[str, ...], expected: str | None) -> None:
    assert reason({"any_scopes": ["a", "b"]}, scopes=held) == expected


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"roles": ["user", "admin"]}, None),
        ({"roles": "admin"}, None),
        ({"roles": ["user"]}, "access_denied"),
        ({"roles": []}, "access_denied"),
        ({"roles": "administrator"}, "access_denied"),
        ({"roles": {"admin": True}}, "access_denied"),
        ({}, "access_denied"),
        (None, "access_denied"),
    ],
)
def test_one_of_several_roles_will_do(claims: Mapping[str, Any] | None, expected: str | None) -> None:
    assert reason({"roles": ["admin", "owner"]}, claims) == expected


def test_roles_are_where_they_are_said_to_be() -> None:
    claims = {"realm_access": {"roles": ["admin"]}, "roles": ["nobody"]}
    assert reason({"roles": ["admin"], "roles_claim": "/realm_access/roles"}, claims) is None
    assert reason({"roles": ["nobody"], "roles_claim": "/realm_access/roles"}, claims) == "access_denied"


@pytest.mark.parametrize(
    ("wanted", "claims", "accepted"),
    [
        ({"tenant": "a"}, {"tenant": "a"}, True),
        ({"tenant": ["a", "b"]}, {"tenant": "b"}, True),
        ({"tenant": ["a", "b"]}, {"tenant": "c"}, False),
        ({"tenant": "a"}, {"tenant": ["x", "a"]}, True),
        ({"/tenant/id": 7}, {"tenant": {"id": 7}}, True),
        ({"/tenant/id": 7}, {"tenant": {"id": "7"}}, False),
        ({"/tenant/id": 1}, {"tenant": {"id": True}}, False),
        ({"/groups/1": "b"}, {"groups": ["a", "b"]}, True),
        ({"/groups/01": "b"}, {"groups": ["a", "b"]}, False),
        ({"/groups/2": "b"}, {"groups": ["a", "b"]}, False),
        ({"/https:~1~1x~1plan": "pro"}, {"https://x/plan": "pro"}, True),
        ({"verified": True}, {"verified": True}, True),
        ({"verified": True}, {"verified": "yes"}, True),
        ({"verified": True}, {"verified": 0}, True),
        ({"verified": True}, {"verified": False}, False),
        ({"verified": True}, {"verified": None}, False),
        ({"verified": True}, {}, False),
        ({"suspended": False}, {}, True),
        ({"suspended": False}, None, True),
        ({"suspended": False}, {"suspended": True}, False),
        ({"a": "x", "b": "y"}, {"a": "x", "b": "y"}, True),
        ({"a": "x", "b": "y"}, {"a": "x"}, False),
    ],
)
def test_claims(wanted: Mapping[str, Any], claims: Mapping[str, Any] | None, accepted: bool) -> None:
    assert reason({"claims": wanted}, claims) == (None if accepted else "access_denied")


def test_a_method_may_need_more() -> None:
    settings = {"scopes": ["read"], "methods": {"DELETE": {"scopes": ["write"], "roles": ["admin"]}}}
    assert reason(settings, {}, ("read",)) is None
    assert reason(settings, {}, ("read",), "DELETE") == "scope_missing"
    assert reason(settings, {}, ("read", "write"), "DELETE") == "access_denied"
    assert reason(settings, {"roles": ["admin"]}, ("read", "write"), "DELETE") is None
    assert reason(settings, {"roles": ["admin"]}, ("write",), "DELETE") == "scope_missing", "beside what all need"
    only = {"methods": {"DELETE": {"scopes": ["write"]}}}
    assert reason(only) is None
    assert reason(only, method="DELETE") == "scope_missing"


@pytest.mark.parametrize(
    ("when", "moment", "holds"),
    [
        ({"start": "08:00", "end": "18:00"}, (2026, 11, 30, 8, 0), True),
        ({"start": "08:00", "end": "18:00"}, (2026, 11, 30, 17, 59), True),
        ({"start": "08:00", "end": "18:00"}, (2026, 11, 30, 18, 0), False),
        ({"start": "08:00", "end": "18:00", "zone": "Europe/Berlin"}, (2026, 11, 30, 7, 0), True),
        ({"start": "08:00", "end": "18:00", "zone": "Europe/Berlin"}, (2026, 7, 1, 6, 0), True),
        ({"days": ["sat", "sun"]}, (2026, 11, 30, 12, 0), False),
        ({"days": ["mon"]}, (2026, 11, 30, 23, 59), True),
        ({"days": ["mon"], "start": "22:00", "end": "06:00"}, (2026, 11, 30, 23, 0), True),
        ({"days": ["mon"], "start": "22:00", "end": "06:00"}, (2026, 12, 1, 5, 59), True),
        ({"days": ["mon"], "start": "22:00", "end": "06:00"}, (2026, 12, 1, 6, 0), False),
        ({"days": ["mon"], "start": "22:00", "end": "06:00"}, (2026, 11, 30, 5, 0), False),
        ({"days": ["sun"], "start": "22:00", "end": "06:00"}, (2026, 11, 30, 5, 0), True),
    ],
)
def test_times(when: Mapping[str, Any], moment: tuple[int, int, int, int, int], holds: bool) -> None:
    """The 30th of November 2026 is a Monday."""
    assert TimeSettings(**when).holds(datetime(*moment, tzinfo=UTC).timestamp()) == holds


def test_a_time_that_is_over_ends_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime(2026, 11, 30, 17, 59, 59, tzinfo=UTC).timestamp()
    monkeypatch.setattr("portico.policies.authorize.time.time", lambda: now)
    policy = build_authorize(AuthorizeSettings(times=[{"end": "18:00"}]), Context("gateway", State()))
    assert policy is not None
    assert policy(exchange()) is None
    now += 1
    answer = policy(exchange())
    assert isinstance(answer, Refusal)
    assert (answer.status, answer.reason) == (403, "access_denied")


@pytest.mark.parametrize(
    "written",
    [
        {},
        {"scopes": []},
        {"methods": {"GET": {}}},
        {"claims": {"tenant": []}},
        {"claims": {"tenant": {"is": "a"}}},
        {"times": [{"start": "8:00"}]},
        {"times": [{"start": "24:30"}]},
        {"times": [{"start": "08:00", "end": "08:00"}]},
        {"times": [{"days": []}]},
        {"times": [{"days": ["monday"]}]},
        {"times": [{"zone": "Mars/Olympus"}]},
        {"times": [{"zone": "../etc/passwd"}]},
    ],
)
def test_what_asks_for_nothing_or_cannot_be_read_is_an_error(written: Mapping[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AuthorizeSettings(**written)
