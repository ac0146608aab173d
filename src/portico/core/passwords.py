"""Passwords of consumers: kept as argon2 hashes, and checked in threads, few at once."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Final
from unicodedata import normalize

if TYPE_CHECKING:
    from pwdlib.hashers.argon2 import Argon2Hasher

_FORM: Final = re.compile(
    r"(?P<cost>\$argon2(?:id|i|d)\$v=19\$m=(?P<memory>\d{1,8}),t=(?P<passes>\d{1,4}),p=(?P<lanes>\d{1,3})\$)"
    r"(?P<salt>[A-Za-z0-9+/]{11,86})\$(?P<digest>[A-Za-z0-9+/]{16,86})"
)
"""The PHC form of argon2 1.3 (RFC 9106)."""
_MOST_MEMORY: Final = 1 << 20
"""KiB that checking one password may take: a hash that asks for more is a mistake, and would stop the machine."""
_MOST_WORK: Final = 1 << 23
"""KiB times passes: some 10 seconds."""
_THREADS: Final = 2
_WAITING: Final = 32
"""Checks that may wait: with the usual 64 MiB and 50 ms each, the last waits for about a second."""


class TooManyError(Exception):
    """More passwords are being checked than this process can keep up with."""


def checked_hash(text: str) -> str:
    """The hash itself. Raises ValueError for what is none, or takes too much to check; it is not repeated."""
    written = _FORM.fullmatch(text)
    if written is None:
        raise ValueError("expected an argon2 hash in quotes, never the password itself: portico password makes one")
    memory, passes, lanes = int(written["memory"]), int(written["passes"]), int(written["lanes"])
    possible = lanes and passes and memory >= 8 * lanes  # RFC 9106, section 3.1
    if not possible or memory > _MOST_MEMORY or memory * passes > _MOST_WORK:
        raise ValueError("checking a password with these m, t and p takes too much, or cannot be done")
    return text


_USUAL: Final = f"$argon2id$v=19$m=65536,t=3,p=4${'A' * 22}${'A' * 43}"
"""What `hashed` makes is checked in the same time."""


def hashed(password: str) -> str:
    """A hash of a password with a salt of its own, in PHC form. It takes tens of milliseconds and 64 MiB."""
    return _hasher().hash(_prepared(password))


def verify(password_hash: str, password: str) -> bool:
    """Whether a hash is one of this password. It takes as long as the hash says: `verified` does it in a thread."""
    return _hasher().verify(_prepared(password), password_hash)


def nobodys(password_hash: str = _USUAL) -> str:
    """A hash that no password has, and that takes as long to check as the given one: for names that nobody has."""
    written = _FORM.fullmatch(password_hash)
    assert written is not None
    return f"{written['cost']}{_random(written['salt'])}${_random(written['digest'])}"


async def verified(password_hash: str, password: str) -> bool:
    """`verify`, in a thread. Raises TooManyError where too many wait for one."""
    threads = _threads()
    if threads._work_queue.qsize() >= _WAITING:
        raise TooManyError
    return await asyncio.get_running_loop().run_in_executor(threads, verify, password_hash, password)


@cache
def _hasher() -> Argon2Hasher:
    from pwdlib.hashers.argon2 import Argon2Hasher  # most processes of a gateway check no password

    return Argon2Hasher()


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1), "passwords")


def _prepared(password: str) -> bytes:
    """One password, however a keyboard composes it (RFC 8265, section 4.2.1)."""
    return normalize("NFC", password).encode("utf-8", "surrogatepass")


def _random(text: str) -> str:
    """Other base64 of the same length of bytes."""
    return b64encode(secrets.token_bytes(len(text) * 3 // 4)).rstrip(b"=").decode()
