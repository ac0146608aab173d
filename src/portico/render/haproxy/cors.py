"""CORS: what pages of other origins may do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from portico.policies.cors import RESPONSE_FIELDS, CorsSettings
from portico.render.expressions import literal
from portico.render.haproxy.answers import problem
from portico.render.haproxy.text import found_in, word

PREFLIGHT: Final = "{ var(txn.preflight) -m found }"
_ALLOWED: Final = "{ var(txn.allowed) -m found }"
_ORIGIN: Final = "{ var(txn.origin) -m found }"
_OWN: Final = ("Retry-After", "RateLimit", "RateLimit-Policy", "X-Request-ID")
_TOKENS: Final = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"


def asked() -> list[str]:
    """The lines that say whether a request is a preflight, and for which method."""
    of = "Access-Control-Request-Method"
    is_one = f"{{ method OPTIONS }} {{ req.fhdr(Origin) -m found }} {{ req.fhdr({of}) -m found }}"
    return [
        "http-request set-var(txn.asked) method",
        f"http-request set-var(txn.preflight) bool(true) if {is_one}",
        f"http-request set-var(txn.asked) req.fhdr({of}) if {PREFLIGHT}",
    ]


def cors_lines(settings: CorsSettings) -> Iterator[str]:
    """The lines that answer preflights, refuse what is not allowed, and mark responses."""
    anyone = "*" in settings.allow_origins
    yield "http-request set-var(txn.origin) req.fhdr(Origin)"
    if anyone:
        yield "http-request set-var(txn.allowed) str(*)"
    else:
        origins = "|".join(map(_origin, settings.allow_origins))
        is_one = found_in("req.fhdr(Origin)", f"(?i)^(?:{origins})$")
        yield f"http-request set-var(txn.allowed) req.fhdr(Origin) if {is_one}"
    yield from _marks(settings, anyone)
    if not anyone:
        yield f"{problem(403, 'origin_refused')} if {PREFLIGHT} !{_ALLOWED}"
        yield "http-request set-var-fmt(txn.own_origin) %[var(txn.scheme)]://%[var(txn.host_field)]"
        is_socket = "{ req.fhdr(Upgrade) -m str -i websocket }"
        elsewhere = "!{ req.fhdr(Origin),lower,strcmp(txn.own_origin) eq 0 }"
        yield f"{problem(403, 'origin_refused')} if {is_socket} {_ORIGIN} !{_ALLOWED} {elsewhere}"
    yield f"http-request return status 204 if {PREFLIGHT}"


def _marks(settings: CorsSettings, anyone: bool) -> Iterator[str]:
    """What responses say. They are without what the service said of it."""
    for name in sorted(RESPONSE_FIELDS):
        yield f"http-response del-header {name.decode().title()}"
    yield _mark("Access-Control-Allow-Origin", "%[var(txn.allowed)]", _ALLOWED)
    if not anyone:
        yield "http-after-response add-header Vary Origin"
    if settings.allow_credentials and not anyone:
        yield _mark("Access-Control-Allow-Credentials", "true", _ALLOWED)
    listed = {name.lower() for name in settings.expose_headers}
    credentials = settings.allow_credentials and not anyone
    own = [] if "*" in listed and not credentials else [name for name in _OWN if name.lower() not in listed]
    shown = ", ".join([*settings.expose_headers, *own])
    yield _mark("Access-Control-Expose-Headers", word(shown), f"!{PREFLIGHT} {_ORIGIN} {_ALLOWED}")
    answered = f"{PREFLIGHT} {_ALLOWED}"
    vary = "'Access-Control-Request-Method, Access-Control-Request-Headers'"
    yield f"http-after-response add-header Vary {vary} if {answered}"
    yield _mark("Access-Control-Max-Age", str(int(settings.max_age)), answered)
    if "*" in settings.allow_methods:
        yield _mark("Access-Control-Allow-Methods", "%[var(txn.asked)]", f"{answered} {_is_list('var(txn.asked)')}")
    else:
        yield _mark("Access-Control-Allow-Methods", word(", ".join(settings.allow_methods)), answered)
    if "*" in settings.allow_headers:
        yield "http-request set-var(txn.asked_fields) req.fhdr(Access-Control-Request-Headers)"
        asks = f"{answered} {_is_list('var(txn.asked_fields)')}"
        yield _mark("Access-Control-Allow-Headers", "%[var(txn.asked_fields)]", asks)
    else:
        yield _mark("Access-Control-Allow-Headers", word(", ".join(settings.allow_headers)), answered)


def _mark(name: str, value: str, condition: str) -> str:
    return f"http-after-response set-header {name} {value} if {condition}"


def _is_list(source: str) -> str:
    return found_in(source, rf"^{_TOKENS}(?:[ \t]*,[ \t]*{_TOKENS})*$")


def _origin(origin: str) -> str:
    return literal(origin).replace(r"\*", r"[a-z0-9-]+(?:\.[a-z0-9-]+)*")
