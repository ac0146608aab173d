"""A package with a policy of one's own to start from."""

from __future__ import annotations

import re
import sys
from importlib import resources
from importlib.resources.abc import Traversable
from keyword import iskeyword
from pathlib import Path
from string import Template
from typing import Final

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_LONGEST: Final = 40
"""Characters of a name: lines of the template stay short enough for its linter."""
_TAKEN: Final = frozenset(
    {
        *("portico", "portico-gateway", "pytest", "pydantic", "tests"),
        *("annotated", "exchange", "field", "header-name", "policy", "response-head", "verdict"),  # imported there
    }
)
_PACKAGE: Final = "package"
_SUFFIX: Final = ".in"


def checked_plugin_name(name: str) -> str:
    """The name of a package. Raises ValueError where it cannot be one, with one that can."""
    package = _package_of(name)
    if _NAME.fullmatch(name) is None:
        words = re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower())
        close = "-".join(words).lstrip("-0123456789")
        raise ValueError(f"{name!r} is no name: write words of a to z and 0 to 9 with dashes, such as {_close(close)}")
    if len(name) > _LONGEST:
        raise ValueError(f"{name!r} is longer than {_LONGEST} characters")
    if name in _TAKEN or iskeyword(package) or package in sys.stdlib_module_names:
        raise ValueError(
            f"{name!r} is taken by Python, Portico or what they use; choose another, such as {name}-policy"
        )
    return name


def _close(name: str) -> str:
    return name if _NAME.fullmatch(name) else "block-old-clients"


def write_plugin(name: str, directory: Path) -> list[Path]:
    """Write it to a directory that is not there yet, or empty; the files, as paths in it. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise FileExistsError(directory)
    words = {
        "name": name,
        "package": _package_of(name),
        "policy": "".join(word.capitalize() for word in name.split("-")),
    }
    written = []
    for path, text in _files(resources.files("portico.cli") / "template", Path()):
        own = Path(*(words["package"] if part == _PACKAGE else part for part in path.parts))
        (directory / own).parent.mkdir(parents=True, exist_ok=True)
        (directory / own).write_text(Template(text).substitute(words), encoding="utf-8")
        written.append(own)
    return written


def _files(folder: Traversable, path: Path) -> list[tuple[Path, str]]:
    """The template's files with their texts, by name."""
    found = []
    for each in sorted(folder.iterdir(), key=lambda each: each.name):
        if each.is_dir():
            found += _files(each, path / each.name)
        elif each.name.endswith(_SUFFIX):
            found.append((path / each.name.removesuffix(_SUFFIX), each.read_text(encoding="utf-8")))
    return found


def _package_of(name: str) -> str:
    return name.replace("-", "_")
