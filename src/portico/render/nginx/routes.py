"""What a location says of the route that it is of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from mimetypes import guess_type
from typing import Final

from portico.config import RedirectSettings, ResolvedRoute, RespondSettings
from portico.render.nginx.caching import cache_fields, caching
from portico.render.nginx.compression import compressing
from portico.render.nginx.conditions import location_of
from portico.render.nginx.denying import denying, tested_fields
from portico.render.nginx.fields import changed_fields, marks_of, request_lines
from portico.render.nginx.forward_auth import Asking, asking
from portico.render.nginx.limits import closing, guarding, limiting, networks
from portico.render.nginx.lua import TOLD
from portico.render.nginx.marks import Marks
from portico.render.nginx.mirrors import mirroring
from portico.render.nginx.names import Names
from portico.render.nginx.pages import errors, plain
from portico.render.nginx.paths import prefix_said, redirecting, rewriting, rewritten_back
from portico.render.nginx.splits import sides, varying
from portico.render.nginx.text import DOLLAR, LONGEST, comment, literal, mixed, pattern, word
from portico.render.nginx.upstreams import forwarding, query_sent, sticky_cookie
from portico.render.policies import policy_path

JUMP: Final = "return 418;"
"""How a request gets to a location with a name: 418 is no error here, and its page is that location."""


def jump(names: Names, target: str, routes: Iterable[ResolvedRoute]) -> list[str]:
    """The lines that hand a request over to the location that `target` names, which is of one of these routes."""
    most = max((route.body_size or 0 for route in routes), default=0)
    # The length of a body is checked here alone: a location that a request is handed over to looks for itself.
    size = [f"client_max_body_size {most};"] if most > names.config.gateway.limits.body_size else []
    return [*size, f"error_page 413 {plain(names)};", f"error_page 418 = {target};", JUMP]


@dataclass(slots=True)
class Routes:
    """Makes the lines of routes in one server; `named` are the locations that they need beside their own."""

    names: Names
    variants: Mapping[str, Sequence[ResolvedRoute]]
    named: dict[str, list[str]] = field(default_factory=dict)

    def lines(self, route: ResolvedRoute, *, bare: bool | None = None) -> list[str]:
        """Those of a location that a request takes for this route.

        `bare` says whether that has the prefix alone: None where it may have.
        """
        if route.split is not None:
            return self._split(route)
        key = (route.name, bare if route.redirect_slash or bare is None else False)
        known = self.names.bodies.get(key)
        if known is None:
            known = [comment(self._title(route)), *self._body(route, bare)]
            if route.answer is None:  # else it may have a second location, which each server needs
                self.names.bodies[key] = known
        return known

    def named_location(self, route: ResolvedRoute) -> str:
        """The name of the location with a route's lines, which is written once."""
        name = location_of(route)
        if name not in self.named:
            self.named[name] = []
            self.named[name] = self.lines(route)
        return name

    def _title(self, route: ResolvedRoute) -> str:
        source = "default route" if route.is_default else "route"
        target = f", service {route.service}" if route.service else ""
        return f"{source} {route.name}{target}" + (f", version {route.version}" if route.version else "")

    def _body(self, route: ResolvedRoute, bare: bool | None) -> Iterator[str]:
        marks = marks_of(self.names, route.policies, route)
        if route.split is not None and (fields := varying(route.split)):
            marks.add("Vary", word(", ".join(fields)))
        if closed := [*self._closed(route)]:
            yield from (*closed, *self._marked(route, marks), *marks.before, "return 503;")
            return
        if route.choice is not None:
            at = ("services", str(route.service), "version_by")
            self.names.losses.add(at, "nginx does not choose versions: all requests get the first one")
        who = self._asking(route, marks)
        marks.before = [*denying(self.names, route), *marks.before]
        checks = guarding(self.names, route, who.named if who is not None else None)
        guards = [*limiting(self.names, route), *networks(route), *(who.lines if who is not None else ()), *checks]
        if who is not None:
            for name, value in who.returned.items():
                if name.lower() != "set-cookie":
                    marks.hide(name)
                marks.add(name, value)
        if route.answer is not None:
            yield from self._answer(route, route.answer, marks, guards)
        else:
            if who is not None and not self._marked(route, marks):
                guards += self._errors(route, marks)
            told = {**tested_fields(route), **cache_fields(route)}
            if who is not None:
                told |= who.told
            elif checks and "auth" in route.policies:
                withheld = {each.lower() for each in route.policies["auth"][0].withheld_fields}
                told = {name: value for name, value in told.items() if name.lower() not in withheld} | TOLD
            yield from (*guards, *self._proxied(route, bare, marks, told))

    def _marked(self, route: ResolvedRoute, marks: Marks) -> list[str]:
        """What is said of all responses, errors too; nothing where it is that of all locations."""
        lines = marks.lines(self.names.base)
        own = self.names.config.own_policies
        is_usual = route.policies.get("errors", (None,))[0] == own.get("errors", (None,))[0]
        return lines if is_usual and not lines else [*lines, *self._errors(route, marks)]

    def _errors(self, route: ResolvedRoute, marks: Marks) -> list[str]:
        at = policy_path(route, *_scope(route, "errors"))
        return errors(self.names, route.policies, marks.fields, at)

    def _proxied(self, route: ResolvedRoute, bare: bool | None, marks: Marks, told: Mapping[str, str]) -> Iterator[str]:
        """The lines of a route to a service, behind what checks its requests; `told` are fields for the service."""
        yield from _size(self.names, route, is_named=bare is None)
        yield from request_lines(self.names, route, told)
        yield from compressing(self.names, route.policies, policy_path(route, *_scope(route, "compress")))
        yield from caching(self.names, route, marks)
        if cookie := sticky_cookie(self.names, route):
            marks.add("Set-Cookie", cookie)
        if route.redirect_slash and bare is not False:
            yield from self._to_slash(route, marks, bare)
        else:
            yield from (*self._marked(route, marks), *marks.before)
        before, path = rewriting(self.names, route)
        path += query_sent(self.names, route)
        yield from before
        if prefix := prefix_said(route):
            yield f"set $prefix {word(prefix)};"
        yield from rewritten_back(self.names, route, self.names.authorities(str(route.service), route.version))
        if route.mirrors:
            yield from mirroring(self.names, route, path, changed_fields(self.names, route, told))
        yield from forwarding(self.names, route, path)

    def _closed(self, route: ResolvedRoute) -> Iterator[str]:
        """Lines that say why a route is closed, where it is."""
        if route.maintenance is not None:
            yield f'set $wait "503 {ceil(route.maintenance.retry_after)}";'
        elif found := closing(self.names, route):
            yield comment(f"closed: nginx cannot check {', '.join(found)}")

    def _asking(self, route: ResolvedRoute, marks: Marks) -> Asking | None:
        """What the route says for a service that decides who may come in."""
        settings, scope = route.policies.get("auth", (None, ""))
        if settings is None or settings.forward is None:
            return None
        return asking(self.names, route, settings.forward, scope, marks)

    def _to_slash(self, route: ResolvedRoute, marks: Marks, bare: bool | None) -> Iterator[str]:
        """Browsers at the bare prefix are redirected to its slash."""
        at_prefix = "1"
        if not bare:
            at_prefix = self.names.map(
                "at_prefix", "$path", [f"{pattern(f'~^{literal(route.path)}$')} 1;", 'default "";']
            )
        yield f"set $bare {at_prefix};"
        yield from (*self._marked(route, marks), *marks.before)
        last = route.path.rpartition("/")[2].replace("$", DOLLAR)
        yield f"if ($wants_page) {{ return 307 {mixed(f'./{last}/$query')}; }}"

    def _answer(
        self, route: ResolvedRoute, answer: RespondSettings | RedirectSettings, marks: Marks, guards: list[str]
    ) -> Iterator[str]:
        """A `return` comes before limits and networks are checked: behind them it stands in a location of its own."""
        lines = [*marks.lines(self.names.base), *self._said(route, answer, marks)]
        if not guards:
            yield from (*marks.before, *lines)
            return
        name = f"@{route.name}_answer"
        self.named[name] = lines
        yield from (*guards, *self._marked(route, marks), *marks.before, f"try_files /none {name};")

    def _said(self, route: ResolvedRoute, answer: RespondSettings | RedirectSettings, marks: Marks) -> Iterator[str]:
        if isinstance(answer, RedirectSettings):
            yield from redirecting(self.names, route, answer)
            return
        body = answer.body or ""
        if answer.file is not None:
            try:
                body = self.names.config.files.get(answer.file, b"").decode()
            except UnicodeDecodeError:
                self.names.losses.add((*route.source, "respond", "file"), "nginx's file is text, and this is none")
        kind = "text/plain; charset=utf-8"
        if answer.file is not None:
            guessed = guess_type(answer.file.name)[0] or "application/octet-stream"
            kind = f"{guessed}; charset=utf-8" if guessed.startswith("text/") else guessed
        own = not marks.lines(self.names.base)
        for name, value in answer.headers.items():
            if name.lower() == "content-type":
                kind = value
            else:
                if own:
                    yield from marks.whole()
                    own = False
                yield f"add_header {name} {word(value)} always;"
        if len(body.encode()) > LONGEST:
            self.names.losses.add((*route.source, "respond"), f"nginx reads words of {LONGEST} bytes at most")
            body = ""
        if body:
            yield f"default_type {word(kind)};"
            yield f"return {answer.status} {word(body)};"
        else:
            yield 'default_type "";'
            yield f"return {answer.status} $nothing;"  # without a text, errors get a page of nginx's

    def _split(self, route: ResolvedRoute) -> list[str]:
        routes = [route, *self.variants.get(route.name, ())]
        targets = {}
        for each in routes:
            assert each.side is not None
            name = f"@{route.name}_{each.side.label.replace('@', '_')}"
            targets[each.side.label] = name
            if name not in self.named:
                self.named[name] = [comment(self._title(each)), *self._body(each, None)]
        return [comment(f"route {route.name}, split"), *jump(self.names, sides(self.names, route, targets), routes)]


def _scope(route: ResolvedRoute, key: str) -> tuple[str, str]:
    """The scope of a policy, and its key."""
    return route.policies.get(key, (None, "gateway"))[1], key


def _size(names: Names, route: ResolvedRoute, *, is_named: bool) -> Iterator[str]:
    size = route.body_size
    if size == 0:
        names.losses.add((*route.source, "body_size"), "0 is any size in nginx: 1 byte is allowed")
    if size is not None:
        yield f"client_max_body_size {max(size, 1)};"
    if is_named:
        most = names.config.gateway.limits.body_size if size is None else size
        yield f"if ({names.is_longer(max(most, 1))}) {{ return 413; }}"
