"""A part of a core for a process: with a small one, two workers and their load find room on two cores.

The kernel holds up a process that has used its part of a period, and lets it go on in the next (Linux, CFS bandwidth
control: `cpu.max` in cgroups of version 2, `cpu.cfs_quota_us` in version 1). Mostly it takes root to make a cgroup.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_HIERARCHIES = (_ROOT / "cpu", _ROOT / "cpu,cpuacct", _ROOT)
_PERIOD = 20_000  # microseconds: long enough that caches are filled for a while, and fifty of them are in a second


@contextmanager
def allowance(pid: int, share: float) -> Iterator[None]:
    """The process has `share` of a core meanwhile. Raises OSError where it cannot be held to that."""
    hierarchy = next((folder for folder in _HIERARCHIES if (folder / "cgroup.procs").exists()), _ROOT)
    group = hierarchy / f"portico-bench-{pid}"
    group.mkdir()
    try:
        quota = int(share * _PERIOD)
        if (group / "cpu.max").exists():
            (group / "cpu.max").write_text(f"{quota} {_PERIOD}")
        else:
            (group / "cpu.cfs_period_us").write_text(f"{_PERIOD}")
            (group / "cpu.cfs_quota_us").write_text(f"{quota}")
        (group / "cgroup.procs").write_text(f"{pid}")
        yield
    finally:
        for member in (group / "cgroup.procs").read_text().split():
            (hierarchy / "cgroup.procs").write_text(member)
        group.rmdir()
