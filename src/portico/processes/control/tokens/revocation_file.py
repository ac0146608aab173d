"""The file of this gateway with the tokens that were revoked before their end: it outlasts its processes."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from portico.policies.auth.revoked import Revocation
from portico.processes.control.state_file import NO_HOME
from portico.processes.control.tokens.database import open_database

_SCHEMA: Final = """
pragma synchronous = full;
create table if not exists revocations (
  kind integer not null, name text not null, until integer not null, before integer not null, primary key (kind, name)
) without rowid;
create index if not exists revocations_until on revocations (until);
create table if not exists lives (life integer not null, earlier integer not null);
"""


class RevocationFile:
    """A SQLite database, so that one more does not write all of them again. Everything may raise sqlite3.Error.

    Without a path, or where that cannot be used, for which `problem` has the reason, it is this process's memory.
    """

    def __init__(self, path: Path | None) -> None:
        self.problem = "" if path is not None else NO_HOME
        try:
            self._database = open_database(path, _SCHEMA)
        except (sqlite3.Error, OSError) as error:
            self.problem = str(error)
            self._database = open_database(None, _SCHEMA)

    def load(self) -> list[Revocation]:
        """What was revoked and has not ended by itself."""
        now = time.time()
        rows = self._database.execute("select name, until, before from revocations where until > ?", (now,)).fetchall()
        return [Revocation(*row) for row in rows]

    def prune(self) -> None:
        """Drop what has ended by itself."""
        self._database.execute("delete from revocations where until <= ?", (time.time(),))

    def end_of_earlier(self, life: int) -> int:
        """When the last token ends that was issued to live longer than new ones, which live for `life` seconds."""
        row = self._database.execute("select life, earlier from lives").fetchone()
        before, earlier = row or (life, 0)
        if before > life:
            earlier = max(earlier, int(time.time()) + before)
        if row != (life, earlier):
            self._database.execute("delete from lives")
            self._database.execute("insert into lives values (?, ?)", (life, earlier))
        return int(earlier)

    def store(self, revocations: Iterable[Revocation]) -> None:
        """Keep these, each in place of an earlier one of its name."""
        rows = [(int(each.before > 0), each.name, each.until, each.before) for each in revocations]
        self._database.execute("begin immediate")
        try:
            self._database.executemany("insert or replace into revocations values (?, ?, ?, ?)", rows)
        finally:
            self._database.execute("commit")

    def close(self) -> None:
        """Stop."""
        self._database.close()
