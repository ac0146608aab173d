"""What Envoy answers itself: problems, texts, redirects."""

from __future__ import annotations

from mimetypes import guess_type
from typing import Final

from portico.config import RedirectSettings, ResolvedRoute, RespondSettings
from portico.config.answers import redirect_target
from portico.core.errors import PHRASES, REASONS
from portico.core.placeholders import PATH, QUERY, pieces_of
from portico.core.route_paths import is_exact, is_pattern, literal_of
from portico.render.envoy.names import Names, Section, escaped, header
from portico.render.envoy.regexes import anchored, beginning, group_names
from portico.render.expressions import literal

PROBLEM: Final = "application/problem+json"
LARGEST: Final = 1 << 20
"""Bytes of a text."""
_CODES: Final = {
    301: "MOVED_PERMANENTLY",
    302: "FOUND",
    303: "SEE_OTHER",
    307: "TEMPORARY_REDIRECT",
    308: "PERMANENT_REDIRECT",
}
_END: Final = "\1"
"""Stands for what follows a path: no text has it."""
_TAKEN: Final = frozenset({"content-length", "transfer-encoding"})


def answered(reason: str, match: Section) -> Section:
    """A route that answers with a problem of Envoy's own, which `replies` writes."""
    return {"name": f"portico:{reason}", "match": match, "direct_response": {"status": REASONS[reason]}}


def problem(status: int, reason: str, detail: str) -> Section:
    """An answer in the form of all errors of Portico's (RFC 9457)."""
    return {"status": status, "body_format": problem_format(status, reason, detail)}


def problem_format(status: int, reason: str, detail: str) -> Section:
    """The body of such an answer."""
    text = {
        "type": "about:blank",
        "title": escaped(PHRASES[status]),
        "status": status,
        "detail": escaped(detail),
        "instance": "%DYNAMIC_METADATA(portico:path)%",
        "request_id": "%REQ(X-REQUEST-ID)%",
        "reason": reason,
    }
    return {"content_type": PROBLEM, "json_format": text}


def responding(names: Names, route: ResolvedRoute, answer: RespondSettings) -> Section:
    """The parts of a route that answers with a text."""
    body, kind = answer.body or "", "text/plain; charset=utf-8"
    if answer.file is not None:
        content = names.config.files.get(answer.file, b"")
        try:
            body = content.decode()
        except UnicodeDecodeError:
            names.losses.add((*route.source, "respond", "file"), "Envoy's file is text, and this is none")
        guessed = guess_type(answer.file.name)[0] or "application/octet-stream"
        kind = f"{guessed}; charset=utf-8" if guessed.startswith("text/") else guessed
    fields = {name: value for name, value in answer.headers.items() if name.lower() not in _TAKEN}
    if body and not any(name.lower() == "content-type" for name in fields):
        fields = {"Content-Type": kind, **fields}
    found: Section = {"status": answer.status}
    if body:
        found["body"] = {"inline_string": body}
    if not fields:
        return {"direct_response": found}
    return {
        "direct_response": found,
        "response_headers_to_add": [header(name, escaped(value)) for name, value in fields.items()],
    }


# ---- paths


def rewriting(route: ResolvedRoute, rewrite: str) -> Section:
    """What becomes of the path on its way to the service."""
    prefix = route.path if route.path != "/" else ""
    if is_exact(route.path):
        to = rewrite.replace("{path}", literal_of(route.path).removeprefix("/"))
        return {} if to == literal_of(route.path) else _replaced(anchored(route.path), to)
    if not is_pattern(route.path) and rewrite == f"{prefix}/{{path}}":
        return {}
    return _replaced(*_pattern_and_text(route.path, rewrite))


def _replaced(pattern: str, substitution: str) -> Section:
    return {"regex_rewrite": {"pattern": {"regex": pattern}, "substitution": substitution}}


def _pattern_and_text(path: str, text: str) -> tuple[str, str]:
    """What finds a path, and what stands in its place. `{path}` is what follows a prefix, else all of the path."""
    if is_pattern(path):
        return anchored(path), _numbered(text.replace(f"/{{{PATH}}}", "\0"), path).replace("\0", r"\0")
    if is_exact(path):
        return anchored(path), _numbered(text.replace(f"{{{PATH}}}", ""), path)
    before, found, after = text.partition(f"{{{PATH}}}")
    if found and not after:
        return beginning(path), _numbered(before, path)
    return f"^{literal(path.rstrip('/'))}(?:/(.*))?$", _numbered(before, path) + (r"\1" if found else "") + _numbered(
        after, path
    )


def _numbered(text: str, path: str) -> str:
    """A text with names in braces as RE2's numbers of groups."""
    numbers = {name: number for number, name in enumerate(group_names(path), 1)}
    return "".join(
        piece.decode().replace("\\", "\\\\") if isinstance(piece, bytes) else f"\\{numbers[piece]}"
        for piece in pieces_of(text)
    )


# ---- redirects


def redirecting(route: ResolvedRoute, answer: RedirectSettings) -> tuple[Section, Section]:
    """How a route sends clients elsewhere, and what is said of that to `portico`.

    Envoy makes a whole URL of a path, and knows no way to put a request's query into another one.
    """
    to = redirect_target(answer.to)
    query = to.query or (f"?{{{QUERY}}}" if to.keeps_query and to.fragment else "")
    after = _numbered(query.replace(f"{{{QUERY}}}", "\0"), route.path).replace("\0", f"{{{QUERY}}}") + to.fragment
    pattern, path = _pattern_and_text(route.path, to.path + (_END if after else ""))
    substitution = path.replace(_END, after.replace("?", "{}", 1))
    found: Section = {"regex_rewrite": {"pattern": {"regex": pattern}, "substitution": substitution}}
    found["response_code"] = _CODES[answer.status]
    scheme, _, host = to.origin.partition("://")
    if scheme:
        found["scheme_redirect"] = scheme.lower()
    name, _, port = host.rpartition(":") if host[-1:] != "]" and ":" in host else (host, "", "")
    if name and name != "{host}":
        found["host_redirect"] = name
    if port:
        found["port_redirect"] = int(port)
    if after or not to.keeps_query:
        found["strip_query"] = True  # of what is put in its place, too: so its ? is put there later
    told: Section = {} if scheme else {"is_path": True}
    if query:
        told["has_query"] = True
    return found, told
