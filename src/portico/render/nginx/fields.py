"""Header fields: what services are told, what is changed of requests and responses, and CORS."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from portico.config import Config, ResolvedRoute
from portico.config.levels import Merged
from portico.config.problems import KeyPath
from portico.core.fields import REQUEST_DROP
from portico.policies.cors import RESPONSE_FIELDS, CorsSettings
from portico.policies.headers import OF_CONTENT, FieldEdits, HeadersSettings
from portico.render.nginx.marks import Marks
from portico.render.nginx.names import Names
from portico.render.nginx.proxies import reported, scheme_and_host
from portico.render.nginx.text import DOLLAR, literal, mixed, pattern, word
from portico.render.policies import SECURITY, policy_path

TOLD: Final = {
    "Host": "$service_host",
    "Connection": "$connection_field",
    "Upgrade": "$switch_to",
    "Via": '"1.1 portico"',
    "X-Forwarded-For": "$remote_addr",
    "X-Real-IP": "$remote_addr",
    "X-Forwarded-Proto": "$scheme",
    "X-Forwarded-Port": "$server_port",
    "X-Forwarded-Host": "$http_host",
    "X-Forwarded-Prefix": "$prefix",
    "X-Request-ID": "$request_id",
    "traceparent": '"00-$request_id-$span-00"',
}
"""What every service is told, by the names of fields."""

_HOP: Final = ("keep-alive", "proxy-connection", "proxy-authorization", "te", "trailer", "transfer-encoding", "expect")
_REPORTS: Final = (
    *("proxy", "script-name", "path-info", "x-script-name", "x-original-url", "x-rewrite-url", "x-portico-mirror"),
    *("remote-user", "remote-name", "remote-email", "remote-groups", "x-remote-user", "x-webauth-user"),
    *("x-auth-request-user", "x-auth-request-email", "x-auth-request-groups", "x-authenticated-user"),
)
"""Of the families of fields that only a gateway may send, those in use: nginx drops fields by their whole name."""
DROPPED: Final = tuple(
    sorted(
        name
        for name in (*(each.decode() for each in REQUEST_DROP), *_REPORTS)
        if "_" not in name and name not in (*_HOP, "content-length", *(each.lower() for each in TOLD))
    )
)
"""What clients may not say: only a gateway may."""

_TEMPLATE: Final = re.compile(r"\{\{|\}\}|\{([^{}:]*)(:-[^{}]*)?\}|[^{}]+")
_STANDS: Final = {"client_ip": "${remote_addr}", "request_id": "${request_id}"}
_UNREMOVABLE: Final = frozenset({"server", "date", "content-length", "content-type", "connection"})


def told(config: Config) -> dict[str, str]:
    """What every service is told, with what clients may not say, by the names of fields."""
    return {**TOLD, **reported(config), **dict.fromkeys(DROPPED, '""')}


def told_lines(config: Config) -> list[str]:
    """The fields of all requests to services."""
    return [f"proxy_set_header {name} {value};" for name, value in told(config).items()]


def marks_of(names: Names, policies: Merged, route: ResolvedRoute | None) -> Marks:
    """What policies say of responses."""
    marks = Marks()
    if "cors" in policies:
        settings, _ = policies["cors"]
        known = names.marks.get(id(settings))  # most routes have those of one level
        if known is None:
            names.marks[id(settings)] = known = Marks()
            _cors(names, settings, known)
        marks = Marks([*known.added], [*known.hidden], [*known.before])
    if "headers" in policies:
        settings, scope = policies["headers"]
        _response(names, settings, marks, policy_path(route, scope, "headers"), route)
    return marks


def _response(names: Names, settings: HeadersSettings, marks: Marks, at: KeyPath, route: ResolvedRoute | None) -> None:
    edits = settings.response
    is_own = route is None or route.answer is not None
    for name, values in (*edits.set.items(), *edits.add.items()):
        if is_own and name.lower() in OF_CONTENT:
            continue  # it describes what a service says
        if name in edits.set:
            marks.hide(name)
        for value in values or ():
            said = value_of(names, value, (*at, "response", "set" if name in edits.set else "add", name), route)
            if said is not None:
                marks.add(name, said)
    for name in edits.remove:
        marks.hide(name)
        if name.lower() in _UNREMOVABLE:
            names.losses.add((*at, "response", "remove"), f"nginx sends {name} in any case")
    if settings.security:
        _security(names, edits, marks)


def _security(names: Names, edits: FieldEdits, marks: Marks) -> None:
    written = {name.lower() for name in (*edits.set, *edits.add, *edits.remove)}
    for name, value in SECURITY.items():
        if name.lower() not in written:
            variable = name.lower().replace("-", "_")
            lines = [f'"" {word(value)};', 'default "";']
            marks.add(name, names.map(f"if_no_{variable}", f"$upstream_http_{variable}", lines))
    if "strict-transport-security" not in written:
        lines = ['"https:" max-age=31536000;', 'default "";']
        marks.add(
            "Strict-Transport-Security",
            names.map("if_no_hsts", '"$scheme:$upstream_http_strict_transport_security"', lines),
        )


def request_lines(names: Names, route: ResolvedRoute, others: Mapping[str, str]) -> list[str]:
    """What a route changes of requests: nothing, or all that services are told; `others` are other policies' fields."""
    if route.upgrades not in ((), ("websocket",)):
        names.losses.add((*route.source, "upgrades"), "in nginx clients may switch to websocket alone")
    settings, _ = route.policies.get("headers", (None, ""))
    if settings is not None and _has_names(settings.request):
        settings = route  # what is said may depend on it
    key = (id(settings), route.upgrades, *others.items())
    if key not in names.requests:  # most routes have the fields of one level
        names.requests[key] = [*_request_lines(names, changed_fields(names, route, others))]
    return names.requests[key]


def _has_names(edits: FieldEdits) -> bool:
    """Whether there are names in braces in it."""
    return any("{" in value for values in (*edits.set.values(), *edits.add.values()) for value in values or ())


def changed_fields(names: Names, route: ResolvedRoute, others: Mapping[str, str]) -> dict[str, str]:
    """The fields of requests that are other than those of all services, with their values."""
    changed = {**others, **_changed(names, route)}
    if not route.upgrades:
        changed |= {"Connection": '""', "Upgrade": '""'}
    return changed


def _request_lines(names: Names, changed: Mapping[str, str]) -> Iterator[str]:
    if not changed:
        return
    lowered = {name.lower() for name in changed}
    for name, value in {
        **{name: value for name, value in told(names.config).items() if name.lower() not in lowered},
        **changed,
    }.items():
        yield f"proxy_set_header {name} {value};"


def _changed(names: Names, route: ResolvedRoute) -> dict[str, str]:
    """The fields of requests that `headers` sets or removes, with their values."""
    if "headers" not in route.policies:
        return {}
    settings, scope = route.policies["headers"]
    edits, at = settings.request, (*policy_path(route, scope, "headers"), "request")
    changed = dict.fromkeys(edits.remove, '""')
    for verb, fields in (("set", edits.set), ("add", edits.add)):
        for name, values in fields.items():
            if not values:
                continue
            if verb == "add" or len(values) > 1:
                names.losses.add((*at, verb, name), "nginx sends one line of a field: this replaces the client's")
            value = value_of(names, values[-1], (*at, verb, name), route)
            if value is not None:
                changed[name] = value
    return changed


def value_of(names: Names, written: str, at: KeyPath, route: ResolvedRoute | None) -> str | None:
    """A value with names in braces, in nginx's words; None, and a loss, where it has none."""
    parts = []
    stands = {**_STANDS, "route": route.name if route else "", "service": (route.service or "") if route else ""}
    for found in _TEMPLATE.finditer(written):
        name = found[1]
        if name is None:
            parts.append({"{{": "{", "}}": "}"}.get(found[0], found[0]).replace("$", DOLLAR))
        elif name in stands:
            parts.append(stands[name])
        else:
            names.losses.add(at, f"nginx has nothing for {{{name}}}: the field is left out")
            return None
    return mixed("".join(parts)) or '""'


# ---- CORS

_OWN: Final = ("Retry-After", "RateLimit", "RateLimit-Policy", "X-Request-ID")
_TOKENS: Final = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"


def preflight(names: Names) -> str:
    """The variable that is 1 for preflights."""
    source = '"$request_method:$http_origin:$http_access_control_request_method"'
    return names.map("preflight", source, [f"{pattern('~^OPTIONS:.+:[^:]+$')} 1;", 'default "";'])


def _cors(names: Names, settings: CorsSettings, marks: Marks) -> None:
    for name in sorted(RESPONSE_FIELDS):
        marks.hide(name.decode().title())
    asks = preflight(names)
    anyone = "*" in settings.allow_origins
    allowed = "*"
    if not anyone:
        origins = [f"{pattern('~*^' + _origin(origin) + '$')} $http_origin;" for origin in settings.allow_origins]
        allowed = names.map("cors_origin", "$http_origin", [*origins, 'default "";'])
        marks.add("Vary", "Origin")
        marks.before += _refusing(names, asks, allowed)
    marks.add("Access-Control-Allow-Origin", allowed if not anyone else '"*"')
    if settings.allow_credentials and not anyone:
        lines = ['"" "";', "default true;"]
        marks.add("Access-Control-Allow-Credentials", names.map("cors_credentials", allowed, lines))
    listed = {name.lower() for name in settings.expose_headers}
    credentials = settings.allow_credentials and not anyone
    own = [] if "*" in listed and not credentials else [name for name in _OWN if name.lower() not in listed]
    shown = word(", ".join([*settings.expose_headers, *own]))
    source = f'"{asks}:{"$http_origin" if anyone else allowed}"'
    lines = [f"{pattern('~^:.')} {shown};", 'default "";']
    marks.add("Access-Control-Expose-Headers", names.map("cors_exposed", source, lines))
    answered = asks
    if not anyone:
        answered = names.map("preflight_allowed", f'"{asks}:{allowed}"', [f"{pattern('~^1:.')} 1;", 'default "";'])
    _preflight_fields(names, settings, answered, marks)
    marks.before.append(f"if ({asks}) {{ return 204; }}")


def _preflight_fields(names: Names, settings: CorsSettings, asks: str, marks: Marks) -> None:
    def only(name: str, value: str) -> str:
        return names.map(name, asks, [f"1 {value};", 'default "";'])

    def asked(name: str, source: str, text: str) -> str:
        lines = [f"{pattern(f'~^1:(?<{name}_asked>{text})$')} ${name}_asked;", 'default "";']
        return names.map(name, f'"{asks}:{source}"', lines)

    marks.add("Vary", only("preflight_vary", '"Access-Control-Request-Method, Access-Control-Request-Headers"'))
    marks.add("Access-Control-Max-Age", only("cors_max_age", str(int(settings.max_age))))
    methods = ", ".join(settings.allow_methods)
    marks.add(
        "Access-Control-Allow-Methods",
        asked("cors_methods", "$http_access_control_request_method", _TOKENS)
        if "*" in settings.allow_methods
        else only("cors_methods", word(methods)),
    )
    fields = ", ".join(settings.allow_headers)
    marks.add(
        "Access-Control-Allow-Headers",
        asked("cors_headers", "$http_access_control_request_headers", rf"{_TOKENS}(?:[ \t]*,[ \t]*{_TOKENS})*")
        if "*" in settings.allow_headers
        else only("cors_headers", word(fields)),
    )


def _refusing(names: Names, asks: str, allowed: str) -> list[str]:
    """What refuses preflights and WebSockets of pages of other origins."""
    same = names.map(
        "same_origin",
        f'"{scheme_and_host(names.config)} $http_origin"',
        [f"{pattern('~*^([^ ]+) ' + chr(92) + '1$')} 1;", 'default "";'],
    )
    source = f'"{asks}:$switch_to:$http_origin:{same}:{allowed}"'
    lines = [f"{pattern('~^1:.*:$')} 1;", f"{pattern('~^:websocket:.+::$')} 1;", 'default "";']
    return [f"if ({names.map('cors_refused', source, lines)}) {{ return 403; }}"]


def _origin(origin: str) -> str:
    return literal(origin).replace(r"\*", r"[a-z0-9-]+(?:\.[a-z0-9-]+)*")
