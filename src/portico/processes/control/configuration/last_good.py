"""What was in force before a file was broken: `portico run --resume` serves it again."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from portico.config import Config, ConfigError, load_text
from portico.processes.control.configuration.history import Entry, read_entries
from portico.processes.control.state_file import path_within, state_directory

_STATE_DIR: Final = re.compile(r"""\bstate_dir["']?[ \t]*:[ \t]*["']?((?:\$\{[^{}\n]*\}|[^"'#,{}\n])+)""")
_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^{}]*))?\}")


def history_directories(path: Path, environ: Mapping[str, str]) -> list[Path]:
    """Where the history of a file may be: where it says, as far as that can be read, and where it is by default."""
    text = ""
    with suppress(OSError):
        text = path.read_bytes().decode(errors="replace")
    found = _STATE_DIR.search(text)
    written = [Path(_with_variables(found[1].strip(), environ))] if found else []
    directories = [state_directory(each, environ) for each in (*written, None)]
    return [path_within(each, path, "history").with_suffix("") for each in directories if each is not None]


def _with_variables(text: str, environ: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda found: environ.get(found[1]) or found[2] or "", text)


def last_good(path: Path, environ: Mapping[str, str]) -> Iterator[tuple[Entry, Config]]:
    """The configurations of a file that were in force and can be read now, the newest first.

    Included files are as they were then.
    """
    for directory in history_directories(path, environ):
        for entry in sorted(read_entries(directory), key=lambda each: each.number, reverse=True):
            if entry.state == "applied":
                with suppress(ConfigError):
                    yield entry, load_text(entry.text, str(path), environ, entry.included)
