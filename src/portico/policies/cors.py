"""Cross-origin resource sharing: the gateway answers preflights and adds the Access-Control fields (Fetch standard)."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from portico.core.errors import Answer, Refusal
from portico.core.exchange import Exchange
from portico.core.hosts import web_origin
from portico.core.messages import offered_upgrades
from portico.core.settings import DurationOrZero, Settings, header_name, method
from portico.policies.policy import Context, Policy


def _method(text: str) -> str:
    return text if text == "*" else method(text)


def _header(text: str) -> str:
    return text if text == "*" else header_name(text)


_Headers = list[Annotated[str, AfterValidator(_header)]]


class CorsSettings(Settings):
    """Which pages of other origins may call the services.

    `allow_origins` holds origins (`https://app.example.com`), patterns (`https://*.example.com`) or `*`.
    With `*` credentials are never allowed, whatever `allow_credentials` says: browsers reject that pair.
    """

    allow_origins: list[Annotated[str, AfterValidator(web_origin)]] = ["*"]
    """Origins as `https://app.example.com`, with the port where it is not the scheme's own; patterns such as
    `https://*.example.com`; or `*`.
    """
    allow_methods: list[Annotated[str, AfterValidator(_method)]] = ["*"]
    """Methods that a page may use, each named in full; `*` allows what it asks for."""
    allow_headers: _Headers = ["*"]
    """Fields that a page may send, each named in full; `*` allows what it asks for."""
    expose_headers: _Headers = []
    """Response fields that a page may read, beside `Retry-After`, `RateLimit`, `RateLimit-Policy` and `X-Request-ID`,
    which it always may.
    """
    allow_credentials: bool = False
    """Never in effect while `allow_origins` holds `*`."""
    max_age: DurationOrZero = Field(default=600.0)
    """How long a browser may keep a preflight's answer."""


RESPONSE_FIELDS: Final = frozenset(
    {
        *(b"access-control-allow-origin", b"access-control-allow-credentials", b"access-control-expose-headers"),
        *(b"access-control-allow-methods", b"access-control-allow-headers", b"access-control-max-age"),
    }
)
"""What a service sets of these is replaced: a browser refuses a response that has both."""

OWN_FIELDS: Final = ("Retry-After", "RateLimit", "RateLimit-Policy", "X-Request-ID")
"""What a page needs to read of the gateway's own fields, beside those that are listed."""

_NAMES: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?:[ \t]*,[ \t]*[!#$%&'*+\-.^_`|~0-9A-Za-z]+)*")


def build_cors(settings: CorsSettings, context: Context) -> Policy:  # noqa: ARG001
    """The policy: answers preflights, marks other responses."""
    anyone = "*" in settings.allow_origins
    origins = _origin_pattern(settings.allow_origins)
    credentials = settings.allow_credentials and not anyone
    marks = (b"Access-Control-Allow-Credentials: true",) if credentials else ()
    listed = {name.lower() for name in settings.expose_headers}
    own = [] if "*" in listed and not credentials else [name for name in OWN_FIELDS if name.lower() not in listed]
    shown = (b"Access-Control-Expose-Headers: " + ", ".join([*settings.expose_headers, *own]).encode(),)
    preflight = _Preflight(settings)

    def cors(exchange: Exchange) -> Answer | None:
        request = exchange.request
        assert request is not None
        drop = exchange.response_drop
        exchange.response_drop = RESPONSE_FIELDS if drop is None else drop | RESPONSE_FIELDS
        if not anyone:
            exchange.response_lines += (b"Vary: Origin",)
        origin = request.fields.get(b"origin")
        if origin is None:
            if anyone:
                exchange.response_lines += (b"Access-Control-Allow-Origin: *",)
            return None
        asked = request.fields.get(b"access-control-request-method") if request.method == b"OPTIONS" else None
        if not anyone and not origins.fullmatch(origin):
            if asked is None and not _is_cross_origin_upgrade(exchange, origin):
                return None  # the browser withholds the response; other clients do not care
            return Refusal("origin_refused", "this origin may not call this service from a browser")
        exchange.response_lines += (b"Access-Control-Allow-Origin: " + (b"*" if anyone else origin), *marks)
        if asked is not None:
            return preflight.answer(asked, request.fields.get(b"access-control-request-headers"))
        exchange.response_lines += shown
        return None

    return cors


def _is_cross_origin_upgrade(exchange: Exchange, origin: bytes) -> bool:
    """Whether a page of another origin opens a WebSocket: browsers send its cookies and let it read the answers."""
    request = exchange.request
    assert request is not None
    if b"upgrade" not in request.noted or not offered_upgrades(request):
        return False
    return not exchange.stream.client.peer.is_own_origin(origin, request)


class _Preflight:
    """Answers to preflights: which methods and headers a page may use."""

    def __init__(self, settings: CorsSettings) -> None:
        self.any_method = "*" in settings.allow_methods
        self.any_header = "*" in settings.allow_headers
        self.methods = ", ".join(settings.allow_methods).encode()
        self.headers = ", ".join(settings.allow_headers).encode()
        self.max_age = b"Access-Control-Max-Age: %d" % int(settings.max_age)

    def answer(self, method: bytes, headers: bytes | None) -> Answer:
        """The requested headers are echoed where all are allowed: `*` itself would not cover Authorization."""
        lines = [b"Vary: Access-Control-Request-Method, Access-Control-Request-Headers", self.max_age]
        if not self.any_method:
            lines.append(b"Access-Control-Allow-Methods: " + self.methods)
        elif _NAMES.fullmatch(method):
            lines.append(b"Access-Control-Allow-Methods: " + method)
        if not self.any_header:
            lines.append(b"Access-Control-Allow-Headers: " + self.headers)
        elif headers and _NAMES.fullmatch(headers):
            lines.append(b"Access-Control-Allow-Headers: " + headers)
        return Answer(204, lines)


def _origin_pattern(origins: list[str]) -> re.Pattern[bytes]:
    parts = (re.escape(origin.lower()).replace(r"\*", r"[a-z0-9-]+(?:\.[a-z0-9-]+)*") for origin in origins)
    return re.compile("|".join(parts).encode(), re.IGNORECASE)
