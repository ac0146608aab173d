"""Where the access log is written to: a standard stream, a file, which may be rotated, or syslog.

All of them are used by the log's writer alone. What cannot be written raises OSError, and the lines of it are lost.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import socket
import sys
import time
from pathlib import Path
from typing import Final, NamedTuple, Protocol

_SYSLOG: Final = re.compile(r"syslog(?:://(\[[^\]/]+\]|[^:/\[\]]+)(?::([0-9]{1,5}))?)?")
_SYSLOG_PORT: Final = 514
_LOCAL_SYSLOG: Final = ("/dev/log", "/var/run/syslog")
_LONGEST: Final = 60_000
"""Bytes of a line in a datagram: UDP has 65,507 for all of it."""
_PRIORITY: Final = 16 * 8 + 6
"""Facility local0, severity informational (RFC 5424, section 6.2.1)."""


class Rotation(NamedTuple):
    """A file is moved away before it has more than `size` bytes; the last `keep` stay beside it, `.1` the newest."""

    size: int
    keep: int


class Target(Protocol):
    """What takes batches of whole lines."""

    def write(self, batch: bytes) -> None:
        """Write them, however long that takes."""

    def reopen(self) -> None:
        """Begin anew, where that means anything."""


class SyslogAddress(NamedTuple):
    """Where a syslog server listens: by UDP, or on this machine where there is no `host`."""

    host: str = ""
    port: int = _SYSLOG_PORT


def syslog_address(text: str) -> SyslogAddress | None:
    """That of `syslog` or `syslog://host:port`; None for what is something else. Raises ValueError."""
    if not text.startswith("syslog:") and text != "syslog":
        return None
    found = _SYSLOG.fullmatch(text)
    if found is None or not 0 < int(found[2] or _SYSLOG_PORT) < 65536:
        raise ValueError("expected syslog, or syslog://host:port for a server elsewhere")
    return SyslogAddress((found[1] or "").strip("[]"), int(found[2] or _SYSLOG_PORT))


def target_of(text: str, shared_lock: Path | None, rotation: Rotation | None = None) -> Target:
    """What `stdout`, `stderr`, `syslog`, `syslog://host:port` or a path stands for. Raises OSError.

    `shared_lock` is a file that workers lock around a write; None where there is one.
    """
    address = syslog_address(text)
    if address is not None:
        return _Syslog(address)
    lock = os.open(shared_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600) if shared_lock else -1
    if text == "stdout":
        assert sys.__stdout__ is not None
        return _Stream(sys.__stdout__.fileno(), lock)  # sys.stdout is where users' policies print
    if text == "stderr":
        return _Stream(sys.stderr.fileno(), lock)
    return _RotatedFile(text, lock, rotation) if rotation is not None else _File(text, lock)


def has_local_syslog() -> bool:
    """Whether something takes messages on this machine."""
    return any(map(os.path.exists, _LOCAL_SYSLOG))


class _Stream:
    def __init__(self, descriptor: int, lock: int) -> None:
        self._descriptor = descriptor
        self._lock = lock

    def write(self, batch: bytes) -> None:
        if self._lock < 0:
            self._write_locked(batch)
            return
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            self._write_locked(batch)
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def reopen(self) -> None:
        """It stays."""

    def _write_locked(self, batch: bytes) -> None:
        _write_all(self._descriptor, batch)


class _File(_Stream):
    def __init__(self, path: str, lock: int) -> None:
        self._path = path
        super().__init__(self._open(), lock)

    def reopen(self) -> None:
        """Open it anew, after it was moved away."""
        old, self._descriptor = self._descriptor, self._open()
        os.close(old)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)


class _RotatedFile(_File):
    """A file of bounded size. Whichever worker is about to exceed it moves it away; the others notice that."""

    def __init__(self, path: str, lock: int, rotation: Rotation) -> None:
        self._rotation = rotation
        super().__init__(path, lock)

    def _write_locked(self, batch: bytes) -> None:
        own = os.fstat(self._descriptor)
        try:
            is_own = os.path.samestat(Path(self._path).stat(), own)
        except FileNotFoundError:
            is_own = False
        if not is_own:
            self.reopen()
            own = os.fstat(self._descriptor)
        if own.st_size and own.st_size + len(batch) > self._rotation.size:
            self._rotate()
        super()._write_locked(batch)

    def _rotate(self) -> None:
        """Move all one further; the oldest is overwritten."""
        for number in range(self._rotation.keep, 0, -1):
            newer = Path(f"{self._path}.{number - 1}" if number > 1 else self._path)
            with contextlib.suppress(FileNotFoundError):
                newer.replace(f"{self._path}.{number}")
        self.reopen()


class _Syslog:
    """One datagram for each line (RFC 5424; RFC 5426 for UDP)."""

    def __init__(self, address: SyslogAddress) -> None:
        self._address = address
        self._socket: socket.socket | None = None
        self._origin = f"{_name_of_host()} portico {os.getpid()} access -"

    def write(self, batch: bytes) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        head = f"<{_PRIORITY}>1 {now} {self._origin} ".encode()
        sending = self._socket = self._socket or self._connected()
        try:
            for line in batch.splitlines():
                sending.send(head + line[:_LONGEST])
        except OSError:
            self.reopen()  # the server may have been started anew
            raise

    def reopen(self) -> None:
        """Connect again with the next line."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connected(self) -> socket.socket:
        if not self._address.host:
            return _connected_to(socket.AF_UNIX, next(filter(os.path.exists, _LOCAL_SYSLOG), _LOCAL_SYSLOG[0]))
        family, _, _, _, where = socket.getaddrinfo(*self._address, type=socket.SOCK_DGRAM)[0]
        return _connected_to(family, where)


def _connected_to(family: int, where: object) -> socket.socket:
    made = socket.socket(family, socket.SOCK_DGRAM)
    try:
        made.connect(where)  # type: ignore[arg-type]
    except OSError:
        made.close()
        raise
    return made


def _name_of_host() -> str:
    """As in RFC 5424, section 6.2.4: visible ASCII, or `-`."""
    return re.sub(r"[^!-~]", "", socket.gethostname())[:255] or "-"


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(file, view) :]
        except BlockingIOError:  # another program made the shared stream non-blocking
            time.sleep(0.005)
