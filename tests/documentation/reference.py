"""The pages that are written from the code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from . import commands
from .configuration import Reference

PAGES: Final[dict[str, Callable[[], str]]] = {
    "docs/reference/commands.md": commands.text,
    "docs/reference/configuration.md": lambda: Reference().text(),
}
"""Each with what writes it."""
