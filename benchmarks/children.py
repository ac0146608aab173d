"""Processes that the benchmark starts: each in a session of its own, its output in a file, stopped by its id."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.cores import pinned
from benchmarks.process_tree import Identity, living, members

_STOP_WITHIN = 10.0  # seconds before SIGTERM becomes SIGKILL
_ORPHANS_WITHIN = 2.0  # seconds for what is left once the parent is gone


@contextmanager
def child(argv: list[str], directory: Path, cores: frozenset[int]) -> Iterator[subprocess.Popen[bytes]]:
    """Runs `argv` in `directory`; it and what it started are gone afterwards, whatever happened."""
    with output_file(directory).open("wb") as output, pinned(cores):
        process = subprocess.Popen(
            argv,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        stop(process)


def output_file(directory: Path) -> Path:
    """Where a child in `directory` writes."""
    return directory / "output.txt"


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends the process politely, then whatever of its tree is still there."""
    tree = members(process.pid)
    try:
        process.terminate()  # again, perhaps: see `ask_to_stop`
        process.wait(_STOP_WITHIN)
    except subprocess.TimeoutExpired:
        pass
    finally:  # on a second Ctrl-C too
        process.kill()
        process.wait()
        _end_orphans(tree)


def ask_to_stop(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    """Lets several end at the same time; `stop` then finds them gone."""
    for process in processes:
        process.terminate()


def _end_orphans(tree: set[Identity]) -> None:
    deadline = time.monotonic() + _ORPHANS_WITHIN
    while (left := tree & living()) and time.monotonic() < deadline:
        time.sleep(0.02)
    for pid, _ in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
