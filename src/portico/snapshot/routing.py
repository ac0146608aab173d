"""What a route's path, conditions and target are in the router."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from portico.config import KEEP, RedirectSettings, ResolvedRoute, RespondSettings
from portico.config.answers import redirect_target
from portico.core.conditions import condition_of, field_condition_of
from portico.core.header_map import checked_line
from portico.core.placeholders import pieces_of
from portico.core.route_paths import is_exact, is_pattern, literal_of, pattern_of
from portico.policies.policy import Policy
from portico.proxy.cache.purge_method import lets_purge
from portico.proxy.routing.answers import LocationRewrite, redirecting, responding
from portico.proxy.routing.captured import CapturedRewrite
from portico.proxy.routing.route import Rewrite
from portico.proxy.routing.router import Rule

T = TypeVar("T")


def rule_of(written: ResolvedRoute, target: T) -> Rule[T]:
    """What a request must look like to reach the target of a route. One with GET takes HEAD too."""
    methods = frozenset(method.encode() for method in written.methods) or None
    if methods and b"GET" in methods:
        methods |= {b"HEAD"}
    if methods and lets_purge(written.policies):
        methods |= {b"PURGE"}
    return Rule(
        literal_of(written.path),
        target,
        written.hosts,
        methods,
        tuple((name.lower().encode(), field_condition_of(name, value)) for name, value in written.headers.items()),
        tuple((name.encode(), condition_of(value)) for name, value in written.query.items()),
        exact=is_exact(written.path),
        pattern=pattern_of(written.path) if is_pattern(written.path) else None,
        fallback=written.is_fallback,
    )


def rewrite_of(written: ResolvedRoute) -> Rewrite:
    """What becomes of the path: for the service, or in a redirect."""
    pattern = pattern_of(written.path) if is_pattern(written.path) else None
    if isinstance(written.answer, RedirectSettings):
        to = redirect_target(written.answer.to)
        end = pieces_of(to.query + to.fragment)
        return LocationRewrite.by(pieces_of(to.path), end, pattern, has_origin=bool(to.origin))
    if written.answer is not None:
        return Rewrite(b"/", keeps_path=False)
    if pattern is not None and written.rewrite != KEEP:
        return CapturedRewrite.by(written.rewrite, pattern)
    if is_exact(written.path) and written.rewrite != KEEP:
        path = literal_of(written.path)
        return Rewrite.of(written.rewrite.replace("{path}", path.removeprefix("/")), path)
    return Rewrite.of(written.rewrite, "/" if pattern is not None else literal_of(written.path))


def prefix_of(written: ResolvedRoute) -> bytes:
    """What the public path has before the service's own: `/api/x` for `/{path}`, nothing for `/api/x/{path}`."""
    if written.rewrite == KEEP or not written.path.startswith("/"):
        return b""
    kept = written.rewrite.removesuffix("/{path}")
    prefix = "" if written.path == "/" else written.path
    return prefix.removesuffix(kept).encode()


def answering(answer: RespondSettings | RedirectSettings, files: Mapping[Path, bytes]) -> Policy:
    """The policy that answers; `files` holds what is in those that are named."""
    if isinstance(answer, RedirectSettings):
        to = redirect_target(answer.to)
        return redirecting(answer.status, to.origin.encode(), keeps_query=to.keeps_query)
    body = files.get(answer.file, b"") if answer.file is not None else (answer.body or "").encode()
    lines = [checked_line(name, value) for name, value in answer.headers.items()]
    if body and not any(name.lower() == "content-type" for name in answer.headers):
        lines.append(b"Content-Type: " + _content_type(answer.file).encode())
    return responding(answer.status, lines, body)


def _content_type(file: Path | None) -> str:
    kind, encoding = mimetypes.guess_type(file.name) if file is not None else ("text/plain", None)
    if kind is None or encoding is not None:
        return "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
