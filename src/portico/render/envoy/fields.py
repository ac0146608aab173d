"""Header fields: what services are told, what clients may not say, and what is changed of requests and responses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from portico.config import ResolvedRoute
from portico.config.levels import Merged
from portico.config.problems import KeyPath
from portico.core.fields import is_owned, is_reported
from portico.policies.headers import OF_CONTENT, FieldEdits, HeadersSettings
from portico.render.envoy.names import ADD, HTTP, Filter, Names, Section, escaped, header, typed
from portico.render.policies import SECURITY, policy_path

HEADERS: Final = "headers"
_MUTATION: Final = f"{HTTP}header_mutation.v3.HeaderMutation"
_MUTATIONS: Final = f"{HTTP}header_mutation.v3.HeaderMutationPerRoute"
_FAMILIES: Final = ("x-consumer-", "x-forwarded-", "x-auth-request-", "x-remote-", "x-authenticated-", "x-envoy-")
_OURS: Final = ("x-request-id", "content-length", "transfer-encoding", "upgrade", "connection", "host")
"""What Envoy itself has made of the client's, or needs: other spellings of these names go."""
_TOLD: Final = (
    *("proxy-connection", "keep-alive", "proxy-authorization", "te", "trailer", "expect", "proxy", "script-name"),
    *("path-info", "remote-user", "remote-name", "remote-email", "remote-group", "remote-groups", "x-webauth-user"),
    *("x-script-name", "x-original-url", "x-rewrite-url", "x-vhm-root", "x-anonymous-consumer"),
    *("x-credential-identifier", "x-credential-username", "x-portico-mirror", "x-real-ip", "forwarded"),
    *("traceparent", "tracestate", "client-cert", "client-cert-chain", "x-client-cert-dn", "x-ssl-client-cert"),
    *("x-ssl-client-s-dn", "x-ssl-client-verify"),
)
DROPPED: Final = tuple(name for name in _TOLD if is_owned(name.encode()) or is_reported(name.encode()))
"""What clients may not say: only a gateway may."""

_TEMPLATE: Final = re.compile(r"\{\{|\}\}|\{([^{}:]*)(:-[^{}]*)?\}|[^{}]+")
_STANDS: Final = {
    "client_ip": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "consumer": "%REQ(X-CONSUMER-USERNAME)%",
}
_UNREMOVABLE: Final = frozenset({"date", "content-length", "connection"})


def told() -> list[Section]:
    """The fields of all requests to services, beside those of the two scripts."""
    client = "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"
    return [
        header("X-Forwarded-For", client),
        header("X-Real-IP", client),
        header("X-Forwarded-Port", "%DOWNSTREAM_LOCAL_PORT%"),
        header("X-Forwarded-Host", "%REQ(:AUTHORITY)%"),
        header("Via", "1.1 portico", ADD),
    ]


def client_fields(scheme: str) -> Filter:
    """The filter that drops what clients may not say, however they spell it."""
    ours = "|".join(filter(None, map(_other_spellings, _OURS)))
    dropped = "|".join([*map(_spelling, DROPPED), *(f"{_spelling(name)}.*" for name in _FAMILIES), ours])
    mutations = [
        {"remove_on_match": {"key_matcher": {"safe_regex": {"regex": dropped}}}},
        {"append": header("X-Forwarded-Proto", scheme)},
    ]
    config = typed(_MUTATION, {"mutations": {"request_mutations": mutations}})
    return Filter(0, "client_fields", config, "what only a gateway may say, and clients may not", always=True)


def _spelling(name: str) -> str:
    return name.replace("-", "[^0-9a-z]")


def _other_spellings(name: str) -> str:
    """The spellings of a name that are not its own."""
    parts = name.split("-")
    found = []
    for at in range(1, len(parts)):
        before, after = "-".join(parts[:at]), "[^0-9a-z]".join(parts[at:])
        found.append(f"{before}[^0-9a-z-]{after}")
    return "|".join(found)


def headers_of(names: Names, policies: Merged, route: ResolvedRoute | None) -> dict[str, Section]:
    """What the policy `headers` says of the filter of this name."""
    if "headers" not in policies:
        return {}
    settings, scope = policies["headers"]
    is_own = route is None or route.answer is not None
    named = (route.name, route.service) if route is not None and _has_names(settings) else None
    key = ("headers", id(settings), is_own, names.scheme, named)
    if key not in names.known:
        names.known[key] = _mutations(names, settings, policy_path(route, scope, "headers"), route, is_own)
    mutations = names.known[key]
    if not mutations:
        return {}
    note = "fields that are set, added and removed"
    names.filter(Filter(170, HEADERS, typed(_MUTATION), note, adds_up=True))
    return {HEADERS: mutations}


def _mutations(
    names: Names, settings: HeadersSettings, at: KeyPath, route: ResolvedRoute | None, is_own: bool
) -> Section:
    request = [] if is_own else [*_edits(names, settings.request, (*at, "request"), route, is_own=False)]
    response = [*_edits(names, settings.response, (*at, "response"), route, is_own=is_own)]
    if settings.security:
        response += _security(settings.response, names.scheme)
    for name in settings.response.remove:
        if name.lower() in _UNREMOVABLE:
            names.losses.add((*at, "response", "remove"), f"Envoy sends {name} in any case")
    found: dict[str, Any] = {}
    if request:
        found["request_mutations"] = request
    if response:
        found["response_mutations"] = response
    return typed(_MUTATIONS, {"mutations": found}) if found else {}


def _has_names(settings: HeadersSettings) -> bool:
    """Whether something is said of the route in it."""
    edits = (settings.request, settings.response)
    values = [values for each in edits for values in (*each.set.values(), *each.add.values())]
    return any("{route}" in value or "{service}" in value for own in values for value in own or ())


def _edits(
    names: Names, edits: FieldEdits, at: KeyPath, route: ResolvedRoute | None, *, is_own: bool
) -> Iterator[Section]:
    for name in edits.remove:
        yield {"remove": name.lower()}
    for verb, fields in (("set", edits.set), ("add", edits.add)):
        for name, values in fields.items():
            if is_own and name.lower() in OF_CONTENT:
                continue  # it describes what a service says
            for index, value in enumerate(values or ()):
                said = value_of(names, value, (*at, verb, name), route)
                if said is not None:
                    one_more = verb == "add" or index
                    yield {"append": header(name, said, ADD) if one_more else header(name, said)}


def _security(edits: FieldEdits, scheme: str) -> Iterator[Section]:
    written = {name.lower() for name in (*edits.set, *edits.add, *edits.remove)}
    over_tls = {"Strict-Transport-Security": "max-age=31536000"} if scheme == "https" else {}
    for name, value in {**SECURITY, **over_tls}.items():
        if name.lower() not in written:
            yield {"append": header(name, value, "ADD_IF_ABSENT")}


def value_of(names: Names, written: str, at: KeyPath, route: ResolvedRoute | None) -> str | None:
    """A value with names in braces, in Envoy's words; None, and a loss, where it has none."""
    parts = []
    own = {"route": route.name if route else "", "service": (route.service or "") if route else ""}
    for found in _TEMPLATE.finditer(written):
        name = found[1]
        if name is None:
            parts.append(escaped({"{{": "{", "}}": "}"}.get(found[0], found[0])))
        elif name in own:
            parts.append(escaped(own[name]))
        elif name in _STANDS and not found[2]:
            parts.append(_STANDS[name])
        else:
            names.losses.add(at, f"Envoy has nothing for {found[0]}: the field is left out")
            return None
    return "".join(parts)
