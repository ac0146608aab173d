"""Revoked tokens in a worker: what is asked, of which tokens, and when it is not known yet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Any

import pytest

from policies.exchanges import exchange
from policies.test_auth import SECRET, build, token
from portico.core.errors import Answer, Refusal
from portico.policies.auth import revoked as module
from portico.policies.auth.revoked import Revocation, RevokedTokens
from portico.policies.policy import State

NOW = int(time.time())
LATER = NOW + 1000


@pytest.fixture
def state() -> State:
    own = State()
    own.revoked.secret = SECRET
    return own


def line(**claims: Any) -> str:
    return f"Authorization: Bearer {token({'sub': 'alice', 'exp': LATER, 'iat': NOW, **claims})}"


def status(verdict: Any) -> int:
    return 200 if verdict is None else int(verdict.status)


@pytest.mark.parametrize(
    ("revocation", "expected"),
    [
        (Revocation("j", LATER), 401),
        (Revocation("s", LATER), 401),
        (Revocation("alice", LATER, NOW), 401),
        (Revocation("alice", LATER, NOW - 1), 200),
        (Revocation("alice", LATER), 200),
        (Revocation("j", LATER, NOW), 200),
        (Revocation("bob", LATER, NOW), 200),
        (Revocation("", LATER), 200),
    ],
)
def test_which_tokens_are_revoked(state: State, revocation: Revocation, expected: int) -> None:
    policy, shown = build(state), line(jti="j", sid="s")
    assert status(policy(exchange(shown))) == 200
    state.revoked.learn([revocation])
    assert status(policy(exchange(shown))) == expected
    assert status(policy(exchange(line(sub="carol", jti="other")))) == 200
    state.revoked.learn([])
    assert status(policy(exchange(shown))) == expected, "what was revoked stays so"


def test_odd_claims_are_revoked_by_no_accident(state: State) -> None:
    policy = build(state)
    odd = line(jti=["j"], sid={"s": 1}, iat=NOW)
    assert status(policy(exchange(odd))) == 200
    state.revoked.learn([Revocation("j", LATER), Revocation("s", LATER)])
    assert status(policy(exchange(odd))) == 200
    state.revoked.learn([Revocation("alice", LATER, NOW)])
    assert status(policy(exchange(odd))) == 401


def test_of_tokens_with_another_secret_nothing_is_asked(state: State) -> None:
    state.revoked.secret = SECRET[::-1]
    policy = build(state)
    state.revoked.learn([Revocation("j", LATER), Revocation("alice", LATER, NOW)])
    assert status(policy(exchange(line(jti="j")))) == 200


def test_one_that_has_ended_is_forgotten() -> None:
    own = RevokedTokens()
    own.learn([Revocation("j", NOW - 1), Revocation("alice", NOW - 1, NOW - 1), Revocation("k", LATER)])
    own.age(0.0)
    assert (len(own._names), len(own._consumers)) == (1, 0)


def test_where_it_is_not_known_yet_tokens_wait(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TIMEOUT", 0.05)
    state.revoked.is_known = False
    policy = build(state)

    async def verdict(shown: str) -> Answer | None:
        said = policy(exchange(shown))
        assert isinstance(said, Awaitable)
        return await said

    async def scene() -> None:
        refusal = await verdict(line(jti="j"))
        assert isinstance(refusal, Refusal)
        assert (refusal.status, refusal.reason) == (503, "issuer_unavailable")
        bad, good = (asyncio.ensure_future(verdict(line(jti=each))) for each in ("j", "k"))
        await asyncio.sleep(0)
        state.revoked.learn([Revocation("j", LATER)])
        assert [status(await bad), status(await good)] == [401, 200]

    asyncio.run(scene())
