"""Passwords and their hashes."""

from __future__ import annotations

import asyncio

import pytest

from portico.core import passwords
from portico.core.passwords import TooManyError, checked_hash, hashed, nobodys, verified, verify

CHEAP = "$argon2id$v=19$m=8,t=1,p=1$Wv6rIeV193CW4cHHvmIcXw$K4KvPymVZjTkxN3VCeZOn/Ltvb6kK45jQTI1m33H/TM"


def test_a_hash_is_of_its_password_and_no_other() -> None:
    made = hashed("pässword")
    assert checked_hash(made) == made
    assert made.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert verify(made, "pa\u0308ssword")
    assert not verify(made, "password")
    assert not verify(made, "")


def test_a_hash_for_nobody_costs_the_same_and_fits_no_password() -> None:
    assert verify(CHEAP, "password")
    other = nobodys(CHEAP)
    assert checked_hash(other).startswith("$argon2id$v=19$m=8,t=1,p=1$")
    assert len(other) == len(CHEAP)
    assert other != nobodys(CHEAP)
    assert not verify(other, "password")


@pytest.mark.parametrize(
    "text",
    [
        "secret",
        "$2b$12$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuvwxyzabcdefg",
        CHEAP.replace("m=8", "m=99999999"),
        CHEAP.replace("t=1", "t=0"),
        CHEAP.replace("p=1", "p=0"),
        CHEAP.replace("p=1", "p=2"),
        CHEAP.replace("m=8,t=1", "m=1048576,t=9"),
        CHEAP + "\n",
    ],
)
def test_what_is_no_hash_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match=r"argon2|takes too much") as caught:
        checked_hash(text)
    assert text not in str(caught.value)


def test_only_so_many_passwords_wait_to_be_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_WAITING", 0)

    async def check() -> None:
        with pytest.raises(TooManyError):
            await verified(CHEAP, "password")
        monkeypatch.setattr(passwords, "_WAITING", 1)
        assert await verified(CHEAP, "password")

    asyncio.run(check())
