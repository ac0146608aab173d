"""What becomes of a request that takes a route: a section for each."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from mimetypes import guess_type
from typing import Final

from portico.config import RedirectSettings, ResolvedRoute, RespondSettings
from portico.render.haproxy.answers import always
from portico.render.haproxy.caching import caching
from portico.render.haproxy.cors import cors_lines
from portico.render.haproxy.fields import request_lines, response_lines
from portico.render.haproxy.guards import Guards, networks
from portico.render.haproxy.limits import limiting
from portico.render.haproxy.names import Names, of_policy
from portico.render.haproxy.paths import has_too_many_groups, prefix_said, redirecting, rewriting, rewritten_back
from portico.render.haproxy.servers import forwarding, upstream_of
from portico.render.haproxy.text import comment, equals, plain, section, word

LARGEST_ANSWER: Final = 48 << 10
"""Bytes of an answer that HAProxy gives itself: it has to fit into a buffer."""
_LINE: Final = 1000
"""Bytes of a body that stands in the main file."""


def route_section(names: Names, route: ResolvedRoute, name: str) -> list[str]:
    """The section of a route, which is called `name`."""
    title = f"{'default route' if route.is_default else 'route'} {route.name}"
    title += f", service {route.service}" if route.service else ""
    title += f", version {route.version}" if route.version else ""
    return [comment(title), *section(f"backend {name}", _lines(names, route, name))]


def _lines(names: Names, route: ResolvedRoute, name: str) -> Iterator[str]:
    if route.split is not None and (varying := _varying(route)):
        yield f"http-after-response add-header Vary {word(varying)}"
    yield from response_lines(names, route.policies, route)
    guards = Guards(names, route)
    if route.maintenance is not None:
        wait = str(ceil(route.maintenance.retry_after))
        yield from always(503, "maintenance", wait=wait)
        return
    if has_too_many_groups(route):
        names.losses.add((*route.source, "path"), "HAProxy captures 9 groups at most: this route is closed")
        guards.closed.append("path")
    if guards.closed:
        yield comment(f"closed: HAProxy cannot check {', '.join(guards.closed)}")
        yield from always(503, "closed")
        return
    if route.choice is not None:
        at = ("services", str(route.service), "version_by")
        names.losses.add(at, "HAProxy does not choose versions: all requests get the first one")
    first, second = limiting(names, route, knows_consumer=guards.knows_consumer)
    yield from (*networks(route), *guards.before)
    if (cors := of_policy(route.policies, "cors")) is not None:
        yield from _cors(names, cors)
    yield from (*first, *guards.lines, *second)
    if isinstance(route.answer, RedirectSettings):
        yield from redirecting(route, route.answer)
    elif route.answer is not None:
        yield from _said(names, route, route.answer)
    else:
        yield from _passed_on(names, route, name, is_guarded=guards.knows_consumer)


def _cors(names: Names, settings: object) -> list[str]:
    key = ("cors", id(settings))
    if key not in names.cache:  # most routes have those of one level
        names.cache[key] = [*cors_lines(settings)]  # type: ignore[arg-type]
    return names.cache[key]


def _passed_on(names: Names, route: ResolvedRoute, name: str, *, is_guarded: bool) -> Iterator[str]:
    """The lines of a route to a service."""
    size = names.config.gateway.limits.body_size if route.body_size is None else route.body_size
    yield f"http-request deny deny_status 413 if {{ req.body_size gt {size} }}"
    if route.redirect_slash and route.path.startswith("/") and route.path != "/":
        yield from _to_slash(route)
    yield from caching(names, route, is_guarded=is_guarded)
    yield from rewriting(route)
    if prefix := prefix_said(route):
        yield f"http-request set-header X-Forwarded-Prefix {word(plain(prefix))}"
    yield _upgrading(route)
    yield from request_lines(names, route)
    yield from rewritten_back(route, (each.authority for each in upstream_of(names, route).instances))
    yield from forwarding(names, route, name)


def _to_slash(route: ResolvedRoute) -> Iterator[str]:
    """Browsers at the bare prefix are redirected to its slash."""
    bare = "{ var(txn.bare) -m found }"
    last = route.path.rpartition("/")[2]
    location = word(f"./{plain(last)}/%[var(txn.query)]")
    yield f"http-request set-var(txn.bare) bool(true) if {{ method GET HEAD }} {equals('var(txn.at)', route.path)}"
    yield f"http-request redirect code 307 location {location} if {bare} {{ var(txn.page) -m found }}"


def _upgrading(route: ResolvedRoute) -> str:
    """WebSockets, or what else a client may switch to; any other wish for it is dropped."""
    kept = f" unless {{ req.fhdr(Upgrade) -m str -i {' '.join(route.upgrades)} }}" if route.upgrades else ""
    return f"http-request del-header Upgrade{kept}"


def _said(names: Names, route: ResolvedRoute, answer: RespondSettings) -> Iterator[str]:
    body = (answer.body or "").encode()
    kind = "text/plain; charset=utf-8"
    if answer.file is not None:
        body = names.config.files.get(answer.file, b"")
        guessed = guess_type(answer.file.name)[0] or "application/octet-stream"
        kind = f"{guessed}; charset=utf-8" if guessed.startswith("text/") else guessed
    fields = ""
    for name, value in answer.headers.items():
        if name.lower() == "content-type":
            kind = value
        else:
            fields += f" hdr {name} {word(plain(value))}"
    if len(body) > LARGEST_ANSWER:
        names.losses.add((*route.source, "respond"), f"an answer of HAProxy has {LARGEST_ANSWER} bytes at most")
        yield from always(503, "closed")
        return
    said = ""
    if body:
        said = f" content-type {word(kind)} {_payload(names, route, body)}"
    yield f"http-request return status {answer.status}{said}{fields}"


def _payload(names: Names, route: ResolvedRoute, body: bytes) -> str:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = ""
    if text and "\0" not in text and len(body) <= _LINE:
        return f"string {word(text)}"
    if not text or "\0" in text or "\r" in text:
        names.losses.add((*route.source, "respond"), "what is not text, or beyond a line, is not rendered")
        return "string ''"
    file = f"answer-{names.free(route.name)}.txt"
    names.files[file] = text
    return f"file {file}"


def _varying(route: ResolvedRoute) -> str:
    """The fields of requests on which the side of a split depends."""
    split = route.split
    assert split is not None
    found = {name: None for side in split.sides for name in side.headers}
    if split.sticky is not None and split.sticky.header is not None:
        found[split.sticky.header] = None
    if any(side.cookies for side in split.sides):
        found["Cookie"] = None
    return ", ".join(found)
