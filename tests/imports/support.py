"""What an import is asked in tests: which route takes a request, and what its service gets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from portico.config import Config, load_text
from portico.core.messages import Fields
from portico.core.paths import segments_of
from portico.imports import IMPORTERS, Imported, Remark, finished
from portico.proxy.routing.router import Router
from portico.snapshot.routing import rewrite_of, rule_of


@dataclass(frozen=True)
class Found:
    """A configuration that was imported."""

    imported: Imported
    config: Config

    def asked(self, url: str, method: str = "GET", **fields: str) -> tuple[str, str] | None:
        """The name of the route that takes a request for `host/path`, and the path that its service gets."""
        host, _, rest = url.partition("/")
        path, _, query = f"/{rest}".partition("?")
        lines = Fields(
            [name.encode() for name in fields], [f"{name}: {value}".encode() for name, value in fields.items()]
        )
        router = Router([rule_of(route, route) for route in self.config.all_routes])
        asked = segments_of(path.encode()), host.encode(), method.encode(), lines, query.encode()
        match = router.match(*asked)
        if match is None:
            return None
        route, depth = match
        return route.name, rewrite_of(route).apply(path.encode(), depth).decode()

    def policies(self, name: str) -> dict[str, Any]:
        """The policies of a route that are written for it or above it."""
        route = next(route for route in self.config.all_routes if route.name == name)
        return {key: settings for key, (settings, _) in route.policies.items()}

    def closed(self) -> set[str]:
        """The routes that answer 503."""
        return {str(route.name) for route in self.config.routes if route.respond and route.respond.status == 503}

    def remarks(self, kind: str) -> list[str]:
        """What is said of lines, each as `LINE: what`."""
        return [said(remark) for remark in self.imported.remarks if remark.kind == kind]


def said(remark: Remark) -> str:
    return f"{remark.line}: {remark.text}"


def imported(kind: str, file: Path, text: str, **environ: str) -> Found:
    """What becomes of a file with this text."""
    file.write_text(text)
    made = finished(IMPORTERS[kind](file), "portico.yaml")
    return Found(made, load_text(made.text, "portico.yaml", environ))
