"""What a location does with a request: `set`, `if`, `rewrite` and `return` in their order, then what answers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from portico.imports.nginx.known import PROGRAMS
from portico.imports.nginx.ledger import Ledger
from portico.imports.nginx.locations import Branch, Chooser, Location
from portico.imports.nginx.narrowing import Conditions, Narrow, Test
from portico.imports.nginx.patterns import (
    encoded,
    escaped,
    group_names,
    is_taken,
    matches,
    pattern_path,
    why_not,
    wider,
)
from portico.imports.nginx.policies import ClosedError, guards_of
from portico.imports.nginx.scope import Scope
from portico.imports.nginx.syntax import Directive
from portico.imports.nginx.targets import Targets
from portico.imports.nginx.upstreams import Address, Services
from portico.imports.nginx.variables import Choice, Value, Var, Variables, joined, literal, parse

_MOST: Final = 200
"""Branches of one location."""
_DEEPEST: Final = 8
"""Locations to which a request is handed on, one after the other."""
_ELSEWHERE: Final = ("fastcgi_pass", "uwsgi_pass", "scgi_pass", "grpc_pass", "memcached_pass", "proxy_bind_pass")
_PROGRAMS: Final = ("content_by_lua_block", "content_by_lua_file", "content_by_lua", "js_content", "perl")
_STATUS: Final = re.compile(r"[1-9]\d\d")
_REST: Final = (Var("@:rest"), Var("@:rest/"))
_TEXT: Final = ("text/html", "text/xml", "text/plain", "application/javascript", "application/rss+xml")
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_NONE: Final[Mapping[str, tuple[Directive, ...]]] = {}


@dataclass(slots=True)
class State:
    """What is known at one point of a location."""

    variables: Variables
    scope: Scope
    narrow: Narrow = field(default_factory=Narrow)
    uri: Value | None = None
    """The path that `rewrite` has made."""
    is_handed_on: bool = False
    """Whether another location has made it, so that `proxy_pass` puts its path in place of this location's."""
    path: str = ""
    """The path of the route, where a pattern of a `rewrite` decides."""
    query: str | None = None
    """What a `rewrite` has put into the query."""
    cors: list[Directive] = field(default_factory=list)
    remarks: list[tuple[Directive, str]] = field(default_factory=list)

    def copy(self) -> State:
        return replace(self, variables=self.variables.copy(), cors=[*self.cors], remarks=[*self.remarks])


@dataclass(slots=True)
class Walk:
    """Makes the branches of one location of a server."""

    location: Location
    ledger: Ledger
    services: Services
    chooser: Chooser
    scheme: str | None
    server_name: str
    root: Path
    depth: int = 0
    found: list[Branch] = field(default_factory=list)
    last: list[Branch] = field(default_factory=list)
    """Those for what the conditions of `found` leave."""

    def branches(self, variables: Variables) -> list[Branch]:
        """All branches, those that are asked first in front."""
        state = State(variables.copy(), self.location.scope)
        try:
            if self.location.unsaid:
                self.closed(
                    state, self.location.directive, f"which requests come here cannot be said: {self.location.unsaid}"
                )
            elif self.location.scope.one("internal") is not None:
                self._add(state, self.location.directive, {"respond": 404})
            else:
                self.run(self.location.block, state)
        except ClosedError as closed:
            self.closed(state, closed.directive, closed.why)
        return [*self.found, *self.last]

    # ---- statements

    def run(self, block: Sequence[Directive], state: State) -> None:
        """A location's statements, and then what answers there."""
        if not self.statements(block, state):
            self.content(state)

    def statements(self, block: Sequence[Directive], state: State) -> bool:
        """Whether one of them has ended the request."""
        for each in block:
            if each.name == "set" and len(each.args) == 2:
                state.variables.set(each.value.removeprefix("$"), each.args[1], each.where)
                self.ledger.taken(each)
            elif each.name == "auth_request_set" and len(each.args) == 2:
                state.variables.set(each.value.removeprefix("$"), each.args[1], each.where)
            elif each.name == "break":
                return False
            elif each.name == "return":
                self.answer(each, state)
                return True
            elif each.name == "if" and each.block is not None:
                if self.condition(each, state):
                    return True
            elif each.name == "rewrite" and self.rewrite(each, state):
                return True
        return False

    def condition(self, directive: Directive, state: State) -> bool:
        """An `if`. Whether it has ended the request whatever that is."""
        block = directive.block or ()
        if self._is_preflight(directive, state):
            return False
        outcome = self._outcome(directive, state)
        if outcome is False:
            self.ledger.taken(directive, *block)
            return False
        if outcome is None:
            self._unknown(directive, state)
            return False
        self.ledger.taken(directive)
        if outcome is True:
            return self._inside(block, state, state.narrow)
        if not any(each.name in ("return", "rewrite", "proxy_pass", *_ELSEWHERE) for each in block):
            self._edits(directive, state)
            return False
        return self._branch(directive, outcome, state)

    def _branch(self, directive: Directive, outcome: Test, state: State) -> bool:
        block = directive.block or ()
        narrowed = [both for each in outcome.any_of if (both := state.narrow.and_(each)) is not None]
        if outcome.negated:
            if len(narrowed) != 1:
                self._unknown(directive, state)
                return False
            inner = Walk(
                self.location, self.ledger, self.services, self.chooser, self.scheme, self.server_name, self.root
            )
            copy = state.copy()
            copy.scope = state.scope.inside(block)
            if not inner.statements(block, copy):
                inner.content(copy)
            self.last = [*inner.found, *inner.last, *self.last]
            state.narrow = narrowed[0]
            return False
        for narrow in narrowed:
            copy = state.copy()
            copy.variables.own |= dict(narrow.chosen)
            try:
                self._inside(block, copy, narrow)
            except ClosedError as closed:
                copy.narrow = narrow
                self.closed(copy, closed.directive, closed.why)
        return False

    def _inside(self, block: Sequence[Directive], state: State, narrow: Narrow) -> bool:
        """The block of an `if` for those requests. Whether it has ended them."""
        before = state.narrow, state.scope
        state.narrow, state.scope = narrow, state.scope.inside(block)
        ended = self.statements(block, state)
        if not ended and any(each.name in ("proxy_pass", *_ELSEWHERE) for each in block):
            self.content(state)
            ended = True
        if not ended and narrow is not before[0] and state.uri is not None:
            self.content(state)
            ended = True
        state.narrow, state.scope = before
        return ended

    def _outcome(self, directive: Directive, state: State) -> Test | bool | None:
        words = [*directive.args]
        if not words or not words[0].startswith("(") or not words[-1].endswith(")"):
            return None
        words[0], words[-1] = words[0][1:], words[-1][:-1] if len(words) > 1 else words[0][1:-1]
        words = [word for word in words if word != ""] if len(words) > 3 else [w for i, w in enumerate(words) if w or i]
        if words and re.fullmatch(r"!?-[fdex]", words[0]):
            self.ledger.changed(directive, "no files are looked for: none is there")
            return words[0].startswith("!")
        if len(words) == 2 and words[1] in ("=", "!="):
            words.append("")
        if len(words) == 2 and words[1] == "":
            words = words[:1]
        if len(words) not in (1, 3) or (len(words) == 3 and words[1] not in ("=", "!=", "~", "~*", "!~", "!~*")):
            return None
        value = state.variables.expand(words[0], directive.where)
        operator, operand = (words[1], words[2]) if len(words) == 3 else ("", "")
        is_path = value in ((Var("path"),), (Var("uri"),))
        if is_path and operator in ("!~", "!~*") and self._is_own_path(operand):
            return False  # the location has seen to it already
        return Conditions(state.variables, self.scheme).of(value, operator, operand)

    def _is_own_path(self, expression: str) -> bool:
        return self.location.is_pattern and expression == self.location.path

    def _unknown(self, directive: Directive, state: State) -> None:
        """A condition that no route can ask for: what it refuses is refused to all, what else it does is left."""
        block = directive.block or ()
        refusal = next((each for each in block if each.name == "return" and _refuses(each)), None)
        choice = state.variables.choices.get(directive.args[0].strip("($)") if directive.args else "")
        if refusal is not None:
            why = "no route can ask for this, and it refuses requests"
            if choice is not None and choice.kind == "geo":
                why += "; write its networks into policies.ip_filter"
            raise ClosedError(directive, why)
        if any(each.name in ("proxy_pass", "rewrite", "return", *_ELSEWHERE) for each in block):
            why = "no route can ask for this, and it decides where requests go"
            if choice is not None and choice.source == (Var("request_uri"),):
                why += "; whole paths are read from a map of $uri in place of $request_uri"
            raise ClosedError(directive, why)
        for each in block:
            if each.name == "set" and each.args:
                state.variables.own[each.value.removeprefix("$")] = (Var(f"if:{each.where.line}"),)
        self._edits(directive, state)

    def _edits(self, directive: Directive, state: State) -> None:
        """A block that only sets variables or fields for some requests."""
        about_cors = []
        for each in directive.block or ():
            if each.name == "add_header" and each.value.lower().startswith("access-control-"):
                about_cors.append(each)
            elif each.name == "set" and each.args:
                state.variables.own[each.value.removeprefix("$")] = (Var(f"if:{each.where.line}"),)
                self.ledger.left(each, "what depends on this condition is left")
            elif each.name != "break":
                self.ledger.left(each, "this is not done for some requests only")
        state.cors += about_cors
        self.ledger.taken(directive)

    def _is_preflight(self, directive: Directive, state: State) -> bool:
        """Whether an `if` answers preflights, which the policy cors does."""
        words = " ".join(directive.args).replace("'", "").replace('"', "")
        if not re.fullmatch(r"\(\s*\$request_method\s*(=|~\*?)\s*\^?\(?OPTIONS\)?\$?\s*\)", words):
            return False
        block = directive.block or ()
        answers = [each for each in block if each.name == "return" and each.value in ("200", "204")]
        fields = [each for each in (*block, *state.scope.all("add_header")) if each.name == "add_header"]
        if not answers or not any(each.value.lower() == "access-control-allow-origin" for each in fields):
            return False
        state.cors += [
            each for each in block if each.name == "add_header" and each.value.lower().startswith("access-control-")
        ]
        self.ledger.taken(directive, *block, why="cors answers preflights")
        return True

    # ---- rewriting

    def rewrite(self, directive: Directive, state: State) -> bool:
        """Whether it has ended all requests that come here."""
        if len(directive.args) < 2:
            return False
        expression, written, *flags = directive.args
        flag = flags[0] if flags else ""
        names = group_names(expression)
        value = _captured(state.variables.expand(written, directive.where), names, self._own_names())
        is_redirect = flag in ("redirect", "permanent") or written.startswith(("http://", "https://", "$scheme"))
        covered = self._covered(expression, value, state)
        if covered is not None:
            self.ledger.taken(directive)
            if Var("@:rest/") in covered and flag != "break":  # the bare prefix, which has no slash, goes on
                self._apart(directive, replace(state.copy(), uri=covered), flag, is_redirect, covered)
                return False
            state.uri, state.path = covered, state.path
            return self._rewritten(directive, state, flag, is_redirect, covered)
        path = self._pattern(expression, value, directive, state)
        if path is None:
            return False
        self.ledger.taken(directive)
        copy = state.copy()
        copy.path, copy.uri = path, value
        self._apart(directive, copy, flag, is_redirect, value)
        return False

    def _apart(self, directive: Directive, copy: State, flag: str, is_redirect: bool, value: Value) -> None:
        """A rewrite of some of the requests that come here."""
        try:
            self._rewritten(directive, copy, flag, is_redirect, value)
        except ClosedError as closed:
            self.closed(copy, closed.directive, closed.why)

    def _rewritten(self, directive: Directive, state: State, flag: str, is_redirect: bool, value: Value) -> bool:
        if is_redirect:
            status = 301 if flag == "permanent" else 302
            self._redirect(directive, state, status, value, is_rewrite=True)
            return True
        state.uri, state.query = _without_query(value)
        state.is_handed_on = False
        if flag == "break":
            if state.path:
                self.content(state)
            return bool(state.path)
        self._hand_on(directive, state)
        return True

    def _hand_on(self, directive: Directive, state: State) -> None:
        """nginx looks for another location with the new path."""
        uri = state.uri or ()
        if (rest := next((each for each in uri if each in _REST), None)) is not None:
            slash = "/" if rest == Var("@:rest/") else ""
            state.path = f"~ ^{escaped(encoded(self.location.path))}{slash}(?P<rest>.*)$"
            state.uri = uri = tuple(Var("@rest") if each in _REST else each for each in uri)
        text = literal(uri)
        if text is not None:
            target = self.chooser.of(text)
        else:
            beginning = uri[0] if uri and isinstance(uri[0], str) else ""
            target = self.chooser.below(beginning)
            if target is None:
                target = self._beside_patterns(directive, state, beginning)
        if target is None:
            raise ClosedError(directive, "which location takes the new path depends on the request")
        self._other(target, directive, state)

    def _beside_patterns(self, directive: Directive, state: State, beginning: str) -> Location | None:
        """The location of all new paths but for those that patterns take, which get routes of their own.

        None where it cannot be said which these are: a pattern has to look at what follows a text that is replaced.
        """
        found = re.fullmatch(r"~ \^((?:[^\\\[\](){}*+?^$|.]|\\[^A-Za-z0-9])+)\(\?P<(\w+)>\.[*+]\)\$", state.path)
        patterns = self.chooser.patterns_below(beginning)
        if found is None or patterns is None or state.uri != (beginning, Var(f"@{found[2]}")):
            return None
        for each in patterns:
            ends = each.path.endswith("$") and not each.path.endswith("\\$")
            text = each.path[:-1] if ends else f"{each.path}.*"
            copy = state.copy()
            copy.path = f"{each.kind} ^{found[1]}(?P<{found[2]}>.*{text})$"
            self._other(each, directive, copy)
        return self.chooser.prefix_of(beginning)

    def _other(
        self, target: Location, directive: Directive, state: State, guards: Mapping[str, tuple[Directive, ...]] = _NONE
    ) -> None:
        """What another location does with the request, which has passed these guards of its own before."""
        if self.depth >= _DEEPEST or (target is self.location and state.uri is None):
            raise ClosedError(directive, "locations hand requests on to one another without an end")
        if target is self.location:
            copy = replace(state, scope=target.scope, is_handed_on=True)
            self.content(copy)
            return
        self.ledger.taken(target.directive)
        used = [each.name[1:] for each in state.uri or () if isinstance(each, Var) and each.name.startswith("@")]
        path = state.path or self.location.route_path(used)
        inner = Walk(
            target, self.ledger, self.services, self.chooser, self.scheme, self.server_name, self.root, self.depth + 1
        )
        copy = replace(
            state.copy(),
            scope=_with_guards(target.scope, guards, directive),
            path=path,
            is_handed_on=state.uri is not None,
        )
        if copy.uri is None:
            copy.uri = (Var("path"),)
        inner.run(target.block, copy)
        self.found += inner.found
        self.last = [*inner.last, *self.last]

    def _own_names(self) -> list[str]:
        return group_names(self.location.path) if self.location.is_pattern else []

    def _covered(self, expression: str, value: Value, state: State) -> Value | None:
        """The new path, if the expression matches all paths that come here: `@:rest` is what follows the location's."""
        if state.path or state.uri is not None:
            return None
        location = self.location
        if location.is_pattern and expression == location.path:
            return value
        whole = {
            "^": "",
            ".*": "",
            "^.*$": "",
            "^.*": "",
            "^(.*)$": "",
            "(.*)": "",
            "^(.*)": "",
            "^/(.*)$": "/",
            "^/(.*)": "/",
            "/(.*)": "/",
            "^/?(.*)$": "/",
        }
        cut: str | None = whole.get(expression)
        if cut is not None:
            pass
        elif location.is_prefix and (cut := self._cut(expression)) is None:
            return None
        elif not location.is_prefix:
            if (
                location.kind == "="
                and literal(value) is not None
                and matches(pattern_path(expression, ignores_case=False), location.path)
            ):
                return value
            return None
        if Var("@p1") not in value:
            return value
        if location.is_prefix:
            rest: Value = (
                (location.path[len(cut or "") :], Var("@:rest"))
                if len(cut or "") <= len(location.path)
                else (Var("@:rest/"),)
            )
        elif location.kind == "=":
            rest = (location.path[len(cut or "") :],)
        elif cut == "/":
            rest = (Var("@path/"),)
        else:
            rest = (Var("path"),)
        return joined(tuple(piece for each in value for piece in (rest if each == Var("@p1") else (each,))))

    def _cut(self, expression: str) -> str | None:
        """The text before the one group of an expression that matches all below the location's prefix."""
        found = re.fullmatch(r"\^?((?:[^\\\[\](){}*+?^$|.]|\\[^A-Za-z0-9])+)(/\?)?\(\.[*+]\)\$?", expression)
        if found is None:
            return None
        text = re.sub(r"\\(.)", r"\1", found[1])
        path = self.location.path
        if found[2]:
            return f"{text}/" if text.rstrip("/") == path.rstrip("/") else None
        if path.startswith(text) or (text == f"{path}/"):
            return text
        return None

    def _pattern(self, expression: str, value: Value, directive: Directive, state: State) -> str | None:
        """The path of a route for a `rewrite` that matches some paths only; None where it matches none here."""
        location = self.location
        used = {piece.name[1:] for piece in value if isinstance(piece, Var) and piece.name.startswith("@")}
        if state.path or state.uri is not None:
            raise ClosedError(directive, "it looks at a path that was rewritten before")
        if location.kind == "=":
            if matches(pattern_path(expression, ignores_case=False), location.path):
                raise ClosedError(directive, "what it captures of an exact path cannot be said")
            self.ledger.taken(directive, why="it matches no path that comes here")
            return None
        if location.is_prefix and location.path != "/":
            beginning = escaped(encoded(location.path))
            if not expression.startswith("^"):
                expression = f"^{beginning}.*{expression}"
            elif not re.sub(r"\\(.)", r"\1", expression[1:]).startswith(location.path.rstrip("/")):
                raise ClosedError(directive, "it matches paths of other locations, too")
        path = pattern_path(expression, ignores_case=False, used=used)
        if location.is_pattern:
            raise ClosedError(directive, "which paths its pattern and that of the location take cannot be said")
        if not is_taken(path) and wider(path) is None:
            raise ClosedError(directive, f"{why_not(path) or 'this pattern'}")
        return path

    # ---- what answers

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
        return _captured(state.variables.expand(text, directive.where), self._own_names(), ())

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
        for name in (*_ELSEWHERE, *_PROGRAMS):
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

    # ---- services

    def _proxy(self, directive: Directive, state: State) -> None:
        value = _captured(state.variables.expand(directive.value, directive.where), self._own_names(), ())
        self._passed(directive, state, value, 0)

    def _passed(self, directive: Directive, state: State, value: Value, depth: int) -> None:
        for index, piece in enumerate(state.uri or ()):
            if isinstance(piece, Var) and piece.name in state.variables.choices:
                assert state.uri is not None
                for copy, uri in self._each(directive, state, state.uri, index, piece.name, depth):
                    copy.uri = uri
                    self._passed(directive, copy, value, depth + 1)
                return
        at = choice_at(value, state.variables)
        if at is None:
            self._to_service(directive, state, value)
            return
        variable = value[at]
        assert isinstance(variable, Var)
        choice = state.variables.choices[variable.name]
        if choice.kind == "split_clients":
            self._split(directive, state, value, at, choice)
            return
        for copy, chosen in self._each(directive, state, value, at, variable.name, depth):
            self._passed(directive, copy, chosen, depth + 1)

    def _each(
        self, directive: Directive, state: State, value: Value, at: int, name: str, depth: int
    ) -> Iterator[tuple[State, Value]]:
        """The values that a map makes of one, each with the requests that get it, the default last."""
        choice = state.variables.choices[name]
        if depth > 3:
            raise ClosedError(directive, "what is chosen depends on too many variables")
        if choice.kind != "map":
            raise ClosedError(directive, f"${name} is not chosen by what a route can ask for")
        self.ledger.taken(choice.directive)
        conditions = Conditions(state.variables, self.scheme)
        for key, chosen, _ in choice.entries:
            narrow = conditions.of_entry(choice, key)
            if narrow is None:
                raise ClosedError(directive, f"which requests ${name} means by {key!r} cannot be asked for by a route")
            both = state.narrow.and_(narrow)
            if both is not None:
                copy = state.copy()
                copy.narrow = both
                yield copy, _filled(value, at, state.variables.expand(chosen, directive.where))
        yield state, _filled(value, at, state.variables.expand(choice.default, directive.where))

    def _split(self, directive: Directive, state: State, value: Value, at: int, choice: Choice) -> None:
        sides: list[dict[str, Any]] = []
        left = 100.0
        keys: dict[str, Any] = {}
        for share, chosen, line in [*choice.entries, ("*", choice.default, choice.directive)]:
            number = (
                left if share == "*" else float(share[:-1]) if re.fullmatch(r"\d{1,3}(\.\d{1,2})?%", share) else None
            )
            if number is None:
                raise ClosedError(line, "this is no share")
            left -= number
            if not chosen:
                continue
            branch = self._target(directive, state, _filled(value, at, state.variables.expand(chosen, line.where)))
            keys = branch.keys
            sides.append({"service": keys.pop("service"), "weight": round(number, 2)})
        self.ledger.taken(choice.directive, directive)
        branch.keys = {"split": sides, **keys}
        source = [piece.name for piece in choice.source if isinstance(piece, Var)]
        sticky = next(
            (name for name in source if name not in ("request_id", "msec", "time_iso8601", "pid", "connection")), None
        )
        if sticky in ("remote_addr", "http_x_forwarded_for"):
            branch.keys["sticky"] = "client_ip"
        elif sticky is not None and sticky.startswith("http_"):
            from portico.imports.nginx.values import field_name

            branch.keys["sticky"] = {"header": field_name(sticky[5:])}
        elif sticky is not None:
            branch.keys["sticky"] = {"cookie": "auto"}
            branch.remarks.append(
                (choice.directive, f"a cookie of Portico's keeps clients at their side, in place of ${sticky}")
            )
        if len(source) > 1:
            branch.remarks.append((choice.directive, "a side is chosen by one of these alone"))
        self._append(branch)

    def _to_service(self, directive: Directive, state: State, value: Value) -> None:
        self._append(self._target(directive, state, value))
        self.ledger.taken(directive)

    def _target(self, directive: Directive, state: State, value: Value) -> Branch:
        """The branch for a request that is passed on to one service."""
        split = address_of(value)
        if split is None:
            raise ClosedError(directive, "where requests go depends on them: a service has a name or an address")
        address, uri = split
        name = self.services.name(address, state.scope, directive.where)
        if name is None:
            raise ClosedError(directive, f"there is no instance at {address.authority!r}")
        targets = Targets(self.location, self.scheme, self.server_name)
        rewritten = state.uri
        if state.is_handed_on and uri and rewritten and (text := literal(uri)) is not None:
            rewritten = self._replaced(rewritten, text)
            if rewritten is None:
                raise ClosedError(directive, "what becomes of the path cannot be said here")
        found = targets.service(uri, rewritten, state.path, has_variables="$" in directive.value)
        if found is None:
            raise ClosedError(directive, "what becomes of the path cannot be said here")
        path, rewrite, remark = found
        if state.query:
            raise ClosedError(directive, "a rewrite puts nothing into the query here: policies.transform does")
        keys: dict[str, Any] = {"service": name}
        if rewrite is not None:
            keys["rewrite"] = rewrite
        branch = self._made(state, directive, keys, path)
        branch.is_proxied = True
        if remark:
            branch.remarks.append((directive, remark))
        return branch

    def _replaced(self, rewritten: Value, by: str) -> Value | None:
        """A path that another location has made, with `by` in place of what this location begins with."""
        first = rewritten[0]
        if not isinstance(first, str) or not first.startswith(self.location.path):
            return None
        return joined((by, first[len(self.location.path) :], *rewritten[1:]))

    # ---- branches

    def _made(self, state: State, directive: Directive, keys: dict[str, Any], path: str) -> Branch:
        narrow = state.narrow
        if narrow.pattern:
            path = self._both(path, narrow, directive, keys)
        return Branch(
            path,
            replace(narrow, pattern=""),
            keys,
            state.scope,
            state.variables,
            self.location.where,
            directive,
            cors=[*state.cors],
            remarks=[*state.remarks],
        )

    def _both(self, path: str, narrow: Narrow, directive: Directive, keys: dict[str, Any]) -> str:
        """A path for what a location takes and an `if` asks for."""
        if self.location.is_prefix and self.location.path == "/" and path in ("/", "~ ^/"):
            if "rewrite" in keys and keys["rewrite"] != "keep":
                raise ClosedError(directive, "a condition on the path and a new path cannot be said together")
            keys.pop("rewrite", None)
            return narrow.pattern
        raise ClosedError(directive, "a condition on the path beside a location's own cannot be said")

    def _add(self, state: State, directive: Directive, keys: dict[str, Any], path: str | None = None) -> None:
        self._append(self._made(state, directive, keys, path or state.path or self.location.route_path()))

    def _append(self, branch: Branch) -> None:
        if len(self.found) >= _MOST:
            raise ClosedError(branch.directive, f"it makes more than {_MOST} routes")
        self.found.append(branch)

    def closed(self, state: State, directive: Directive, why: str) -> None:
        """Those requests get 503, as a guard or a target cannot be said."""
        narrow = replace(state.narrow, pattern="")
        path = state.path or self.location.route_path()
        branch = Branch(path, narrow, {"respond": 503}, state.scope, state.variables, self.location.where, directive)
        branch.closed = directive, why
        self.found.append(branch)


def _with_guards(scope: Scope, guards: Mapping[str, tuple[Directive, ...]], directive: Directive) -> Scope:
    """A scope with the guards that another location has asked before. Raises ClosedError where it has others."""
    own = guards_of(scope)
    more = {kind: lines for kind, lines in guards.items() if own.get(kind) != lines}
    if not more:
        return scope
    if own.keys() & more.keys() or "satisfy" in (own | more):
        raise ClosedError(directive, "the location that goes on with the request has other guards than this one")
    return scope.inside([each for lines in more.values() for each in lines])


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


def _refuses(directive: Directive) -> bool:
    return bool(re.fullmatch(r"[45]\d\d", directive.value))


def _captured(value: Value, names: Sequence[str], own: Sequence[str]) -> Value:
    """The same with `@name` for what a group captured: `$1` is the first."""
    found: list[str | Var] = []
    for piece in value:
        if isinstance(piece, Var):
            if piece.name.isdecimal():
                index = int(piece.name) - 1
                piece = Var(f"@{names[index]}") if 0 <= index < len(names) else piece
            elif piece.name in names or piece.name in own:
                piece = Var(f"@{piece.name}")
        found.append(piece)
    return joined(tuple(found))


def _without_query(value: Value) -> tuple[Value, str | None]:
    for index, piece in enumerate(value):
        if isinstance(piece, str) and "?" in piece:
            before, _, after = piece.partition("?")
            rest = value[index + 1 :]
            shown = after + "".join(each if isinstance(each, str) else f"${each.name}" for each in rest)
            return joined((*value[:index], before)), shown if shown not in ("", "$args") else None
    return value, None


def choice_at(value: Value, variables: Variables) -> int | None:
    """Where in an address a variable is chosen by a map or a split."""
    for index, piece in enumerate(value):
        if isinstance(piece, Var):
            if piece.name in variables.choices:
                return index
            if index:
                return None
        elif (index and piece.startswith("/")) or "/" in re.sub(r"^https?://", "", piece):
            return None
    return None


def _filled(value: Value, at: int, chosen: Value) -> Value:
    return joined((*value[:at], *chosen, *value[at + 1 :]))


def address_of(value: Value) -> tuple[Address, Value] | None:
    """The address in what is passed to, and the path behind it."""
    if not value or not isinstance(value[0], str):
        return None
    found = re.match(r"(https?)://(unix:[^:]+|[^/?$]+)", value[0], re.IGNORECASE)
    if found is None:
        return None
    rest = value[0][found.end() :]
    if found[2].startswith("unix:"):
        rest = rest.removeprefix(":")
    following = value[1:]
    if not rest and following:
        first = following[0]
        if not (isinstance(first, Var) and first.name in ("request_uri", "uri", "path", "args", "is_args", "query")):
            return None
    return Address(found[1].lower(), found[2]), joined((rest, *following))


__all__ = ["State", "Walk", "parse"]
