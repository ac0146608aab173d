"""From nginx.conf to a draft of a portico.yaml."""

from __future__ import annotations

from pathlib import Path

from portico.imports.draft import Draft, Part, free_name
from portico.imports.nginx.syntax import Directive, read_file


def import_nginx(file: Path, *, prefix: Path | None = None) -> Draft:
    """Read nginx's configuration, and what it includes. Raises SourceError for what nginx would not read either."""
    draft = Draft(str(file), "nginx")
    for directive in read_file(file, prefix):
        if directive.name == "http":
            for upstream in directive.all("upstream"):
                _upstream(draft, upstream)
        else:
            draft.left(directive.where, str(directive), "this is not imported")
    return draft


def _upstream(draft: Draft, upstream: Directive) -> None:
    instances = [f"http://{server.value}" for server in upstream.all("server")]
    name = free_name(upstream.value, draft.services)
    draft.services[name] = Part(upstream.where, {"default_routes": False, "instances": instances})
    draft.taken(upstream.where, str(upstream))
