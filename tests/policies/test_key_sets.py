"""Keys that come from elsewhere: who waits for them, and for which."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from portico.policies.auth.key_sets import KeySets, KeySource, RemoteKeys
from support.issuer import public_jwk

SOURCE = KeySource("https://id.example/keys")


def document(*numbers: int) -> bytes:
    return json.dumps({"keys": [public_jwk("ES256", number) for number in numbers]}).encode()


@pytest.fixture
def sets() -> KeySets:
    own = KeySets()
    own.ask = lambda source: True
    own.learn(SOURCE, document(1), time.monotonic())
    return own


def kids(keys: RemoteKeys) -> set[str | None]:
    assert keys.keys is not None
    return {key.kid for key in keys.keys.keys}


def test_keys_that_were_fetched_before_they_were_asked_for_are_no_answer(sets: KeySets) -> None:
    """The issuer may have published another one just after it was asked."""
    keys = sets.of(SOURCE)

    async def scene() -> None:
        before = time.monotonic()
        waiting = asyncio.ensure_future(keys.news("ES256-2"))
        await asyncio.sleep(0)
        sets.learn(SOURCE, document(1), before)
        await asyncio.sleep(0)
        assert not waiting.done()
        sets.learn(SOURCE, document(2), before)
        await waiting
        assert kids(keys) == {"ES256-2"}

    asyncio.run(scene())


def test_a_name_that_is_not_there_is_not_asked_for_again_but_no_name_is(sets: KeySets) -> None:
    keys = sets.of(SOURCE)

    async def asked(kid: str | None) -> bool:
        waiting = asyncio.ensure_future(keys.news(kid))
        await asyncio.sleep(0)
        sets.learn(SOURCE, document(1), time.monotonic())
        await waiting
        return keys.may_come(kid)

    assert not asyncio.run(asked("invented"))
    assert asyncio.run(asked(None))
    sets.learn(SOURCE, document(1, 2), time.monotonic())
    assert keys.may_come("invented")
