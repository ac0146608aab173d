"""What `/proc` shows of processes and of their connections (Linux; man 5 proc)."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path

_GONE = (FileNotFoundError, ProcessLookupError, PermissionError)
_ESTABLISHED, _LISTENING = "01", "0A"


def alive(pid: int) -> bool:
    """Whether the process runs: a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def stopped(pid: int) -> bool:
    """Whether every thread of a process has stopped."""
    return all(") T " in (task / "stat").read_text() for task in Path(f"/proc/{pid}/task").iterdir())


def children(pid: int) -> list[int]:
    """The processes that `pid` started."""
    try:
        return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def resident(pid: int) -> int:
    """Bytes of memory."""
    return status_bytes(pid, "VmRSS")


def proportional(pid: int) -> int:
    """The same with each page that processes share divided among them (man 5 proc: smaps_rollup), so that the sum over
    all of them is what they take together.
    """
    found = re.search(r"Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text())
    return int(found[1]) * 1024 if found is not None else 0


def status_bytes(pid: int, name: str) -> int:
    """A size that the process's status has under this name."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    if found is None:
        raise ProcessLookupError(f"the process {pid} is gone")
    return int(found[1]) * 1024


def descriptors(pid: int) -> list[str]:
    """What its open files and sockets are called."""
    names = []
    with contextlib.suppress(*_GONE):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):  # it was closed while we looked
                names.append(str(entry.readlink()))
    return names


def socket_inodes(pid: int) -> set[str]:
    """The sockets of a process."""
    return {name[8:-1] for name in descriptors(pid) if name.startswith("socket:[")}


def listening_inodes(port: int) -> set[str]:
    """The sockets that listen on this port."""
    return {inode for local, _, inode in _sockets(_LISTENING) if local == port}


def established(port: int) -> int:
    """How many connections somebody has to this port."""
    return sum(local == port for local, _, _ in _sockets(_ESTABLISHED))


def unread(connection: socket.socket) -> int:
    """Bytes that have reached the other end of a connection, where nobody has read them yet."""
    ends = [connection.getpeername()[1], connection.getsockname()[1]]
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        columns = line.split()
        if [int(address.rpartition(":")[2], 16) for address in columns[1:3]] == ends:
            return int(columns[4].partition(":")[2], 16)
    return 0


def holder(connection: socket.socket, pids: Iterable[int]) -> int:
    """The one of these processes that has the other end of a connection."""
    ends = (connection.getpeername()[1], connection.getsockname()[1])
    inodes = {inode for local, remote, inode in _sockets(_ESTABLISHED) if (local, remote) == ends}
    for pid in pids:
        if inodes & socket_inodes(pid):
            return pid
    raise ProcessLookupError("nobody holds the other end of this connection")


def _sockets(state: str) -> Iterator[tuple[int, int, str]]:
    """Local port, remote port and inode of each TCP socket in a state (man 5 proc_pid_net).

    The kernel lists those that listen first, and makes only as many lines as are read; thousands may be behind them.
    """
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if Path(table).exists():
            with Path(table).open() as lines:
                next(lines)
                for line in lines:
                    columns = line.split()
                    if columns[3] == state:
                        local, remote = (int(address.rpartition(":")[2], 16) for address in columns[1:3])
                        yield local, remote, columns[9]
                    elif state == _LISTENING:
                        break
