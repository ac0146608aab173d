"""What becomes of the path: rewrites for services, and where redirects lead."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from portico.imports.nginx.locations import Location
from portico.imports.nginx.patterns import encoded, escaped
from portico.imports.nginx.variables import Value, Var, literal

_WHOLE: Final = ("request_uri", "uri", "path")
_QUERY: Final = ("args", "query")
_SEGMENTS: Final = "by whole segments: nginx takes {}, too"


@dataclass(frozen=True, slots=True)
class Targets:
    """Those of one location."""

    location: Location
    scheme: str | None
    server_name: str

    # ---- services

    def service(
        self, uri: Value, rewritten: Value | None, path: str, *, has_variables: bool
    ) -> tuple[str, str | None, str] | None:
        """The path of the route, its rewrite (None for the default), and what means something else; None if nothing
        here says the same.

        `uri` is what stands behind the address, `rewritten` what a rewrite has made of the path, `path` that of a route
        by a rewrite's pattern.
        """
        if rewritten is not None and (not uri or not has_variables):
            return self._templated(rewritten, path)
        if not uri:
            return self._kept(path)
        if has_variables:
            uri, has_query = _without_query(uri)
            found = self._templated(uri or (Var("path"),), path)
            if found is None:
                return None
            remark = "" if has_query or found[2] else "the query goes along, which nginx drops here"
            return found[0], found[1], found[2] or remark
        text = literal(uri) or ""
        if "?" in text:
            return None
        if self.location.is_prefix and not path:
            return self._replaced(self.location.path, text)
        return path or self.location.route_path(), encoded(text), ""

    def _kept(self, path: str) -> tuple[str, str | None, str]:
        if path or not self.location.is_prefix or self.location.as_pattern:
            return path or self.location.route_path(), None, ""
        route = self.location.route_path()
        if route == "/" or route.startswith("~"):
            return route, None, ""
        remark = "" if self.location.path.endswith("/") else _SEGMENTS.format(f"{self.location.path}x")
        return route, "keep", remark

    def _replaced(self, prefix: str, base: str) -> tuple[str, str | None, str]:
        """`base` in place of the prefix, letter by letter, as nginx does it."""
        written, base = encoded(prefix), encoded(base)
        if written == base and not self.location.as_pattern:
            return self._kept("")
        if not self.location.as_pattern and written.endswith("/") and base.endswith("/"):
            route = self.location.route_path()
            rewrite = f"{base}{{path}}"
            return route, None if rewrite == "/{path}" else rewrite, ""
        if written == base:
            return self.location.route_path(), None, ""
        return f"~ ^{escaped(written)}(?P<rest>.*)$", f"{base}{{rest}}", ""

    def _templated(self, value: Value, path: str) -> tuple[str, str | None, str] | None:
        """A path that is made of text and of what was captured."""
        prefix = self.location.path
        if len(value) == 1 and isinstance(value[0], Var) and value[0].name in _WHOLE:
            return self._kept(path)
        if not path and value and value[-1] == Var("@:rest") and all(isinstance(piece, str) for piece in value[:-1]):
            base = literal(value[:-1]) or ""
            return self._replaced(prefix, base)
        if not path and value and value[-1] == Var("@:rest/") and all(isinstance(piece, str) for piece in value[:-1]):
            base = encoded(literal(value[:-1]) or "/")  # what follows the prefix and a slash
            if not base.endswith("/") or self.location.as_pattern:
                return f"~ ^{escaped(encoded(prefix))}/(?P<rest>.*)$", f"{base}{{rest}}", ""
            rewrite = f"{base}{{path}}"
            remark = f"{_SEGMENTS.format(f'{prefix}x')}, and leaves {prefix} as it is"
            return self.location.route_path(), None if rewrite == "/{path}" else rewrite, remark
        if any("?" in piece if isinstance(piece, str) else piece.name.startswith("@:rest") for piece in value):
            return None
        used = [
            piece.name[1:]
            for piece in value
            if isinstance(piece, Var) and piece.name.startswith("@") and piece.name != "@path/"
        ]
        route = path or self.location.route_path(used)
        parts = []
        for piece in value:
            if isinstance(piece, str):
                parts.append(encoded(piece))
            elif piece.name == "@path/" or piece.name in _WHOLE:
                whole = self._whole(route)
                if piece.name == "@path/":
                    whole = whole.removeprefix("/")
                elif parts and parts[-1].endswith("/"):
                    parts[-1] = parts[-1][:-1]
                parts.append(whole)
            elif piece.name[:1] == "@":
                parts.append(f"{{{piece.name[1:]}}}")
            else:
                return None
        text = "".join(parts)
        return (route, text, "") if text.startswith("/") else None

    def _whole(self, route: str) -> str:
        """All of the path that a request has, in a rewrite or redirect of a route with that path."""
        if route.startswith("= "):
            return route[2:]
        return "/{path}" if route.startswith("~") or route == "/" else f"{route}/{{path}}"

    # ---- redirects

    def redirect(self, value: Value, path: str, *, is_rewrite: bool) -> tuple[str, str] | None:
        """The path of the route, and where it leads."""
        used = [piece.name[1:] for piece in value if isinstance(piece, Var) and re.match("@[^:]", piece.name)]
        route = path or self._route(value, used)
        parts: list[str] = []
        keeps_query = is_rewrite
        for piece in value:
            text = piece if isinstance(piece, str) else self._shown(piece, route, "".join(parts))
            if text is None:
                return None
            if isinstance(piece, str):
                text = encoded_url(text)
            elif piece.name == "request_uri":
                keeps_query = True
            elif piece.name in _QUERY or piece.name == "is_args":
                keeps_query = True
                if "?" not in "".join(parts):
                    text = ""
            parts.append(text)
        to = "".join(parts)
        if "?" in to and to.rstrip("?").endswith(("?", "")) and to.endswith("?"):
            return route, to
        if is_rewrite and "?" in to and "{query}" not in to:
            return route, f"{to}&{{query}}"
        if not keeps_query and "?" not in to and "#" not in to:
            to += "?"
        return route, to

    def _route(self, value: Value, used: Sequence[str]) -> str:
        if self.location.is_prefix and any(
            isinstance(piece, Var) and piece.name.startswith("@:rest") for piece in value
        ):
            slash = "/" if Var("@:rest/") in value else ""
            return f"~ ^{escaped(encoded(self.location.path))}{slash}(?P<rest>.*)$"
        return self.location.route_path([name for name in used if name != "path/"])

    def _shown(self, piece: Var, route: str, before: str) -> str | None:
        name = piece.name
        if name == "scheme":
            return self.scheme or "https"
        if name in ("host", "http_host"):
            return "{host}"
        if name == "server_name":
            return self.server_name or "{host}"
        if name in _WHOLE:
            whole = self._whole(route)
            return whole if not before.endswith("/") else whole.removeprefix("/")
        if name == "@path/":
            return self._whole(route).removeprefix("/")
        if name in _QUERY:
            return "{query}"
        if name == "is_args":
            return ""
        if name.startswith("@:rest"):
            return "{rest}"
        return f"{{{name[1:]}}}" if name.startswith("@") else None


def encoded_url(text: str) -> str:
    """The same in ASCII; what a URL is made of stays."""
    return re.sub(r"[^!-~]|[{}]", lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), text)


def _without_query(value: Value) -> tuple[Value, bool]:
    """A path without the query of the request behind it, and whether there was one."""
    pieces = [*value]
    found = False
    while pieces and isinstance(pieces[-1], Var) and pieces[-1].name in (*_QUERY, "is_args"):
        pieces.pop()
        found = True
    if found and pieces and isinstance(pieces[-1], str) and pieces[-1].endswith("?"):
        pieces[-1] = pieces[-1][:-1]
    pieces = [piece for piece in pieces if piece != ""]
    return tuple(pieces), found or value == (Var("request_uri"),) or (bool(value) and value[-1] == Var("request_uri"))
