"""A worker held down to a small share of its core.

No client in Python asks ten times as much as a worker can answer. So the worker runs with a low priority beside a
process that never rests (`setpriority(2)`), and the load is small, too. The same is done to the worker of a peer.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.cores import for_gateway, pinned
from benchmarks.stress.worker import Worker

_NICE: Final = 10
"""Beside one busy process of priority 0: about a tenth of the core (`sched(7)`)."""
_IS_AUTOGROUPED: Final = Path("/proc/sys/kernel/sched_autogroup_enabled")
_BUSY: Final = "import time\nend = time.time() + 120\nwhile time.time() < end: pass"


@contextmanager
def slowed(pid: int) -> Iterator[Worker]:
    """A worker on one core, next to a process of this session that takes most of it."""
    core = for_gateway(1)
    os.sched_setaffinity(pid, core)
    _lower(pid)
    with pinned(core):
        busy = subprocess.Popen([sys.executable, "-c", _BUSY])
    try:
        yield Worker(pid)
    finally:
        busy.kill()
        busy.wait()


def _lower(pid: int) -> None:
    """Lower its priority, or that of its session if that is another one than ours.

    Linux may share a core among sessions first, and among the processes of each then; a process's own priority counts
    within its session only (`sched(7)`, the autogroup feature). A peer has a session of its own, Portico has ours.
    """
    group, ours = Path(f"/proc/{pid}/autogroup"), Path("/proc/self/autogroup")
    if _IS_AUTOGROUPED.exists() and _IS_AUTOGROUPED.read_text().strip() == "1" and _name(group) != _name(ours):
        group.write_text(str(_NICE))
    else:
        os.setpriority(os.PRIO_PROCESS, pid, _NICE)


def _name(group: Path) -> str:
    """Of `/autogroup-25 nice 0` the first word."""
    return group.read_text().split()[0]
