"""What answers at the end of a location: `return`, `try_files`, a file, or a service."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from portico.imports.nginx.branches import State, captured
from portico.imports.nginx.known import PROGRAMS
from portico.imports.nginx.locations import Location
from portico.imports.nginx.narrowing import Narrow
from portico.imports.nginx.passing import Passing
from portico.imports.nginx.policies import guards_of
from portico.imports.nginx.scope import Scope
from portico.imports.nginx.syntax import Directive
from portico.imports.nginx.targets import Targets
from portico.imports.nginx.variables import Value, literal

ELSEWHERE: Final = ("fastcgi_pass", "uwsgi_pass", "scgi_pass", "grpc_pass", "memcached_pass", "proxy_bind_pass")
_PROGRAMS: Final = ("content_by_lua_block", "content_by_lua_file", "content_by_lua", "js_content", "perl")
_STATUS: Final = re.compile(r"[1-9]\d\d")
_TEXT: Final = ("text/html", "text/xml", "text/plain", "application/javascript", "application/rss+xml")
_REDIRECTS: Final = (301, 302, 303, 307, 308)
Guards: TypeAlias = Mapping[str, tuple[Directive, ...]]
"""What is asked before a request goes on, by kind."""
NO_GUARDS: Final[Guards] = {}


@dataclass(slots=True)
class Answering(Passing):
    """What answers requests that no condition and no rewrite has taken elsewhere."""

    def _other(self, target: Location, directive: Directive, state: State, guards: Guards = NO_GUARDS) -> None:
        """What another location does with the request, which has passed these guards of its own before."""
        raise NotImplementedError

    def answer(self, directive: Directive, state: State) -> None:
        """A `return`."""
        self.ledger.taken(directive)
        first, *rest = directive.args or ("200",)
        if not _STATUS.fullmatch(first):
            self._redirect(directive, state, 302, self._value(directive, state, first))
            return
        status = int(first)
        if rest and (status in _REDIRECTS):
            self._redirect(directive, state, status, self._value(directive, state, rest[0]))
        elif status == 444:
            self.ledger.changed(directive, "the connection is not just closed: the status 444 is sent")
            self._add(state, directive, {"respond": 444})
        elif not 200 <= status <= 599:
            self.closed(state, directive, "a response has a status from 200 to 599")
        else:
            self._respond(directive, state, status, rest[0] if rest else "")

    def _value(self, directive: Directive, state: State, text: str) -> Value:
        return captured(state.variables.expand(text, directive.where), self._own_names(), ())

    def _respond(self, directive: Directive, state: State, status: int, written: str) -> None:
        body = literal(state.variables.expand(written, directive.where))
        if body is None:
            self.closed(state, directive, "the text of a response has no variables here")
            return
        kind = state.scope.value("default_type", "text/plain")
        for each in state.scope.all("add_header"):
            if each.value.lower() == "content-type" and len(each.args) > 1:
                kind = each.args[1]
        respond: dict[str, Any] = {"status": status}
        if body and status not in (204, 205, 304):
            respond["body"] = body
            respond["headers"] = {"Content-Type": _with_charset(kind, state.scope)}
        self._add(state, directive, {"respond": respond if len(respond) > 1 else status})

    def _redirect(
        self, directive: Directive, state: State, status: int, value: Value, *, is_rewrite: bool = False
    ) -> None:
        targets = Targets(self.location, self.scheme, self.server_name)
        found = targets.redirect(value, state.path, is_rewrite=is_rewrite)
        if found is None:
            self.closed(state, directive, "where this leads cannot be said here")
            return
        path, to = found
        self._add(state, directive, {"redirect": {"to": to, "status": status}}, path=path)

    def content(self, state: State) -> None:
        """What answers requests that no statement has."""
        self._except(state)
        scope = state.scope
        for name in (*ELSEWHERE, *_PROGRAMS):
            if (handler := scope.levels[-1] and _own(scope, self.location, name)) is not None and handler:
                self.closed(state, handler, PROGRAMS if name in _PROGRAMS else "Portico speaks HTTP to services")
                return
        proxy = _own(scope, self.location, "proxy_pass")
        tried = _own(scope, self.location, "try_files")
        if tried is not None:
            self._try_files(tried, state, proxy)
        elif proxy is not None:
            self._proxy(proxy, state)
        else:
            self._files(state)

    def _except(self, state: State) -> None:
        """`limit_except`: what is asked of other methods than those that it names."""
        directive = _own(state.scope, self.location, "limit_except")
        if directive is None or directive.block is None:
            return
        methods = tuple(each for each in directive.args if each != "HEAD" or "GET" not in directive.args)
        both = state.narrow.and_(Narrow(methods=methods))
        if both is None:
            return
        other = state.copy()
        other.scope = state.scope.inside(directive.block)
        refuses = [each for each in directive.block if each.name in ("allow", "deny")]
        self.ledger.taken(directive, *directive.block)
        path = state.path or self.location.route_path()
        if len(refuses) == 1 == len(directive.block) and (refuses[0].name, refuses[0].value) == ("deny", "all"):
            self.last.append(self._made(other, refuses[0], {"respond": 403}, path))
        else:
            branch = self._made(other, directive, {"respond": 503}, path)
            branch.closed = directive, "what other methods have to show cannot be said"
            self.last.append(branch)
        state.narrow = both

    def _try_files(self, directive: Directive, state: State, proxy: Directive | None) -> None:
        *tried, last = directive.args or ("",)
        if tried == ["/none"]:
            self.ledger.taken(directive)
        else:
            self.ledger.left(directive, "Portico serves no directories: no file is looked for")
        if last.startswith("@") and last in self.chooser.named:
            self._other(self.chooser.named[last], directive, state, guards=guards_of(state.scope))
        elif proxy is not None:
            self._proxy(proxy, state)
        elif last.startswith("/") and (target := self.chooser.of(last.partition("?")[0])) not in (None, self.location):
            copy = state.copy()
            copy.uri = (last.partition("?")[0],)
            assert target is not None
            self._other(target, directive, copy, guards=guards_of(state.scope))
        else:
            self.closed(state, directive, "Portico serves no directories")

    def _files(self, state: State) -> None:
        directive = self.location.directive
        file = self._one_file(state)
        if file is not None:
            kind = state.scope.value("default_type")
            respond: dict[str, Any] = {"file": str(file)}
            if kind and kind != "application/octet-stream":
                respond["headers"] = {"Content-Type": _with_charset(kind, state.scope)}
            self._add(state, directive, {"respond": respond})
            return
        said = next(
            (
                each
                for name in ("alias", "root", "stub_status", "autoindex", "empty_gif")
                if (each := state.scope.one(name)) is not None
            ),
            directive,
        )
        why = "/metrics has the gateway's numbers" if said.name == "stub_status" else "Portico serves no directories"
        self.closed(state, said, why)

    def _one_file(self, state: State) -> Path | None:
        """The file of an exact location, if there is one."""
        if self.location.kind != "=":
            return None
        alias, root = _own(state.scope, self.location, "alias"), state.scope.one("root")
        if alias is not None and "$" not in alias.value:
            path, said = self.root / alias.value, alias
        elif root is not None and "$" not in root.value:
            path, said = self.root / root.value / self.location.path.lstrip("/"), root
        else:
            return None
        try:
            if path.is_file() and path.stat().st_size <= 1 << 20:
                self.ledger.taken(said)
                return path
        except (OSError, ValueError):
            return None
        return None


def _with_charset(kind: str, scope: Scope) -> str:
    """A media type as nginx sends it: `charset` is for text."""
    charset = scope.value("charset", "off")
    return kind if charset == "off" or kind not in _TEXT or "$" in charset else f"{kind}; charset={charset}"


def _own(scope: Scope, location: Location, name: str) -> Directive | None:
    """A directive that blocks inside do not have from those around them, but for an `if` in its location."""
    for level in (scope.levels[-1], location.block):
        for each in level:
            if each.name == name:
                return each
    return None
