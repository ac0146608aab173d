"""A service that decides who may come in: `auth_request`, with the fields that it is asked with and that it answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from portico.config import Config, ResolvedRoute
from portico.core.fields import plain_name
from portico.policies.auth import AuthSettings
from portico.policies.auth.forward import ForwardSettings
from portico.render.nginx.fields import DROPPED
from portico.render.nginx.marks import Marks
from portico.render.nginx.names import Names
from portico.render.nginx.pages import errors
from portico.render.nginx.proxies import reported, scheme_and_host
from portico.render.nginx.text import block, comment, mixed, pattern, word
from portico.render.nginx.upstreams import SYSTEM_AUTHORITIES
from portico.render.policies import policy_path

_OF_CLIENTS_ALONE: Final = (
    *("Content-Length", "Content-Type", "Content-Encoding", "Transfer-Encoding", "Expect"),
    *("If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range", "Range", "Upgrade"),
    *("Sec-WebSocket-Key", "Sec-WebSocket-Accept", "Sec-WebSocket-Version"),
)
"""Fields about the content, the answer or the connection: the service is not asked with them."""
_URL: Final = "$scheme://$http_host$request_uri"
_ASKED_WITH: Final = {
    "Connection": '""',
    "Content-Length": '""',  # else it would be that of the client's body, which does not come
    "X-Forwarded-Method": "$request_method",
    "X-Forwarded-Proto": "$scheme",
    "X-Forwarded-Host": "$http_host",
    "X-Forwarded-Port": "$server_port",
    "X-Forwarded-Uri": "$request_uri",
    "X-Forwarded-For": "$remote_addr",
    "X-Real-IP": "$remote_addr",
    "X-Original-Method": "$request_method",
    "X-Original-URI": "$request_uri",
    "X-Original-URL": _URL,
    "X-Request-ID": "$request_id",
}
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_REFUSALS: Final = (400, 401, 403, 404, 409, 410, 422, 423, 428, 429, 451)
_SHOWN: Final = {"WWW-Authenticate": "www_authenticate", "Set-Cookie": "set_cookie", "Retry-After": "retry_after"}
"""Fields of a refusal that clients get, beside `Location`, and how variables name them."""


@dataclass(slots=True)
class Asking:
    """What a route says for the sake of the service that is asked."""

    lines: list[str]
    """In its location."""
    told: dict[str, str]
    """What the route's service is told, by the names of fields."""
    named: tuple[str, str]
    """The variables with the consumer and the scopes that it named."""
    returned: dict[str, str]
    """What clients get of the answer, in place of what the route's service says."""


def is_forward_alone(settings: AuthSettings) -> bool:
    """Whether a service decides on every request, and nothing else is looked at."""
    return settings.methods == ("forward",)


def asking(names: Names, route: ResolvedRoute, settings: ForwardSettings, scope: str, marks: Marks) -> Asking:
    """The lines that ask a service whether a request may pass; `marks` are those of all responses of the route."""
    at = (*policy_path(route, scope, "auth"), "forward")
    if settings.cache or settings.cache_refused:
        key = "cache" if settings.cache else "cache_refused"
        names.losses.add((*at, key), "nginx asks about each request")
    inner, is_new = names.once(("forward", settings.model_dump_json()), "auth")
    path = f"/.portico/{inner}"
    if is_new:
        names.inner[path] = [*_location(names, settings)]
    said = _Said(names, inner)
    told = {each: said.variable(each) for each in settings.pass_headers}
    if settings.consumer_field:
        told["X-Consumer-Username"] = said.visible(settings.consumer_field, "[!-$&-~]+")
    if settings.scopes:
        told["X-Consumer-Scopes"] = said.visible(settings.scopes, "[!-$&-+--~]+(?: [!-$&-+--~]+)*")
    returned = {each: said.variable(each) for each in settings.response_headers}
    status, location = said.set("status", "$upstream_status"), said.set("location", "$upstream_http_location")
    shown = {each: said.set(variable, f"$upstream_http_{variable}") for each, variable in _SHOWN.items()}
    refused, is_new = names.once(("refused", inner, *marks.added), f"{inner}_refused")
    refused = f"@{refused}"
    if is_new:
        fields = [*marks.fields, *(f"add_header {each} {variable} always;" for each, variable in shown.items())]
        own = [*fields, *errors(names, route.policies, fields, at)]
        names.inner[refused] = [*own, *_refusing(status, location, shown)]
    lines = [
        f"auth_request {path};",
        *(f"auth_request_set {variable} {source};" for variable, source in said.known.items()),
        f"error_page 401 403 500 = {refused};",
    ]
    named = (told.get("X-Consumer-Username", "$nothing"), told.get("X-Consumer-Scopes", "$nothing"))
    return Asking(lines, told, (named[0][1:], named[1][1:]), returned)


class _Said:
    """The variables that have what the service said."""

    def __init__(self, names: Names, inner: str) -> None:
        self._names, self._inner = names, inner
        self.known: dict[str, str] = {}

    def set(self, label: str, source: str) -> str:
        """The variable with a part of the answer."""
        variable = f"${self._inner}_{label}"
        self.known[variable] = source
        return variable

    def variable(self, field_name: str) -> str:
        """The same of a field."""
        label = field_name.lower().replace("-", "_")
        return self.set(f"says_{label}", f"$upstream_http_{label}")

    def visible(self, field_name: str, expression: str) -> str:
        """A field whose value is as it may go on; nothing for other values, which nginx cannot encode."""
        source = self.variable(field_name)
        lines = [f"{pattern(f'~^{expression}$')} {source};", 'default "";']
        return self._names.map(f"{source[1:]}_plain", source, lines)


def _location(names: Names, settings: ForwardSettings) -> Iterator[str]:
    """How the service is asked."""
    parts = urlsplit(settings.url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else str(parts.hostname)
    group, is_new = names.once(("auth", host, port), f"auth_{parts.hostname}")
    if is_new:
        lines = [f"server {word(f'{host}:{port}')} max_fails=0;", "keepalive 16;"]
        names.upstreams[group] = [comment("who may come in"), *block(f"upstream {group}", lines)]
    yield "internal;"
    yield from ("proxy_method GET;", "proxy_pass_request_body off;", "proxy_intercept_errors off;")
    yield from (f"proxy_connect_timeout {settings.timeout:g}s;", f"proxy_read_timeout {settings.timeout:g}s;")
    yield f"proxy_set_header Host {word(parts.netloc)};"
    asked_with = {**_ASKED_WITH, **_as_reported(names.config)}
    yield from (f"proxy_set_header {each} {value};" for each, value in asked_with.items())
    if settings.request_headers is not None:
        yield "proxy_pass_request_headers off;"
        kept = (each for each in settings.request_headers if each not in _OF_CLIENTS_ALONE)
        yield from (f"proxy_set_header {each} $http_{each.lower().replace('-', '_')};" for each in kept)
    else:
        said = {settings.consumer_field, settings.scopes or "", *settings.pass_headers} - {""}
        withheld = {plain_name(each.lower().encode()).decode(): each for each in (*said, *DROPPED, *_OF_CLIENTS_ALONE)}
        others = {each.lower() for each in (*_ASKED_WITH, "Host", "Authorization", "Cookie")}
        yield from (f'proxy_set_header {each} "";' for low, each in withheld.items() if low not in others)
    if parts.scheme == "https":
        yield from ("proxy_ssl_server_name on;", f"proxy_ssl_name {word(str(parts.hostname))};", "proxy_ssl_verify on;")
        yield "proxy_ssl_verify_depth 5;"
        yield f"proxy_ssl_trusted_certificate {word(str(settings.ca or SYSTEM_AUTHORITIES))};"
    address = f"{parts.scheme}://{group}" + settings.target.decode()
    yield f"proxy_pass {word(address)};"


def _as_reported(config: Config) -> dict[str, str]:
    """Those of these fields that trusted proxies say otherwise."""
    if not config.gateway.trusted_proxies:
        return {}
    own = {name: value for name, value in reported(config).items() if name in _ASKED_WITH and name != "X-Forwarded-For"}
    uri = "$told_prefix$request_uri"
    return {
        **own,
        "X-Forwarded-Uri": uri,
        "X-Original-URI": uri,
        "X-Original-URL": f"{scheme_and_host(config)}{uri}",
    }


def _refusing(status: str, location: str, shown: dict[str, str]) -> Iterator[str]:
    """What clients get where the service lets them not in, or says nothing."""
    yield f'if ({status} = "") {{ return 403; }}'  # it was not asked: something else refuses the request
    for code in (*_REDIRECTS, *_REFUSALS):
        target = f" {mixed(location)}" if code in _REDIRECTS else ""
        yield f"if ({status} ~ {pattern(f'(?:^|[ ,]){code}$')}) {{ return {code}{target}; }}"
    yield from (f"set {shown['Retry-After']} 5;", "return 503;")
