"""The audit log: who changed what over the admin API, and who was not let to."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from starlette.datastructures import Headers

from portico.config import Config
from portico.core.api_keys import PATTERN, shown
from portico.processes.control.audit_file import AuditEntry, AuditFile
from portico.processes.control.state_file import is_there, state_path
from portico.processes.ipc.runtime import Runtime

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Scope

logger: Final = logging.getLogger("portico.audit")

KEEP: Final = 1000
"""Entries that are kept."""
_MOST_REFUSED: Final = 100
"""Of these, requests that were refused: whoever sends many must not push out what others did."""
_RECENT: Final = 20
"""Entries among which one is looked for to which a refusal is added."""
_LONGEST: Final = 200
"""Characters of each text."""
_REFUSED: Final = (401, 403)
_KEY: Final = re.compile(PATTERN)


class _Note(NamedTuple):
    action: str
    what: str
    result: str


class Audit:
    """The audit log of one gateway. What is in it says no secret, and holds no document."""

    def __init__(self, runtime: Runtime | None = None, config_path: Path | None = None) -> None:
        self._runtime = runtime
        self._config_path = config_path
        self._path: Path | None = None
        self._entries: list[AuditEntry] = []
        self._file: AuditFile | None = None

    def follow(self, config: Config) -> None:
        """Keep it where this configuration says, and know what is there already."""
        path = state_path(config, self._config_path, "audit")
        if self._runtime is None or (self._file is not None and path == self._path):
            return
        self.close()
        self._path = path
        if is_there(path, self._runtime.directory / "audit"):  # else it is opened when there is something to keep
            self._open()

    def _open(self) -> AuditFile | None:
        if self._file is None and self._runtime is not None:
            self._file = AuditFile(self._path, self._runtime.directory / "audit", KEEP)
            self._entries = [*self._file.load(), *self._entries]
            self._trim()
        return self._file

    def close(self) -> None:
        """Let another process have the file."""
        if self._file is not None:
            self._file.close()
        self._file = None

    def record(self, request: Request, action: str, what: str, result: str = "") -> None:
        """Say in words what a request asks for, for the entry that is made once it is answered.

        Without this an entry has the method and the path. `result` is what came of it, where the status does not say.
        """
        request.scope["state"]["audited"] = _Note(action, what, result)

    def newest(self) -> Iterator[AuditEntry]:
        """What is known, the newest first."""
        return reversed(self._entries)

    def answered(self, scope: Scope, status: int) -> None:
        """A request that writes was answered."""
        entry = _entry(scope, status)
        if _is_routine(scope, status):
            return
        if status in _REFUSED and (alike := self._alike(entry)) is not None:
            alike.times, alike.until, alike.what = alike.times + 1, entry.at, entry.what
            return
        self._log(entry)
        self._entries.append(entry)
        self._trim()
        file = self._open()
        if file is not None:
            file.append(entry, self._entries)

    def _alike(self, entry: AuditEntry) -> AuditEntry | None:
        """A recent refusal of the same; where nobody is named, whatever the same address asked for."""
        wanted = _refused_whom(entry)
        recent = (each for each in reversed(self._entries[-_RECENT:]) if each.status == entry.status)
        return next((each for each in recent if _refused_whom(each) == wanted), None)

    def _log(self, entry: AuditEntry) -> None:
        names = "caller", "user", "client_ip", "action", "what", "status", "result"
        extra = {name: value for name in names if (value := getattr(entry, name)) != ""}
        level = logging.INFO if entry.status < 400 else logging.WARNING
        logger.log(level, "the admin API was used" if entry.caller else "the admin API refused somebody", extra=extra)

    def _trim(self) -> None:
        refused = [entry for entry in self._entries if entry.status in _REFUSED]
        if len(refused) > _MOST_REFUSED:
            over = {id(entry) for entry in refused[:-_MOST_REFUSED]}
            self._entries = [entry for entry in self._entries if id(entry) not in over]
        del self._entries[:-KEEP]


def _entry(scope: Scope, status: int) -> AuditEntry:
    headers, now = Headers(scope=scope), time.time()
    state = scope["state"]
    note = state.get("audited") or _Note(scope["method"], scope["path"], "")
    usual = "done" if status < 400 else "refused" if status in _REFUSED else "failed"
    caller = state["caller"].name if "caller" in state else ""
    return AuditEntry(
        at=now,
        until=now,
        caller=caller,
        user=_plain(headers.get("x-portico-user", "")),
        client_ip=(scope.get("client") or ("",))[0],
        action=_plain(note.action),
        what=_plain(note.what),
        status=status,
        result=_plain(note.result or usual),
    )


def _plain(text: str) -> str:
    """Text of one line, cut where it is long; of an API key, which may be named by all of it, its beginning."""
    plain = "".join(character if character.isprintable() else "?" for character in text[:_LONGEST])
    return _KEY.sub(lambda found: shown(found[1]), plain)


def _refused_whom(entry: AuditEntry) -> tuple[str, ...]:
    about = (entry.user, entry.action, entry.what) if entry.caller else ()
    return (entry.caller, entry.client_ip, *about)


def _is_routine(scope: Scope, status: int) -> bool:
    """Whether it is a service that says every few seconds that it is there still."""
    return status < 400 and scope["path"].startswith("/admin/registry/") and scope["path"].endswith("/heartbeat")
