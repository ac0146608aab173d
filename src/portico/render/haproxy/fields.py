"""Header fields: what services are told, and what is changed of requests and responses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from portico.config import ResolvedRoute
from portico.config.levels import Merged
from portico.config.problems import KeyPath
from portico.core.fields import REQUEST_DROP
from portico.policies.headers import OF_CONTENT, FieldEdits, HeadersSettings
from portico.render.haproxy.names import Names
from portico.render.haproxy.text import plain, word
from portico.render.policies import SECURITY, policy_path

TOLD: Final = {
    "Via": "'1.1 portico'",
    "X-Forwarded-For": "%[src]",
    "X-Real-IP": "%[src]",
    "X-Forwarded-Proto": "%[var(txn.scheme)]",
    "X-Forwarded-Port": "%[dst_port]",
    "X-Forwarded-Host": "%[var(txn.host_field)]",
    "X-Request-ID": "%[unique-id]",
    "traceparent": "00-%[unique-id]-%[unique-id,bytes(16)]-00",
}
"""What every service is told, by the names of fields."""
_FAMILIES: Final = ("x-consumer", "x-forwarded", "x-auth-request", "x-remote", "x-authenticated")
_OTHERS: Final = (
    *("forwarded", "x-real-ip", "x-request-id", "traceparent", "tracestate", "te", "trailer", "keep-alive"),
    *("proxy-connection", "proxy-authorization", "client-cert", "client-cert-chain", "x-client-cert-dn"),
    *("x-ssl-client-cert", "x-ssl-client-s-dn", "x-ssl-client-verify", "x-webauth-user", "x-script-name"),
    *("x-original-url", "x-rewrite-url", "x-vhm-root", "x-anonymous-consumer", "x-credential-identifier"),
    *("remote-user", "remote-name", "remote-email", "remote-group", "remote-groups"),
    *("x-credential-username", "x-portico-mirror", "x-portico-location", "proxy", "script-name", "path-info"),
)
_TEMPLATE: Final = re.compile(r"\{\{|\}\}|\{([^{}:]*)(:-[^{}]*)?\}|[^{}]+")
_STANDS: Final = {"client_ip": "%[src]", "request_id": "%[unique-id]", "consumer": "%[var(txn.consumer)]"}
_UNREMOVABLE: Final = frozenset({"content-length", "transfer-encoding", "connection"})


def dropped() -> list[str]:
    """The lines by which no client can say what only a gateway may, in any spelling that servers take for the same."""
    known = {name.decode().replace("_", "-") for name in REQUEST_DROP}
    assert known - {*_OTHERS} <= {name for name in known if name.startswith((*_FAMILIES, *_OF_HAPROXY))}
    families = "|".join(_any_joint(name) for name in _FAMILIES)
    others = "|".join(_any_joint(name) for name in _OTHERS)
    return [
        f"http-request del-header {word(f'^(?:{families})[^0-9a-z]')} -m reg",
        f"http-request del-header {word(f'^(?:{others})$')} -m reg",
    ]


_OF_HAPROXY: Final = ("connection", "content-length", "expect", "host", "transfer-encoding", "upgrade")
"""Fields that HAProxy itself writes, or ends, at each hop."""


def _any_joint(name: str) -> str:
    return name.replace("-", "[^0-9a-z]")


def told() -> list[str]:
    """The fields of all requests to services."""
    return [f"http-request set-header {name} {value}" for name, value in TOLD.items()]


def request_lines(names: Names, route: ResolvedRoute) -> Iterator[str]:
    """What `headers` changes of requests."""
    if "headers" not in route.policies:
        return
    settings, scope = route.policies["headers"]
    edits, at = settings.request, (*policy_path(route, scope, "headers"), "request")
    for name in edits.remove:
        yield f"http-request del-header {name}"
    for verb, fields in (("set", edits.set), ("add", edits.add)):
        for name, values in fields.items():
            action = verb
            for value in values or ():
                said = value_of(names, value, (*at, verb, name), route)
                if said is not None:
                    yield f"http-request {action}-header {name} {said}"
                    action = "add"


def response_lines(names: Names, policies: Merged, route: ResolvedRoute | None) -> Iterator[str]:
    """What `headers` changes of responses, HAProxy's own as well."""
    if "headers" not in policies:
        return
    settings, scope = policies["headers"]
    at = policy_path(route, scope, "headers")
    yield from _edits(names, settings, at, route)
    if settings.security:
        yield from _security(settings.response)


def _edits(names: Names, settings: HeadersSettings, at: KeyPath, route: ResolvedRoute | None) -> Iterator[str]:
    edits = settings.response
    is_own = route is None or route.answer is not None
    for name in edits.remove:
        if name.lower() in _UNREMOVABLE:
            names.losses.add((*at, "response", "remove"), f"HAProxy sends {name} in any case")
        else:
            yield f"http-after-response del-header {name}"
    for verb, fields in (("set", edits.set), ("add", edits.add)):
        for name, values in fields.items():
            if is_own and name.lower() in OF_CONTENT:
                continue  # it describes what a service says
            action = verb
            for value in values or ():
                said = value_of(names, value, (*at, "response", verb, name), route)
                if said is not None:
                    yield f"http-after-response {action}-header {name} {said}"
                    action = "add"


def _security(edits: FieldEdits) -> Iterator[str]:
    written = {name.lower() for name in (*edits.set, *edits.add, *edits.remove)}
    for name, value in SECURITY.items():
        if name.lower() not in written:
            yield f"http-after-response set-header {name} {word(value)} unless {{ res.fhdr({name}) -m found }}"
    if "strict-transport-security" not in written:
        name = "Strict-Transport-Security"
        secure = f"{{ var(txn.scheme) -m str https }} !{{ res.fhdr({name}) -m found }}"
        yield f"http-after-response set-header {name} max-age=31536000 if {secure}"


def value_of(names: Names, written: str, at: KeyPath, route: ResolvedRoute | None) -> str | None:
    """A value with names in braces, as a format; None, and a loss, where HAProxy has nothing for one."""
    parts = []
    stands = {
        **_STANDS,
        "route": plain(route.name if route else ""),
        "service": plain(route.service or "") if route else "",
    }
    for found in _TEMPLATE.finditer(written):
        name = found[1]
        if name is None:
            parts.append(plain({"{{": "{", "}}": "}"}.get(found[0], found[0])))
        elif name in stands:
            parts.append(stands[name])
        else:
            names.losses.add(at, f"HAProxy has nothing for {{{name}}}: the field is left out")
            return None
    return word("".join(parts)) if parts else "''"
