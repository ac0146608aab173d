"""CORS: Envoy's filter marks responses; preflights are routes, since that filter answers them with 200."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from portico.config.levels import Merged
from portico.policies.cors import RESPONSE_FIELDS, CorsSettings
from portico.render.envoy.answers import answered
from portico.render.envoy.matches import asked, regex
from portico.render.envoy.names import ADD, FILTERS, HTTP, ON, Filter, Names, Section, header, typed

_OWN: Final = ("Retry-After", "RateLimit", "RateLimit-Policy", "X-Request-ID")
_ASKS: Final = "access-control-request-method"
_HEADERS: Final = "access-control-request-headers"
_MUTATION: Final = f"{HTTP}header_mutation.v3.HeaderMutation"
_MUTATIONS: Final = f"{HTTP}header_mutation.v3.HeaderMutationPerRoute"


def cors_of(policies: Merged) -> CorsSettings | None:
    """The settings, where it is on."""
    settings: CorsSettings | None = policies.get("cors", (None, ""))[0]
    return settings


def marking(names: Names, policies: Merged) -> dict[str, Section]:
    """What a route says of the filters that mark its responses."""
    settings = cors_of(policies)
    if settings is None:
        return {}
    known = names.known.get(("cors", id(settings)))
    if known is None:
        names.known["cors", id(settings)] = known = _marking(settings)
        names.filter(Filter(30, "cors_marks", typed(_MUTATION), "what the filter cors does not say", adds_up=True))
        names.filter(Filter(40, "cors", typed(f"{HTTP}cors.v3.Cors"), "which pages of other origins may call"))
        dropped = [{"remove": name.decode()} for name in sorted(RESPONSE_FIELDS)]
        config = typed(_MUTATION, {"mutations": {"response_mutations": dropped}})
        names.filter(Filter(50, "cors_of_services", config, "what services say of that themselves is dropped"))
        if not is_anyone(settings):
            names.filter(Filter(60, "cross_origin_upgrades", typed(f"{HTTP}rbac.v3.RBAC"), _UPGRADES))
    return dict(known)


_VARY: Final = [header("Vary", "Origin", ADD)]
_UPGRADES: Final = "WebSockets of pages of other origins are refused"


def is_anyone(settings: CorsSettings) -> bool:
    """Whether pages of all origins may call."""
    return "*" in settings.allow_origins


def _marking(settings: CorsSettings) -> dict[str, Section]:
    anyone = is_anyone(settings)
    credentials = settings.allow_credentials and not anyone
    listed = {name.lower() for name in settings.expose_headers}
    own = [] if "*" in listed and not credentials else [name for name in _OWN if name.lower() not in listed]
    policy: Section = {
        "allow_origin_string_match": [{"safe_regex": {"regex": ".*" if anyone else _origins(settings)}}],
        "expose_headers": ", ".join([*settings.expose_headers, *own]),
        "filter_enabled": {"default_value": {"numerator": 100}},
    }
    if credentials:
        policy["allow_credentials"] = True
    mark = header("Access-Control-Allow-Origin", "*") if anyone else header("Vary", "Origin", ADD)
    found = {
        "cors_marks": typed(_MUTATIONS, {"mutations": {"response_mutations": [{"append": mark}]}}),
        "cors": typed(f"{HTTP}cors.v3.CorsPolicy", policy),
        "cors_of_services": ON,
    }
    if not anyone:
        found["cross_origin_upgrades"] = _same_origin(settings)
    return found


def _same_origin(settings: CorsSettings) -> Section:
    """Refuses WebSockets of pages of other origins: browsers send their cookies along, and let them read all."""
    foreign = {
        "and_ids": {
            "ids": [
                {"header": {"name": "origin", "present_match": True}},
                {"not_id": {"header": regex("origin", _origins(settings))}},
            ]
        }
    }
    policy = {
        "permissions": [{"header": regex("upgrade", "(?i)websocket")}],
        "principals": [foreign],
    }
    rules = {"action": "DENY", "policies": {"origin_refused": policy}}
    return typed(f"{HTTP}rbac.v3.RBACPerRoute", {"rbac": {"rules": rules}})


def _origins(settings: CorsSettings) -> str:
    parts = (
        re.escape(origin.lower()).replace(r"\-", "-").replace(r"\*", r"[a-z0-9-]+(?:\.[a-z0-9-]+)*")
        for origin in settings.allow_origins
    )
    joined = "|".join(parts)
    return f"(?i)(?:{joined})" if len(settings.allow_origins) > 1 else f"(?i){joined}"


# ---- preflights


def preflights(names: Names, settings: CorsSettings, match: Section) -> Iterator[Section]:
    """The routes that answer preflights of what `match` takes, but for its method."""
    allowed = _allowed(names, settings)
    anyone = is_anyone(settings)
    conditions = [{"name": ":method", "string_match": {"exact": "OPTIONS"}}, *match.get("headers", ())]
    if not any(each["name"] == _ASKS for each in conditions):
        conditions.append(asked(_ASKS, True))
    origin = asked("origin", True) if anyone else regex("origin", _origins(settings))
    yield {
        "name": "portico:preflight",
        "match": {**match, "headers": [*conditions, origin]},
        "direct_response": {"status": 204},
        FILTERS: allowed,
    }
    if not anyone:
        yield {
            **answered("origin_refused", {**match, "headers": [*conditions, asked("origin", True)]}),
            "response_headers_to_add": _VARY,
            FILTERS: {},
        }


def _allowed(names: Names, settings: CorsSettings) -> dict[str, Section]:
    """What such a route says of the filter that answers for it."""
    key = ("preflights", id(settings))
    if key not in names.known:
        mutations = [{"append": each} for each in _fields(settings)]
        config = typed(_MUTATION, {"mutations": {"response_mutations": mutations}})
        name, _ = names.once(("preflights", repr(mutations)), "preflights")
        names.known[key] = names.filter(Filter(35, name, config, "what preflights are told"))
    return {names.known[key]: ON}


def _fields(settings: CorsSettings) -> Iterator[Section]:
    anyone = is_anyone(settings)
    yield header("Access-Control-Allow-Origin", "*" if anyone else "%REQ(ORIGIN)%")
    if settings.allow_credentials and not anyone:
        yield header("Access-Control-Allow-Credentials", "true")
    yield header("Access-Control-Max-Age", str(int(settings.max_age)))
    methods = "%REQ(ACCESS-CONTROL-REQUEST-METHOD)%" if "*" in settings.allow_methods else None
    yield header("Access-Control-Allow-Methods", methods or ", ".join(settings.allow_methods).replace("%", "%%"))
    fields = "%REQ(ACCESS-CONTROL-REQUEST-HEADERS)%" if "*" in settings.allow_headers else None
    shown = fields or ", ".join(settings.allow_headers).replace("%", "%%")
    if shown:
        yield header("Access-Control-Allow-Headers", shown)
    if not anyone:
        yield header("Vary", "Origin", ADD)
    yield header("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers", ADD)
