"""`portico run --resume`: what was last in force, where the file is wrong."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from portico.cli.configured import load, path_of, with_plugins
from portico.cli.console import err, fail, say

if TYPE_CHECKING:
    from portico.config import Config, Problem


class _WrongError(Exception):
    def __init__(self, problems: Sequence[Problem | str]) -> None:
        super().__init__("\n".join(map(str, problems)))


def _raise(problems: Sequence[Problem | str]) -> NoReturn:
    raise _WrongError(problems)


def loaded_or_last(config: Path | None) -> tuple[Config, Path | None, str]:
    """The configuration and its file, which is left alone, and what is wrong with it, if anything is.

    Then the configuration is the last one that was in force and can be. Where there is none, the command ends.
    """
    path = path_of(config)
    if path is None:
        return *load(config), ""
    try:
        return with_plugins(load(path, failed=_raise)[0], _raise), path, ""
    except _WrongError as error:
        refused = str(error)
    say(err, refused)
    found = next(_candidates(path), None)
    if found is None:
        from portico.processes.control.configuration.last_good import history_directories

        looked = " or ".join(map(str, history_directories(path, os.environ)))
        fail(f"portico: --resume found nothing that was in force and can be served now in {looked}")
    number, when, loaded = found
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))
    say(err, f"warning: {path} is wrong and is left alone: what was in force at {at} is served (history {number})")
    return loaded, path, refused


def _candidates(path: Path) -> Iterator[tuple[int, float, Config]]:
    """What was in force and can be, the newest first."""
    from portico.config import file_problems
    from portico.processes.control.configuration.last_good import last_good

    for entry, loaded in last_good(path, os.environ):
        if file_problems(loaded):
            continue
        try:
            yield entry.number, entry.when, with_plugins(loaded, _raise)
        except _WrongError:
            continue
