"""Programs of this repository: how one ends, and how it starts another."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn


def run(main: Callable[[Sequence[str]], int]) -> NoReturn:
    """Exit with what `main` returns for the command line; signals end it as Ctrl-C does, through every finally."""
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, _end_on_signal)
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)


def _end_on_signal(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def python(module: str, *arguments: object) -> list[str]:
    """The command that runs a module, with what this process can import."""
    paths = os.pathsep.join(str(Path(path).absolute()) for path in sys.path)
    return ["env", f"PYTHONPATH={paths}", sys.executable, "-m", module, *map(str, arguments)]
