"""What was measured on: the kind of processor and the versions, nothing that names the machine."""

from __future__ import annotations

import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.backend import kind
from support import cores
from support.site import output_of


def facts() -> list[str]:
    """One line each."""
    return [
        f"{_processor()}, {cores.count()} cores ({platform.machine()}); {_placement()}",
        f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        f"Python {platform.python_version()}, uvloop {_package('uvloop')}",
        f"wrk {_wrk()}; backend: {kind()}",
    ]


def _placement() -> str:
    return (
        "gateways, load and backend share one"
        if not cores.leave_room(1)
        else f"{cores.count() - len(cores.LOAD)} for the gateways, the rest for load and backend"
    )


def _processor() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1].strip() if found else "unknown processor"


def _package(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _wrk() -> str:
    found = re.search(r"wrk \S*?([\d.]+\d)", output_of("wrk", "-v"))
    return found[1] if found else "of unknown version"
