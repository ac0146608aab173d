"""Error pages."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from portico.imports.nginx.ledger import Ledger
from portico.imports.nginx.locations import Chooser, Location
from portico.imports.nginx.scope import Scope
from portico.imports.nginx.syntax import Directive


def error_pages(ledger: Ledger, scope: Scope, chooser: Chooser, root: Path) -> dict[str, Any]:
    """The policy `errors` of a location."""
    pages: dict[str, Any] = {}
    intercepts = scope.is_on("proxy_intercept_errors")
    ledger.taken(scope.one("proxy_intercept_errors"))
    for each in scope.all("error_page"):
        codes = [word for word in each.args[:-1] if re.fullmatch(r"[45]\d\d", word)]
        if not codes or len(codes) != len(each.args) - 1:
            ledger.left(each, "an error keeps its status here")
            continue
        page = _page(ledger, each, scope, chooser, root)
        if page is None:
            ledger.left(each, "a page is a file that is there, or the text of a return")
            continue
        ledger.taken(each)
        for code in codes:
            pages.setdefault(code, page | ({"intercept": True} if intercepts else {}))
    return pages


def _page(ledger: Ledger, directive: Directive, scope: Scope, chooser: Chooser, root: Path) -> dict[str, Any] | None:
    uri = directive.args[-1]
    if uri.startswith("@"):
        location = chooser.named.get(uri)
        return _text_of(ledger, location) if location is not None else None
    if not uri.startswith("/"):
        return None
    location = chooser.of(uri)
    if location is not None and (text := _text_of(ledger, location)) is not None:
        return text
    base = (location.scope if location is not None else scope).one("root")
    if base is None or "$" in base.value:
        return None
    path = root / base.value / uri.lstrip("/")
    try:
        if not path.is_file() or path.stat().st_size > 1 << 20:
            return None
    except (OSError, ValueError):
        return None
    ledger.taken(base)
    return {"html": str(path)}


def _text_of(ledger: Ledger, location: Location) -> dict[str, Any] | None:
    """The page that a location returns."""
    for each in location.block:
        if each.name == "return" and len(each.args) == 2 and "$" not in each.args[1]:
            ledger.taken(each)
            return _as_page(each.args[1], location.scope.value("default_type", "text/plain"))
    return None


def _as_page(text: str, kind: str) -> dict[str, Any]:
    if "json" in kind:
        try:
            value = json.loads(text)
        except ValueError:
            return {"text": {"body": text}}
        if isinstance(value, dict):
            return {"json": value}
    return {"html" if "html" in kind else "text": {"body": text}}
