"""What becomes of the path. nginx decodes it to choose a location: what is sent on is cut out of what came."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from portico.config import KEEP, RedirectSettings, ResolvedRoute
from portico.config.answers import redirect_target
from portico.core.placeholders import PATH, QUERY, pieces_of
from portico.core.route_paths import is_exact, is_pattern, literal_of
from portico.render.nginx.names import Names
from portico.render.nginx.proxies import scheme_and_host
from portico.render.nginx.text import DOLLAR, literal, mixed, pattern

_GROUP: Final = re.compile(r"(?<!\\)\(\?P<([A-Za-z_]\w*)>")
_SLASHES: Final = r"~(?://|\\|%2[Ff]|%5[Cc])"
_READ_OTHERWISE: Final = r"~*(?:;|%3b|\\|%5c|%25[0-9a-f]{2}|%20(?:/|$)|%3f|%23|%[01][0-9a-f]|%7f)"
"""Parameters of segments, which some drop, backslashes, what some decode twice, and what some cut."""
_REST: Final = "rest"
_WHOLE: Final = "\0"
"""Stands for all of the path: no text has it."""


def pattern_text(path: str) -> str:
    """A route's pattern as PCRE; its groups have names that are none of nginx's variables."""
    return _GROUP.sub(lambda found: f"(?<in_{found[1]}>", path.partition(" ")[2])


def as_sent(route: ResolvedRoute) -> tuple[str, bool]:
    """The regular expression for the path as the client sent it, and whether case means nothing."""
    if is_pattern(route.path):
        return pattern_text(route.path), route.path.startswith("~*")
    if is_exact(route.path):
        return "^" + literal(literal_of(route.path)) + "$", False
    prefix = "" if route.path == "/" else literal(route.path)
    return f"^{prefix}(?:/(?<{_REST}>.*))?$", False


def matching(route: ResolvedRoute) -> str:
    """The line that takes from the path what goes on, and refuses one that only looks like the route's, decoded."""
    expression, ignores_case = as_sent(route)
    return f"if ($path {'!~*' if ignores_case else '!~'} {pattern(expression)}) {{ return 400; }}"


def rewriting(names: Names, route: ResolvedRoute) -> tuple[list[str], str]:
    """The lines before, and the path for the service, with nginx's variables."""
    if route.rewrite == KEEP:
        own = [matching(route)] if is_pattern(route.path) else _unhidden(names, route)
        return [*own, *_clear(names, route)], "$path"
    prefix = route.path if route.path != "/" else ""
    if not is_pattern(route.path) and not is_exact(route.path) and route.rewrite == f"{prefix}/{{path}}":
        return [*_unhidden(names, route), *_clear(names, route)], "$path"
    if is_exact(route.path):
        return [], _plain(route.rewrite.replace("{path}", literal_of(route.path).removeprefix("/")))
    if len(pieces_of(route.rewrite)) == 1:
        return [matching(route)], _filled(route.rewrite, route)
    return [matching(route), *_clear(names, route)], _filled(route.rewrite, route)


def _unhidden(names: Names, route: ResolvedRoute) -> list[str]:
    """The line that refuses a path that is the route's only once nginx has merged its slashes or decoded some.

    The service gets it as it was sent, and may take it for one of another route.
    """
    if route.path == "/":
        return []
    own = literal(literal_of(route.path).rstrip("/"))
    lines = [f'{pattern("~^" + own + ("$" if is_exact(route.path) else "(?:/|$)"))} "";']
    hidden = names.map("hidden", "$path", [*lines, f"{pattern(_SLASHES)} 1;", 'default "";'])
    return [f"if ({hidden}) {{ return 400; }}"]


def _clear(names: Names, route: ResolvedRoute) -> list[str]:
    """The line that refuses a path that services read in several ways, where one may be that of a guarded route."""
    if not names.hides_guards(route):
        return []
    lines = [f"{pattern(_READ_OTHERWISE)} 1;", 'default "";']
    return [f"if ({names.map('read_otherwise', '$path', lines)}) {{ return 400; }}"]


def _plain(text: str) -> str:
    return text.replace("$", DOLLAR)


def _filled(text: str, route: ResolvedRoute) -> str:
    """A path with names in braces. `{path}` is what follows a prefix, all of the path where a pattern matches it."""
    if is_pattern(route.path):
        text = text.replace(f"/{{{PATH}}}", _WHOLE)
    elif is_exact(route.path):
        text = text.replace(f"{{{PATH}}}", "")
    parts = []
    for piece in pieces_of(text):
        if isinstance(piece, bytes):
            parts.append(_plain(piece.decode()))
        else:
            parts.append(f"${{{_REST}}}" if piece == PATH else f"${{in_{piece}}}")
    return "".join(parts).replace(_WHOLE, "${path}")


def prefix_said(route: ResolvedRoute) -> str:
    """What `X-Forwarded-Prefix` says, or nothing."""
    if route.rewrite == KEEP or not route.path.startswith("/"):
        return ""
    return ("" if route.path == "/" else route.path).removesuffix(route.rewrite.removesuffix("/{path}"))


def rewritten_back(names: Names, route: ResolvedRoute, authorities: Iterable[str]) -> Iterator[str]:
    """The lines by which redirects and cookies of a service lead back through its route."""
    prefix = prefix_said(route)
    if not prefix or not route.rewrite.endswith("/{path}"):
        return
    base, path = route.rewrite.removesuffix("{path}"), _plain(route.path)
    if route.policies.get("rewrite_location", (True, ""))[0] is not None:
        own = f"(?!{literal(route.path.removeprefix('/'))}(?:[/?]|$))"
        instances = "|".join(literal(authority) for authority in authorities)
        back = f"~*^(?:(?:https?:)?//(?:{instances}))?/{own}{literal(base[1:])}(?!/)(?<back>.*)$"
        here = scheme_and_host(names.config)
        yield f"proxy_redirect {mixed(f'{here}{path}/')} {mixed(f'{path}/')};"
        yield f"proxy_redirect {mixed(here + _plain(base))} {mixed(f'{path}/')};"
        yield f"proxy_redirect {pattern(back)} {mixed(path + '/$back')};"
    if route.policies.get("rewrite_cookies", (True, ""))[0] is not None:
        above = ""
        for segment in reversed(base.strip("/").split("/")):
            above = f"(?:/{literal(segment)}{above})?" if segment else ""
        yield f"proxy_cookie_path {pattern(f'~^{above}/?$')} {mixed(path)};"
        yield f"proxy_cookie_path {mixed(_plain(base))} {mixed(f'{path}/')};"


def redirecting(names: Names, route: ResolvedRoute, answer: RedirectSettings) -> Iterator[str]:
    """The lines that send a client elsewhere."""
    to = redirect_target(answer.to)
    expression, ignores_case = as_sent(route)
    yield f"if ($path {'!~*' if ignores_case else '!~'} {pattern(expression)}) {{ return 400; }}"
    target = to.origin.replace("{host}", "${host}")
    target += _filled(to.path, route)
    if to.query:
        target += _query(names, to.query)
    elif to.keeps_query:
        target += "$query"
    target += _plain(to.fragment)
    yield f"return {answer.status} {mixed(target)};"


def _query(names: Names, text: str) -> str:
    """A query with names in braces; where the request has none, neither has it the `&` or `?` beside `{query}`."""
    if text == f"?{{{QUERY}}}":
        return "$query"
    mark = f"{{{QUERY}}}"
    if f"&{mark}" in text:
        before, _, after = text.partition(f"&{mark}")
        own = names.map("and_query", "$args", ['"" "";', 'default "&$args";'])
    elif f"{mark}&" in text:
        before, _, after = text.partition(f"{mark}&")
        own = names.map("query_and", "$args", ['"" "";', 'default "$args&";'])
    else:
        before, found, after = text.partition(mark)
        own = "$args" if found else ""
    return _captured(before) + _named(own) + _captured(after)


def _named(variable: str) -> str:
    """A variable with what may follow it."""
    return f"${{{variable[1:]}}}" if variable else ""


def _captured(text: str) -> str:
    pieces = pieces_of(text)
    return "".join(_plain(piece.decode()) if isinstance(piece, bytes) else f"${{in_{piece}}}" for piece in pieces)
