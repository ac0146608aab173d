"""Routes that answer themselves, and those that are closed."""

from __future__ import annotations

import json
from math import ceil
from mimetypes import guess_type
from typing import Any, Final

from portico.config import Config, RedirectSettings, ResolvedRoute, RespondSettings
from portico.config.answers import RedirectTarget, redirect_target
from portico.core.placeholders import PATH, QUERY, pieces_of
from portico.core.route_paths import is_exact, is_pattern, literal_of
from portico.render.kong.paths import decoded
from portico.render.kong.plugins import Plugins
from portico.render.losses import Losses

_PLAIN: Final = "text/plain; charset=utf-8"
_WORDY: Final = (401, 404, 405, 500, 502, 503)
"""Statuses for which Kong has words."""


def closed(why: str, retry_after: float | None) -> Plugins:
    """What a route has that answers 503."""
    plugins = Plugins()
    plugins.set("request-termination", {"status_code": 503, "message": why})
    if retry_after is not None:
        plugins.add_field("Retry-After", str(ceil(retry_after)))
    return plugins


def own_answer(said: Any) -> dict[str, Any]:
    """One of the gateway's own, in JSON."""
    return {"status_code": 200, "content_type": "application/json", "body": json.dumps(said, ensure_ascii=False)}


def answering(config: Config, losses: Losses, route: ResolvedRoute, plugins: Plugins) -> None:
    """Adds what makes a route answer itself."""
    if isinstance(route.answer, RedirectSettings):
        _redirect(route, route.answer, plugins)
    elif route.answer is not None:
        _respond(config, losses, route, route.answer, plugins)


def _respond(config: Config, losses: Losses, route: ResolvedRoute, answer: RespondSettings, plugins: Plugins) -> None:
    body = answer.body or ""
    kind = _PLAIN
    if answer.file is not None:
        try:
            body = config.files.get(answer.file, b"").decode()
        except UnicodeDecodeError:
            losses.add((*route.source, "respond", "file"), "Kong's file is text, and this is none: the body is empty")
        guessed = guess_type(answer.file.name)[0] or "application/octet-stream"
        kind = f"{guessed}; charset=utf-8" if guessed.startswith("text/") else guessed
    for name, value in answer.headers.items():
        if name.lower() == "content-type":
            kind = value
        elif not value or value.startswith(":"):
            losses.add((*route.source, "respond", "headers", name), "Kong has no field with such a value")
        else:
            plugins.add_field(name, value)
    said: dict[str, Any] = {"status_code": answer.status}
    if body:
        said |= {"content_type": kind, "body": body}
    elif answer.status in _WORDY:
        losses.add(
            (*route.source, "respond"), f"Kong's answer of {answer.status} has a body of its own, where none is written"
        )
    plugins.set("request-termination", said)


# ---- redirects


def _redirect(route: ResolvedRoute, answer: RedirectSettings, plugins: Plugins) -> None:
    to = redirect_target(answer.to)
    if "{" not in answer.to and to.origin and (to.query or not to.keeps_query):
        location = to.origin + to.path + to.query + to.fragment
        plugins.set("redirect", {"status_code": answer.status, "location": location, "keep_incoming_path": False})
    elif not is_pattern(route.path) and to.origin and "{" not in to.origin and _keeps_all(route, to):
        said = {"status_code": answer.status, "location": to.origin, "keep_incoming_path": True}
        plugins.set("redirect", said)
    else:
        plugins.set("post-function", {"access": [_lua(route, answer, to)]})


def _keeps_all(route: ResolvedRoute, to: RedirectTarget) -> bool:
    """Whether nothing but the host changes."""
    path = "" if route.path == "/" else route.path
    return (
        to.keeps_query
        and not to.query
        and not to.fragment
        and not is_exact(route.path)
        and to.path == f"{path}/{{path}}"
    )


def _lua(route: ResolvedRoute, answer: RedirectSettings, to: RedirectTarget) -> str:
    """A redirect with parts of the request in it, as Lua that Kong's sandbox takes."""
    names = {piece for text in (to.path, to.query) for piece in pieces_of(text) if isinstance(piece, str)}
    captured = names - {PATH, QUERY}
    lines = []
    if captured or PATH in names:
        lines += ["local function sent(text)", f"  {_ENCODED}", "end"]
    if PATH in names and not is_exact(route.path):
        prefix = "" if is_pattern(route.path) or route.path == "/" else decoded(route.path)
        lines.append(f"local path = sent(kong.request.get_path():sub({len(prefix.encode()) + 2}))")
    if captured:
        lines.append("local part = (kong.request.get_uri_captures() or {}).named or {}")
    keeps_query = to.keeps_query and not to.query
    if keeps_query or QUERY in names:
        lines.append("local query = kong.request.get_raw_query()")
    parts = [_origin(to.origin), *_parts(to.path, route), *_query(to.query), _text(to.fragment)]
    if keeps_query:
        parts.insert(-1, _QUERY)
    location = " .. ".join(part for part in parts if part != '""') or '""'
    lines.append(f"return kong.response.exit({answer.status}, nil, {{ Location = {location} }})")
    return "\n".join(lines) + "\n"


_QUERY: Final = '(query ~= "" and "?" .. query or "")'
_ENCODED: Final = """return (text:gsub("[^!-%[%]-~]", function(each) return ("%%%02X"):format(each:byte()) end))"""
"""Kong's paths are decoded: line ends in one would end the field, and a backslash is a slash for browsers."""


def _origin(origin: str) -> str:
    return (
        _text(origin)
        if "{host}" not in origin
        else " .. ".join(
            part if part == "kong.request.get_host()" else _text(part)
            for part in _around(origin, "{host}", "kong.request.get_host()")
        )
    )


def _around(text: str, mark: str, by: str) -> list[str]:
    before, _, after = text.partition(mark)
    return [part for part in (before, by, after) if part]


def _parts(text: str, route: ResolvedRoute) -> list[str]:
    found = []
    for piece in pieces_of(text):
        if isinstance(piece, bytes):
            found.append(_text(piece.decode()))
        elif piece == PATH:
            found.append(_text(literal_of(route.path).removeprefix("/")) if is_exact(route.path) else "path")
        else:
            found.append(f'sent(part["{piece}"] or "")')
    return found


def _query(text: str) -> list[str]:
    """A query, in which the request's own may stand, without the `&` beside it where there is none."""
    before, found, after = text.partition(f"{{{QUERY}}}")
    if not found:
        return _query_parts(text)
    if before == "?" and not after:
        return [_QUERY]
    joins_before, joins_after = before.endswith("&"), after.startswith("&") and not before.endswith("&")
    own = '"&" .. query' if joins_before else 'query .. "&"' if joins_after else "query"
    return [
        *_query_parts(before.removesuffix("&")),
        f'(query ~= "" and {own} or "")',
        *_query_parts(after[1:] if joins_after else after),
    ]


def _query_parts(text: str) -> list[str]:
    return [
        _text(piece.decode()) if isinstance(piece, bytes) else f'ngx.escape_uri(part["{piece}"] or "")'
        for piece in pieces_of(text)
    ]


def _text(text: str) -> str:
    """A text in Lua's quotes."""
    return (
        '"' + "".join(f"\\{ord(each):03d}" if each in '"\\' or not " " <= each <= "~" else each for each in text) + '"'
    )
