"""SQLite databases of this gateway: files that its user alone may read, or memory of its control process."""

from __future__ import annotations

import sqlite3
from pathlib import Path


def open_database(path: Path | None, schema: str) -> sqlite3.Connection:
    """The database at a path, made now if there is none. Raises sqlite3.Error, OSError."""
    if path is not None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
    database = sqlite3.connect(path or ":memory:", timeout=2.0, isolation_level=None)
    try:
        database.executescript("pragma journal_mode = wal; pragma synchronous = normal;" + schema)
    except sqlite3.Error:
        database.close()
        raise
    return database
