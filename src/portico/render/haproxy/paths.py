"""What becomes of the path: it is sent on as it came, but for what a rewrite replaces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from portico.config import KEEP, RedirectSettings, ResolvedRoute
from portico.config.answers import redirect_target
from portico.core.placeholders import PATH, QUERY, pieces_of
from portico.core.route_paths import is_exact, is_pattern, literal_of, names_of
from portico.render.expressions import expression_of, literal
from portico.render.haproxy.text import in_replacement, plain, word

MOST_GROUPS: Final = 9
"""What a pattern may capture: HAProxy has `\\1` to `\\9`."""
_FIRST, _SECOND = "\\1", "\\2"
_HAS_QUERY: Final = "{ query,length gt 0 }"
_BESIDE: Final = ((f"&{{{QUERY}}}", "and_query", "&%[query]"), (f"{{{QUERY}}}&", "query_and", "%[query]&"))
"""What stands beside a query that there may be."""
_HERE: Final = "x-portico-location"
"""A field in which a place is put together: HAProxy replaces matches in nothing else."""


def has_too_many_groups(route: ResolvedRoute) -> bool:
    """Whether the pattern of a route captures more than HAProxy has words for."""
    return route.path.count("(?") > MOST_GROUPS and len(names_of(route.path)) > MOST_GROUPS


def rewriting(route: ResolvedRoute) -> Iterator[str]:
    """The lines that write the path for the service."""
    if route.rewrite == KEEP:
        return
    if is_pattern(route.path):
        if any(isinstance(piece, str) and piece != PATH for piece in pieces_of(route.rewrite)):
            yield "http-request set-path %[var(txn.at)]"
            yield f"http-request replace-path {_expression(route)} {word(_filled(route.rewrite, route))}"
        elif route.rewrite != "/{path}":
            yield f"http-request set-path {word(plain(route.rewrite).replace('/{path}', '%[path]'))}"
        return
    if is_exact(route.path):
        own = literal_of(route.path)
        target = route.rewrite.replace("{path}", own.removeprefix("/"))
        if target != own:
            yield f"http-request set-path {word(plain(target))}"
        return
    target = plain(route.rewrite).replace("{path}", rest_of(route))
    if target != plain(route.path.rstrip("/")) + "/" + rest_of(route):
        yield f"http-request set-path {word(target)}"


def rest_of(route: ResolvedRoute) -> str:
    """What follows the prefix, in a format."""
    depth = len([part for part in route.path.split("/") if part])
    return f"%[path,field({depth + 2},/,0)]"


def _expression(route: ResolvedRoute) -> str:
    return word(expression_of(route.path))


def _filled(text: str, route: ResolvedRoute) -> str:
    """A text with names in braces, as a replacement."""
    numbers = {name: f"\\{index + 1}" for index, name in enumerate(names_of(route.path))}
    if is_pattern(route.path):
        text = text.replace(f"/{{{PATH}}}", f"{{{PATH}}}")  # the whole path has a slash of its own
        rest = "%[var(txn.path)]"
    else:
        rest = "" if is_exact(route.path) else rest_of(route)
    parts = (
        in_replacement(piece.decode()) if isinstance(piece, bytes) else rest if piece == PATH else numbers[piece]
        for piece in pieces_of(text)
    )
    return "".join(parts)


def prefix_said(route: ResolvedRoute) -> str:
    """What `X-Forwarded-Prefix` says, or nothing."""
    if route.rewrite == KEEP or not route.path.startswith("/"):
        return ""
    return ("" if route.path == "/" else route.path).removesuffix(route.rewrite.removesuffix("/{path}"))


def redirecting(route: ResolvedRoute, answer: RedirectSettings) -> Iterator[str]:
    """The lines that send a client elsewhere."""
    to = redirect_target(answer.to)
    target = plain(to.origin).replace("{host}", "%[var(txn.host)]")
    for mark, name, value in _BESIDE:
        if mark in to.query:
            yield f"http-request set-var-fmt(txn.{name}) {value} if {_HAS_QUERY}"
    query = _query(to.query) if to.query else "%[var(txn.query)]" if to.keeps_query else ""
    captured = [name for name in to.names if name in names_of(route.path)]
    if captured:
        before, mark, after = to.query.partition(f"{{{QUERY}}}")
        whole = _filled(to.path, route) + (
            _filled(before, route) + mark.replace(f"{{{QUERY}}}", "%[query]") + _filled(after, route)
            if to.query
            else ""
        )
        yield f"http-request set-header {_HERE} %[var(txn.at)]"
        yield f"http-request replace-header {_HERE} {_expression(route)} {word(whole)}"
        if mark:  # without a query there is no & beside its place
            yield f"http-request replace-header {_HERE} '^(.*)[?&]$' {_FIRST} unless {_HAS_QUERY}"
        place = f"%[req.fhdr({_HERE})]" + ("" if to.query else query)
    else:
        place = _filled(to.path, route).replace("\\\\", "\\") + query
    yield f"http-request redirect code {answer.status} location {word(target + place + plain(to.fragment))}"


def _query(text: str) -> str:
    """A query with `{query}` in it; where the request has none, neither has it the `&` or `?` beside that."""
    if text == f"?{{{QUERY}}}":
        return "%[var(txn.query)]"
    mark = f"{{{QUERY}}}"
    if f"&{mark}" in text:
        before, _, after = text.partition(f"&{mark}")
        return plain(before) + "%[var(txn.and_query)]" + plain(after)
    if f"{mark}&" in text:
        before, _, after = text.partition(f"{mark}&")
        return plain(before) + "%[var(txn.query_and)]" + plain(after)
    return plain(text).replace(mark, "%[query]")


def rewritten_back(route: ResolvedRoute, authorities: Iterable[str]) -> Iterator[str]:
    """The lines by which redirects and cookies of a service lead back through its route."""
    prefix = prefix_said(route)
    if not prefix or not route.rewrite.endswith("/{path}"):
        return
    base, path = route.rewrite.removesuffix("{path}"), route.path
    back = in_replacement(path)
    if route.policies.get("rewrite_location", (True, ""))[0] is not None:
        own = f"(?!{literal(path.removeprefix('/'))}(?:[/?]|$))"
        names = "|".join(map(literal, authorities))
        inside = f"(?i)^(?:(?:https?:)?//(?:{names}))?/{own}{literal(base[1:])}(?!/)(.*)$"
        here = "{ res.fhdr(Location),field(3,/),strcmp(txn.host_field) eq 0 }"
        yield f"http-response replace-header Location {word('(?i)^https?://[^/]*(.*)$')} {_FIRST} if {here}"
        yield f"http-response replace-header Location {word(inside)} {word(f'{back}/{_FIRST}')}"
    if route.policies.get("rewrite_cookies", (True, ""))[0] is not None:
        above = ""
        for segment in reversed(base.strip("/").split("/")):
            above = f"(?:/{literal(segment)}{above})?" if segment else ""
        start = r"(?i)^([^;]*;(?:.*;)?\s*path=)"
        below = f"(?!{literal(path)}(?:[/;]|$)){literal(base.rstrip('/'))}(?=/[^;])"
        whole = f"{start}(?:{above}/?(?=;|$)|{below})(.*)$"
        yield f"http-response replace-header Set-Cookie {word(whole)} {word(f'{_FIRST}{back}{_SECOND}')}"
