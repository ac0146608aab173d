"""The systems whose configurations can be read."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Protocol

from portico.imports.draft import Draft
from portico.imports.kong import import_kong
from portico.imports.nginx import import_nginx
from portico.imports.traefik import import_traefik


class Importer(Protocol):
    """Reads a file, and what that includes; `prefix` is the directory that relative names in it begin at.

    Raises SourceError for what cannot be read, with file and line.
    """

    def __call__(self, file: Path, *, prefix: Path | None = None) -> Draft: ...


IMPORTERS: Final[dict[str, Importer]] = {"nginx": import_nginx, "kong": import_kong, "traefik": import_traefik}
