"""CORS: what pages of other origins may do. A route says in variables what it allows; the fields are made of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from portico.policies.cors import RESPONSE_FIELDS, CorsSettings
from portico.render.expressions import literal
from portico.render.haproxy.answers import refusal
from portico.render.haproxy.text import found_in, plain, word

_PREFLIGHT: Final = "{ var(txn.preflight) -m found }"
_ALLOWED: Final = "{ var(txn.allowed) -m found }"
_LISTED: Final = "{ var(txn.cors) -m str listed }"
_OWN: Final = ("Retry-After", "RateLimit", "RateLimit-Policy", "X-Request-ID")
_TOKENS: Final = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"


def asked() -> list[str]:
    """The lines that say whether a request is a preflight, and for which method."""
    of = "Access-Control-Request-Method"
    is_one = f"{{ method OPTIONS }} {{ req.fhdr(Origin) -m found }} {{ req.fhdr({of}) -m found }}"
    return [
        "http-request set-var(txn.asked) method",
        f"http-request set-var(txn.preflight) bool(true) if {is_one}",
        f"http-request set-var(txn.asked) req.fhdr({of}) if {_PREFLIGHT}",
    ]


def cors_lines(settings: CorsSettings) -> Iterator[str]:
    """The lines of a route: what it allows, and what is answered at once."""
    anyone = "*" in settings.allow_origins
    credentials = settings.allow_credentials and not anyone
    yield f"http-request set-var(txn.cors) str({'any' if anyone else 'listed'})"
    yield "http-request set-var(txn.origin) req.fhdr(Origin)"
    if anyone:
        yield "http-request set-var(txn.allowed) str(*)"
    else:
        origins = "|".join(map(_origin, settings.allow_origins))
        is_one = found_in("var(txn.origin)", f"(?i)^(?:{origins})$")
        yield f"http-request set-var(txn.allowed) var(txn.origin) if {is_one}"
    if credentials:
        yield f"http-request set-var(txn.credentials) bool(true) if {_ALLOWED}"
    yield f"http-request set-var-fmt(txn.exposed) {word(plain(', '.join(_exposed(settings, credentials))))}"
    yield f"http-request set-var(txn.max_age) int({int(settings.max_age)})"
    yield from _list("allow_methods", settings.allow_methods, "var(txn.asked)")
    yield from _list("allow_headers", settings.allow_headers, "req.fhdr(Access-Control-Request-Headers)")
    if not anyone:
        yield from refusal(403, "origin_refused", f"{_PREFLIGHT} !{_ALLOWED}")
        yield "http-request set-var-fmt(txn.own_origin) %[var(txn.scheme)]://%[var(txn.host_field)]"
        is_socket = "{ req.fhdr(Upgrade) -m str -i websocket } { var(txn.origin) -m found }"
        elsewhere = "!{ var(txn.origin),lower,strcmp(txn.own_origin) eq 0 }"
        yield from refusal(403, "origin_refused", f"{is_socket} !{_ALLOWED} {elsewhere}")
    yield f"http-request return status 204 if {_PREFLIGHT}"


def _exposed(settings: CorsSettings, credentials: bool) -> list[str]:
    listed = {name.lower() for name in settings.expose_headers}
    own = [] if "*" in listed and not credentials else [name for name in _OWN if name.lower() not in listed]
    return [*settings.expose_headers, *own]


def _list(name: str, allowed: list[str], asks: str) -> Iterator[str]:
    """What is allowed of a kind: what is asked for, where anything is."""
    if "*" in allowed:
        yield f"http-request set-var(txn.{name}) {asks} if {_PREFLIGHT}"
    elif allowed:
        yield f"http-request set-var-fmt(txn.{name}) {word(plain(', '.join(allowed)))}"


def cors_fields() -> Iterator[str]:
    """The fields of responses, in place of what a service says; once for all routes."""
    for field in sorted(RESPONSE_FIELDS):
        yield f"http-after-response del-header {field.decode().title()} if {{ var(txn.cors) -m found }}"
    origin = "{ var(txn.origin) -m found }"
    answered = f"{_PREFLIGHT} {_ALLOWED}"
    is_list = rf"^{_TOKENS}(?:[ \t]*,[ \t]*{_TOKENS})*$"
    yield _mark("Access-Control-Allow-Origin", "allowed", _ALLOWED)
    yield f"http-after-response add-header Vary Origin if {_LISTED}"
    yield _mark("Access-Control-Allow-Credentials", "credentials", "{ var(txn.credentials) -m found }")
    yield _mark("Access-Control-Expose-Headers", "exposed", f"!{_PREFLIGHT} {origin} {_ALLOWED}")
    vary = "'Access-Control-Request-Method, Access-Control-Request-Headers'"
    yield f"http-after-response add-header Vary {vary} if {answered}"
    yield _mark("Access-Control-Max-Age", "max_age", answered)
    for name, variable in (("Methods", "allow_methods"), ("Headers", "allow_headers")):
        asks = f"{answered} {found_in(f'var(txn.{variable})', is_list)}"
        yield _mark(f"Access-Control-Allow-{name}", variable, asks)


def _mark(name: str, variable: str, condition: str) -> str:
    value = "true" if variable == "credentials" else f"%[var(txn.{variable})]"
    return f"http-after-response set-header {name} {value} if {condition}"


def _origin(origin: str) -> str:
    return literal(origin).replace(r"\*", r"[a-z0-9-]+(?:\.[a-z0-9-]+)*")
