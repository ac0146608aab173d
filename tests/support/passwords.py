"""Hashes of passwords that are checked at once: those of `portico password` take 120 ms of a processor each time."""

from __future__ import annotations

from pwdlib.hashers.argon2 import Argon2Hasher


def hashed(password: str) -> str:
    """An argon2 hash that asks for the least."""
    return Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1).hash(password)
