"""Fields that responses get from the policy, and what is changed of requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from portico.core.exchange import Client, Exchange
from portico.policies import STEPS, Context, State, build_chain
from portico.policies.headers import (
    HeadersSettings,
    build_before_all,
    build_behind_auth,
    request_changes,
    response_changes,
)
from portico.proxy.headers.forwarded import Peer

from .exchanges import exchange

CONTEXT = Context("gateway", State())
SECURITY = [
    "X-Content-Type-Options: nosniff",
    "X-Frame-Options: SAMEORIGIN",
    "Referrer-Policy: strict-origin-when-cross-origin",
    "X-Permitted-Cross-Domain-Policies: none",
]
HSTS = "Strict-Transport-Security: max-age=31536000"


def marked(settings: Mapping[str, Any], *lines: str, **given: Any) -> Exchange:
    """An exchange that has passed both steps."""
    asked = exchange(*lines, **given)
    for build in (build_before_all, build_behind_auth):
        policy = build(HeadersSettings.model_validate(settings), CONTEXT)
        if policy is not None:
            assert policy(asked) is None
    return asked


def added(asked: Exchange) -> list[str]:
    return [line.decode() for line in asked.response_lines]


def test_what_a_response_gets() -> None:
    asked = marked(
        {
            "response": {
                "set": {"X-A": "{client_ip}", "X-B": ["1", "2"], "X-Empty": "{claim.no}", "X-Off": False},
                "add": {"X-A": "3"},
                "remove": ["Server"],
            }
        }
    )
    assert added(asked) == ["X-A: 192.0.2.7", "X-B: 1", "X-B: 2", "X-A: 3"]
    assert asked.response_drop == frozenset({b"x-a", b"x-b", b"x-empty", b"server"})


def test_what_depends_on_the_consumer_comes_behind_auth() -> None:
    settings = HeadersSettings.model_validate({"response": {"set": {"X-A": "a", "X-Who": "{consumer:-nobody}"}}})
    before, behind = build_before_all(settings, CONTEXT), build_behind_auth(settings, CONTEXT)
    assert before is not None
    assert behind is not None
    asked = exchange()
    before(asked)
    assert added(asked) == ["X-A: a"], "what a refusal by auth has"
    assert asked.response_drop == frozenset({b"x-a", b"x-who"})
    asked.consumer = "alice"
    behind(asked)
    assert added(asked) == ["X-A: a", "X-Who: alice"]


@pytest.mark.parametrize("settings", [{}, {"request": {"set": {"A": "1"}}}, {"response": {"set": {"A": False}}}])
def test_there_is_no_step_where_there_is_nothing_to_do(settings: dict[str, Any]) -> None:
    read = HeadersSettings.model_validate(settings)
    assert build_before_all(read, CONTEXT) is None
    assert build_behind_auth(read, CONTEXT) is None
    assert response_changes(read) is None


def test_what_is_added_alone_drops_nothing() -> None:
    asked = marked({"response": {"add": {"X-A": "1"}}})
    assert (added(asked), asked.response_drop) == (["X-A: 1"], None)


def test_cors_and_headers_drop_what_both_name() -> None:
    written: dict[str, tuple[Any, str]] = {
        step.key: (step.settings.model_validate(settings), "gateway")
        for step in STEPS
        for key, settings in {"cors": {}, "headers": {"response": {"remove": ["Server"]}}}.items()
        if step.key == key
    }
    asked = exchange()
    for policy in build_chain(written, State(), {}).requests:
        assert policy(asked) is None
    assert asked.response_drop is not None
    assert asked.response_drop >= {b"server", b"access-control-allow-origin"}
    chain = build_chain(written, State(), {})
    assert (len(chain.requests), len(chain.marks)) == (2, 2)


# ---- security


def peer(*, secure: bool = False, trusted: bool = False, by_forwarded: bool = False) -> Peer:
    made = Peer(Client("192.0.2.7", 8080, secure), [], by_forwarded)
    made.trusted = trusted
    return made


@pytest.mark.parametrize(
    ("given", "lines", "secure"),
    [
        ({}, [], False),
        ({"secure": True}, [], True),
        ({}, ["X-Forwarded-Proto: https"], False),
        ({"trusted": True}, ["X-Forwarded-Proto: https"], True),
        ({"trusted": True}, ["X-Forwarded-Proto: wss, http"], True),
        ({"trusted": True, "secure": True}, ["X-Forwarded-Proto: http"], False),
        ({"trusted": True, "secure": True}, [], True),
        ({"trusted": True, "secure": True}, ["X-Forwarded-Proto: ftp"], True),
        ({"trusted": True}, [], False),
        ({"trusted": True, "by_forwarded": True}, ["X-Forwarded-Proto: https"], False),
        ({"trusted": True, "by_forwarded": True}, ["Forwarded: for=192.0.2.1;proto=https"], True),
    ],
)
def test_hsts_is_for_https(given: dict[str, bool], lines: list[str], secure: bool) -> None:
    asked = marked({"security": True}, *lines, peer=peer(**given))
    assert added(asked) == ([*SECURITY, HSTS] if secure else SECURITY)
    assert asked.response_drop is not None, "how a response is made is decided by it"


@pytest.mark.parametrize(
    ("response", "left", "more"),
    [
        ({"set": {"x-frame-options": False}}, [0, 2, 3], []),
        ({"set": {"X-Frame-Options": "DENY"}}, [0, 2, 3], ["X-Frame-Options: DENY"]),
        ({"remove": ["Referrer-Policy"]}, [0, 1, 3], []),
    ],
)
def test_what_is_written_comes_before_security(response: dict[str, Any], left: list[int], more: list[str]) -> None:
    asked = marked({"security": True, "response": response})
    assert added(asked) == [*(SECURITY[place] for place in left), *more]


def test_hsts_of_ones_own_is_sent_as_written() -> None:
    written = {"Strict-Transport-Security": "max-age=1; includeSubDomains"}
    asked = marked({"security": True, "response": {"set": written}}, peer=peer(secure=True))
    assert added(asked) == [*SECURITY, "Strict-Transport-Security: max-age=1; includeSubDomains"]


# ---- what describes the content, and requests


@pytest.mark.parametrize("name", ["Cache-Control", "content-type", "ETag", "Retry-After", "Location"])
def test_what_describes_the_content_is_for_the_responses_of_services(name: str) -> None:
    settings = {"response": {"set": {name: "a", "X-A": "b"}}}
    asked = marked(settings)
    assert added(asked) == ["X-A: b"]
    changes = response_changes(HeadersSettings.model_validate(settings))
    assert changes is not None
    assert changes.lines.of(asked) == (f"{name}: a".encode(),)


def test_what_is_changed_of_a_request() -> None:
    settings = HeadersSettings.model_validate(
        {
            "request": {
                "set": {"X_Tenant": "{claim.tenant}", "X-Fixed": "1", "X-Off": False},
                "add": {"Accept": ["a", "{claim.no}"]},
                "remove": ["Cookie"],
            }
        }
    )
    changes = request_changes(settings)
    assert changes is not None
    assert changes.drops == {b"x_tenant", b"x-tenant", b"x-fixed", b"cookie", b"accept"}
    assert changes.lines.of(exchange()) == (b"X-Fixed: 1", b"Accept: a")
    assert changes.lines.of(exchange(claims_or_token={"tenant": "t", "no": 1}))[0] == b"X_Tenant: t"
    assert request_changes(HeadersSettings()) is None
    assert request_changes(HeadersSettings.model_validate({"request": {"set": {"A": False}}})) is None
