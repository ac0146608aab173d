"""The configuration that a command is for: which file it is, read and checked; what is wrong ends the command."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import typer

from portico.cli.console import fail
from portico.cli.options import DEFAULT_CONFIG
from portico.core.imports import kept

if TYPE_CHECKING:
    from portico.config import Config, Problem


def named_file(context: typer.Context, file: Path | None, config: Path | None) -> Path | None:
    """The file that is named on the command line, with `--config` or without, else that of PORTICO_CONFIG."""
    source = context.get_parameter_source("config")
    if file is not None and source is not None and source.name == "COMMANDLINE":
        raise typer.BadParameter("name the file once, with --config or without", param_hint="FILE")
    return file or config


def path_of(config: Path | None) -> Path | None:
    """The file that was named, or the default one if it is there; None where there is neither."""
    return config or (Path(DEFAULT_CONFIG) if os.access(DEFAULT_CONFIG, os.F_OK) else None)


def load(
    config: Path | None, *, demo: bool = False, failed: Callable[[Sequence[Problem]], NoReturn] | None = None
) -> tuple[Config, Path | None]:
    """The configuration and its file; without a file it is the demo's where that is meant.

    What is wrong with it ends the command, by `failed` where that is given, and else with a line each.
    """
    path = path_of(config)
    if path is None and not demo:
        fail(
            f"portico: there is no {DEFAULT_CONFIG} here: portico init writes one, --config FILE names another; "
            "portico demo shows a gateway without one"
        )
    with kept():
        from portico.config import ConfigError, file_problems, load_config
    try:
        loaded = load_config(path, os.environ)
    except ConfigError as error:
        if failed is not None:
            failed(error.problems)
        named = path is not None and str(path) == os.environ.get("PORTICO_CONFIG")
        fail(f"{error} (PORTICO_CONFIG names it)" if named and error.problems[0].line is None else str(error))
    if problems := file_problems(loaded):
        if failed is not None:
            failed(problems)
        fail("\n".join(map(str, problems)))
    return loaded, path


def load_for_good(
    config: Path | None, *, failed: Callable[[Sequence[Problem]], NoReturn] | None = None
) -> tuple[Config, Path | None]:
    """The same for a command that does no more than look at it, and ends: it is freed with the process."""
    from portico.core.slices import without_collections

    with without_collections():
        loaded, path = load(config, failed=failed)
    lasting[:] = [loaded]
    return loaded, path


lasting: Final[list[Config]] = []
"""What was loaded for good: to free 50,000 routes one by one takes half a second."""


def usable(config: Path | None, *, demo: bool = False) -> tuple[Config, Path | None]:
    """The same with the code of users' policies."""
    loaded, path = load(config, demo=demo)
    return with_plugins(loaded), path


def text_of(file: Path) -> str:
    """What is in a file, or on standard input for `-`; where that cannot be read, that ends the command."""
    with kept():
        from portico.config import ConfigError
        from portico.config.reading import read_text
    if str(file) == "-":
        return sys.stdin.read()
    try:
        return read_text(file)
    except ConfigError as error:
        fail(str(error))


def with_plugins(config: Config, failed: Callable[[Sequence[str]], NoReturn] | None = None) -> Config:
    """The configuration with the code of users' policies; what is wrong with those ends the command, as in `load`."""
    from portico.config import names_plugins, with_code

    if not names_plugins(config):
        return config
    problems, code = _check_in_child(config)
    if problems:
        if failed is not None:
            failed(problems)
        fail("\n".join(problems))
    return with_code(config, code)


def _check_in_child(config: Config) -> tuple[list[str], Mapping[str, bytes]]:
    """What users' code does when it is imported stays in a process of its own.

    This one goes on whatever that is, and starts others that are to find nothing of it.
    """
    from multiprocessing import get_context

    from portico.config import check_plugins

    context = get_context("fork")
    reader, writer = context.Pipe(duplex=False)

    def import_and_report() -> None:
        writer.send(check_plugins(config))
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(0)  # threads that users' code has started would keep it

    child = context.Process(target=import_and_report)
    child.start()
    writer.close()
    try:
        found: tuple[list[str], Mapping[str, bytes]] = reader.recv()
    except EOFError:
        found = ["portico: users' policies ended the process while they were imported, by os._exit() or a crash"], {}
    child.join()
    return found
