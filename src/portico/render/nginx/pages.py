"""Errors of nginx's own as problem documents (RFC 9457), and pages in their place."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from portico.config import Config
from portico.config.levels import Merged
from portico.config.problems import KeyPath
from portico.core.errors import PHRASES
from portico.policies.error_pages import PageSettings
from portico.policies.error_templates import json_object
from portico.render.nginx.names import Names
from portico.render.nginx.text import DOLLAR, block, comment, mixed, pattern, word

_OWN: Final = (401, 403, 404, 405, 413, 416, 429, 500, 502, 503, 504)
"""The statuses that nginx answers with by itself, once it has read a request; before, it has no location for them."""
_TYPES: Final = {"html": "text/html; charset=utf-8", "text": "text/plain; charset=utf-8"}
_ASKED: Final = {"html": r"~*^(?!.*application/(?:problem\+)?json).*text/html", "text": r"~*^(?!.*json).*text/plain"}
_PROBLEM_KIND: Final = "application/problem+json"
_NAME: Final = re.compile(r"\{(status|title|reason|detail|request_id)\}")
_STANDS: Final = {"status": "${status}", "title": "${title}", "request_id": "${request_id}"}
_PIECE: Final = 400
"""Characters of a page in one variable: nginx reads words of `LONGEST` bytes at most, and writes `$` with nine."""
_EARLY: Final = frozenset({400, 408, 414, 431})
"""Statuses that nginx may answer with before it has a path, which a location would need."""


def variables(config: Config) -> Iterator[str]:
    """What the texts of errors are made of."""
    has_pages = any(
        "errors" in policies for policies in (config.own_policies, *(r.policies for r in config.all_routes))
    )
    statuses = [status for status in PHRASES if status >= 400] if has_pages else _OWN
    yield comment("Errors of nginx's own are problem documents (RFC 9457).")
    titles = [f"{status} {word(PHRASES[status])};" for status in statuses]
    yield from block("map $status $title", [*titles, "default Error;"])
    said = '{"type": "about:blank", "title": "$title", "status": $status, "request_id": "$request_id"}'
    yield f"map $status $problem {{ default '{said}'; }}"


def errors_of_server(names: Names, policies: Merged) -> list[str]:
    """The lines of a server: each location that says nothing else of errors has these."""
    return errors(names, policies, of_all(names), ("policies", "errors"))


def of_all(names: Names) -> list[str]:
    """The lines of the fields that all responses have."""
    return [line for line in names.base if line.startswith("add_header")]


def errors(names: Names, policies: Merged, fields: list[str], at: KeyPath) -> list[str]:
    """The lines that have errors answered in locations with these `fields`; pages are written at `at`."""
    settings, _ = policies.get("errors", (None, ""))
    pages = _pages(settings or {})
    if early := _EARLY.intersection(map(int, filter(str.isdecimal, settings or {}))):
        names.losses.add((*at, str(min(early))), "nginx has its own page for what it refuses before it has read a path")
    intercepted = {status for status, page in pages.items() if page.intercept}
    if intercepted and len(intercepted) < len(pages):
        names.losses.add(
            at, "nginx has one page for its own error and a service's: those that differ are its own alone"
        )
        intercepted = set()
    groups: dict[str, list[int]] = {}
    for status in sorted(intercepted or {*_OWN, *pages}):
        page = pages.get(status)
        target = plain(names, fields) if page is None else _chosen(names, page, fields, at)
        groups.setdefault(target, []).append(status)
    lines = [f"error_page {' '.join(map(str, statuses))} {target};" for target, statuses in groups.items()]
    return [*(["proxy_intercept_errors on;"] if intercepted else []), *lines]


def _pages(settings: Any) -> dict[int, PageSettings]:
    """The page of each status that has one: its own, over what its class has."""
    found: dict[int, PageSettings] = {}
    for status in PHRASES.keys() - _EARLY - {418} if settings else ():
        own, group = settings.get(str(status)), settings.get(f"{status // 100}xx")
        if str(status) in settings and own is None:
            continue
        written = [each for each in (group, own) if each is not None]
        if any(each.forms for each in written):
            merged = {name: value for each in written for name, value in each.forms.items()}
            said = [each.intercept for each in written if "intercept" in each.model_fields_set]
            found[status] = PageSettings.model_construct(**merged, intercept=bool(said and said[-1]))
    return found


def plain(names: Names, fields: list[str] | None = None) -> str:
    """The location with problem documents, which have these fields, or those of all responses."""
    fields = of_all(names) if fields is None else fields
    return _location(names, "problem", _PROBLEM_KIND, "$problem", fields)


def _chosen(names: Names, page: PageSettings, fields: list[str], at: KeyPath) -> str:
    """The location, or the variable with the one, that has the form that a client accepts."""
    forms = {form: _text(names, content, at) for form, content in _contents(names, page)}
    first = plain(names, fields)
    fields = [*fields, "add_header Vary Accept always;"]
    if page.json_ is not None:
        value = json_object(names.config.page_texts[page.json_]) if isinstance(page.json_, str) else page.json_
        kind = "application/json" if {"type", "title"}.isdisjoint(value) else _PROBLEM_KIND
        said = re.sub(r'"\{status\}"(?!:)', "{status}", json.dumps(value, separators=(",", ":"), ensure_ascii=False))
        first = _location(names, "page", kind, _text(names, said, at), fields)
    elif forms:
        first = _location(names, "problem", _PROBLEM_KIND, "$problem", fields)
    if not forms:
        return first
    targets = {form: _location(names, "page", _TYPES[form], text, fields) for form, text in forms.items()}
    lines = [f"{pattern(_ASKED[form])} {target};" for form, target in targets.items()]
    return names.map("page_for", "$http_accept", [*lines, f"default {first};"])


def _contents(names: Names, page: PageSettings) -> Iterator[tuple[str, str]]:
    for form in ("html", "text"):
        written = getattr(page, form)
        if written is not None:
            yield form, written.body if written.file is None else names.config.page_texts[written.file]


def _location(names: Names, label: str, kind: str, text: str, fields: Iterable[str]) -> str:
    """The location that answers with a text, which is written once."""
    own, is_new = names.once((label, kind, text, *fields), label)
    if is_new:
        said = [*fields, "add_header Cache-Control no-store always;", f"default_type {word(kind)};"]
        names.inner[f"@{own}"] = [*said, f"return 200 {text};"]
    return f"@{own}"


def _text(names: Names, text: str, at: KeyPath) -> str:
    """The text of a page as nginx's: in variables of its own where it is long."""
    if {found for found in _NAME.findall(text) if found not in _STANDS}:
        names.losses.add(at, "nginx knows no reason and no detail of an error: they are empty in its pages")
    parts = _NAME.split(text)
    pieces: list[str] = []
    for index, part in enumerate(parts):
        if index % 2:
            pieces.append(_STANDS.get(part, ""))
            continue
        while part:
            piece, part = part[:_PIECE], part[_PIECE:]
            said = mixed(piece.replace("$", DOLLAR))
            if len(text) <= _PIECE:
                pieces.append(piece.replace("$", DOLLAR))
            else:
                name = names.map("page_text", '""', [f"default {said};"])
                pieces.append("${" + name[1:] + "}")
    return mixed("".join(pieces)) if pieces else '""'
