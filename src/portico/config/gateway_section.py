"""The gateway section of a file alone: commands that ask a running gateway need no more to know where it is.

Of a file with thousands of services that is a hundredth of the work, and what is wrong with them is no obstacle.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from portico.config.document import parse_document
from portico.config.environment import complete, read_environment
from portico.config.gateway import GatewaySettings
from portico.config.load import load_config, load_text
from portico.config.problems import ConfigError
from portico.config.reading import read_text
from portico.config.secret_files import SecretFiles
from portico.config.substitution import plain_data

_KEY: Final = re.compile(r"""^(gateway|"gateway"|'gateway')[ \t]*:(?=\s|$)""", re.MULTILINE)
_BEHIND: Final = re.compile(r"^[^\s#}\]]", re.MULTILINE)
"""Begins the line behind a section: the brackets at its end may stand at the beginning of a line."""
_ELSEWHERE: Final = re.compile(r"""\A[\s#-]*[{?]|^\s*["']?gateway["']?\s*:|^["']?<<""", re.MULTILINE)
"""What may hold the section in another way than as a key at the beginning of a line."""


def load_gateway(path: Path | None, environ: Mapping[str, str]) -> GatewaySettings:
    """The gateway section of the file at `path`; without one that of the demo. Raises ConfigError.

    What is wrong with the rest of the file is not looked for where the section can be read without it.
    """
    if path is None:
        return load_config(path, environ).gateway
    text = read_text(path)
    section = _section(text)
    try:
        found = None if section is None else _read(section, path.parent, environ)
    except (ConfigError, ValidationError):
        found = None  # the whole file says it with lines and columns
    return found or load_text(text, str(path), environ).gateway


def _section(text: str) -> str | None:
    """The lines of the section; none where there is none, None where that cannot be told."""
    keys = [*_KEY.finditer(text)]
    if not keys:
        return None if _ELSEWHERE.search(text) else ""
    if len(keys) > 1:
        return None
    end = _BEHIND.search(text, keys[0].end())
    return text[keys[0].start() : end.start() if end else len(text)]


def _read(section: str, directory: Path, environ: Mapping[str, str]) -> GatewaySettings | None:
    """Its settings, with those of the environment; None where something is wrong with them. Raises as `load_text`."""
    environment = read_environment(environ)
    written, wrong = plain_data(parse_document(section, ""), environment.values, SecretFiles(directory))
    if wrong or environment.wrong:
        return None
    tree = complete(written if isinstance(written, dict) else {}, environment.values).tree
    return GatewaySettings.model_validate(tree.get("gateway") or {})
