"""Families of refresh tokens: each token replaces the one before it, and one that comes again ends all of them.

A family counts its tokens. The number that is current may be used; the one before it as well for a short while, and
then leads to the same next one, for clients that refresh twice at the same moment. Any other number was used before:
whoever shows it, or whoever used it, has stolen it (RFC 9700, section 4.14.2).
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import msgspec

from portico.processes.control.tokens.database import open_database


class Family(msgspec.Struct, frozen=True):
    """To whom the first token of a family was issued, and for what; `client` is empty where no client was proved.

    `password` tells whether the consumer still has the same one; `since` is when it signed in, in whole seconds.
    """

    consumer: str
    scopes: list[str]
    client: str
    password: str
    since: int = 0


encode: Final = msgspec.json.Encoder().encode
decode: Final = msgspec.json.Decoder(Family).decode


class StoreError(Exception):
    """Families cannot be read or written now; the message says why."""


class Turn(NamedTuple):
    """What became of a token that was shown: the `number` of the next one, or None where there is none.

    `was_reused`: the family has ended because of it.
    """

    number: int | None
    was_reused: bool = False


class Families(Protocol):
    """Where families are kept. Everything may raise StoreError."""

    async def begin(self, name: str, family: Family, life: float) -> None:
        """Keep a new one, whose token 0 is current, for so many seconds unless it is used."""

    async def find(self, name: str) -> Family | None:
        """The family of this name, if it has not ended."""

    async def turn(self, name: str, number: int, life: float, grace: float) -> Turn:
        """Use a token: the next one is current, for `life` seconds; it may come again for `grace` seconds."""

    async def end(self, name: str) -> None:
        """End a family, if there is one."""

    async def close(self) -> None:
        """Stop."""


_SCHEMA: Final = """
create table if not exists families (
  name text primary key, data blob not null, number integer not null, turned real not null, expires real not null
) without rowid;
create index if not exists families_expire on families (expires);
"""


class FileFamilies:
    """Families in a SQLite database: a file that this user alone may read, or, without one, this process's memory."""

    def __init__(self, path: Path | None, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        try:
            self._database = open_database(path, _SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(str(error)) from None

    async def begin(self, name: str, family: Family, life: float) -> None:
        now = self._clock()
        self._run("delete from families where expires <= ?", now)
        self._run("insert into families values (?, ?, 0, 0, ?)", name, encode(family), now + life)

    async def find(self, name: str) -> Family | None:
        found = self._run("select data from families where name = ? and expires > ?", name, self._clock()).fetchone()
        return decode(found[0]) if found is not None else None

    async def turn(self, name: str, number: int, life: float, grace: float) -> Turn:
        now = self._clock()
        self._run("begin immediate")  # another gateway may have the same file
        try:
            return self._turned(name, number, now, now + life, grace)
        finally:
            self._run("commit")

    def _turned(self, name: str, number: int, now: float, expires: float, grace: float) -> Turn:
        select = "select number, turned from families where name = ? and expires > ?"
        found = self._run(select, name, now).fetchone()
        if found is None:
            return Turn(None)
        current, turned = found
        if number == current:
            update = "update families set number = ?, turned = ?, expires = ? where name = ?"
            self._run(update, current + 1, now, expires, name)
            return Turn(current + 1)
        if number == current - 1 and now < turned + grace:
            return Turn(current)
        self._run("delete from families where name = ?", name)
        return Turn(None, was_reused=True)

    async def end(self, name: str) -> None:
        self._run("delete from families where name = ?", name)

    async def close(self) -> None:
        self._database.close()

    def _run(self, statement: str, *values: object) -> sqlite3.Cursor:
        try:
            return self._database.execute(statement, values)
        except sqlite3.Error as error:
            raise StoreError(str(error)) from None
