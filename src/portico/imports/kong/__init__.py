"""Kong's declarative configuration, as `deck gateway dump` writes it and as DB-less Kong reads it."""

from __future__ import annotations

from pathlib import Path

from portico.imports.draft import Draft
from portico.imports.kong.consumers import read_consumers
from portico.imports.kong.entities import read_entities
from portico.imports.kong.routes import Routes
from portico.imports.kong.services import Services
from portico.imports.located import read_yaml
from portico.imports.remarks import SourceError


def import_kong(file: Path, *, prefix: Path | None = None) -> Draft:  # noqa: ARG001
    """A file of Kong's, in YAML or JSON. Raises SourceError for what cannot be read, with file and line."""
    root = read_yaml(file)
    entities = read_entities(root)
    if not entities.services and not entities.routes:
        raise SourceError(root.where, "it has no services and no routes")
    draft = Draft(str(file), "kong")
    draft.gateway.data["endpoints"] = dict.fromkeys(("root", "health", "docs", "auth", "metrics"), False)
    for other in entities.others:
        draft.left(other.where, other.name, "there is no counterpart")
    services = Services(entities, draft)
    Routes(entities, services, read_consumers(entities, draft), draft).write()
    return draft
