"""A worker held down to a small share of its core.

No client in Python asks ten times as much as a worker can answer. So the worker runs with a low priority beside a
process that never rests (`setpriority(2)`), and the load is small, too. The same is done to the worker of a peer.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from support.cores import for_gateway
from support.process import Process
from support.worker import Worker

_NICE: Final = 10
"""Beside one busy process of priority 0: about a tenth of the core (`sched(7)`)."""
_IS_AUTOGROUPED: Final = Path("/proc/sys/kernel/sched_autogroup_enabled")
_BUSY: Final = "import time\nend = time.time() + 120\nwhile time.time() < end: pass"


@contextmanager
def slowed(pid: int) -> Iterator[Worker]:
    """A worker on one core, next to a process that takes most of it."""
    core = for_gateway(1)
    os.sched_setaffinity(pid, core)
    _lower(pid)
    with Process(sys.executable, "-c", _BUSY, cores=core):
        yield Worker(pid)


def _lower(pid: int) -> None:
    """Lower its priority, or that of its session: each gateway here has one of its own.

    Linux may share a core among sessions first, and among the processes of each then; a process's own priority counts
    within its session only (`sched(7)`, the autogroup feature).
    """
    if _IS_AUTOGROUPED.exists() and _IS_AUTOGROUPED.read_text().strip() == "1":
        Path(f"/proc/{pid}/autogroup").write_text(str(_NICE))
    else:
        os.setpriority(os.PRIO_PROCESS, pid, _NICE)
