"""How Envoy's own errors look, and its access log."""

from __future__ import annotations

from typing import Any, Final

from portico.config import Config
from portico.core.errors import REASONS
from portico.render.envoy.answers import problem_format
from portico.render.envoy.names import Section, typed

_CEL: Final = "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter"
_DETAILS: Final = "response.code_details"
_BY_DETAILS: Final = (
    (f"{_DETAILS} == 'request_payload_too_large'", "body_too_large", "the body is larger than is accepted here"),
    (f"{_DETAILS} == 'local_rate_limited'", "rate_limited", "too many requests: try again later"),
    (f"{_DETAILS}.contains('Jwt_is_missing')", "credentials_missing", "send a token, as 'Authorization: Bearer …'"),
    (f"{_DETAILS}.contains('Jwt_is_expired')", "credentials_expired", "the token has expired"),
    (f"{_DETAILS}.startsWith('jwt_authn_')", "credentials_invalid", "the token is not accepted"),
    (f"{_DETAILS}.contains('[credentials_invalid')", "credentials_invalid", "the token lacks a claim"),
    (f"{_DETAILS}.contains('[address_refused')", "address_refused", "requests from this address are not accepted here"),
    (
        f"{_DETAILS}.contains('[origin_refused')",
        "origin_refused",
        "this origin may not call this service from a browser",
    ),
    (f"{_DETAILS}.contains('[scope_missing')", "scope_missing", "the token has not the scopes that are needed here"),
    (f"{_DETAILS}.contains('[access_denied')", "access_denied", "this consumer may not do that"),
    (f"{_DETAILS} == 'ext_authz_error'", "auth_unavailable", "who may come in cannot be asked now"),
    (f"{_DETAILS}.contains('TLS_error')", "upstream_tls", "the service speaks no TLS that is accepted here"),
)
_BY_ROUTES: Final = {
    "malformed_request": "this host or path is not accepted: services could read it as another one",
    "not_implemented": "this method is for proxies",
    "origin_refused": "this origin may not call this service from a browser",
    "method_not_allowed": "this method is not offered here",
    "no_route": "no route is for this",
    "request_denied": "requests of this kind are not accepted here",
}
_BY_FLAGS: Final = (
    (("NR",), "no_route", "no route is for this"),
    (("UF",), "upstream_refused", "the service accepts no connection"),
    (("UC", "LR", "UR"), "upstream_reset", "the service closed the connection"),
    (("UPE",), "upstream_malformed", "what the service answered is no HTTP"),
    (("UT", "SI", "DT"), "upstream_timeout", "the service did not answer in time"),
    (("UO",), "overloaded", "the service has enough to do: try again later"),
    (("UH",), "no_healthy_upstream", "no instance of the service can answer"),
)
_CHALLENGES: Final = {
    "credentials_missing": 'Bearer realm="portico"',
    "credentials_expired": 'Bearer realm="portico", error="invalid_token"',
    "credentials_invalid": 'Bearer realm="portico", error="invalid_token"',
}
_LINE: Final = {
    "timestamp": "%START_TIME%",
    "method": "%DYNAMIC_METADATA(portico:method)%",
    "path": "%DYNAMIC_METADATA(portico:path)%",
    "client_ip": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "status_code": "%RESPONSE_CODE%",
    "duration_ms": "%DURATION%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "service": "%UPSTREAM_CLUSTER%",
    "route": "%ROUTE_NAME%",
    "upstream": "%UPSTREAM_HOST%",
    "upstream_ms": "%RESPONSE_DURATION%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "bytes_in": "%BYTES_RECEIVED%",
    "bytes_out": "%BYTES_SENT%",
    "user": "%REQ(X-CONSUMER-USERNAME)%",
    "reason": "%RESPONSE_CODE_DETAILS%",
}


def error_answers() -> Section:
    """Envoy's own errors as problem documents (RFC 9457)."""
    mappers: list[Section] = []
    for expression, reason, detail in _BY_DETAILS:
        mappers.append(_mapper(_where(expression), reason, detail))
    for reason, detail in _BY_ROUTES.items():
        mappers.append(_mapper(_where(f"xds.route_name == 'portico:{reason}'"), reason, detail))
    for flags, reason, detail in _BY_FLAGS:
        mappers.append(_mapper({"response_flag_filter": {"flags": [*flags]}}, reason, detail))
    return {"mappers": mappers}


def _where(expression: str) -> Section:
    return {"extension_filter": {"name": "cel", "typed_config": typed(_CEL, {"expression": expression})}}


def _mapper(which: Section, reason: str, detail: str) -> Section:
    status = REASONS[reason]
    found: Section = {"filter": which, "status_code": status}
    if reason in _CHALLENGES:
        found["headers_to_add"] = [
            {
                "header": {"key": "WWW-Authenticate", "value": _CHALLENGES[reason]},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
        ]
    return {**found, "body_format_override": problem_format(status, reason, detail)}


def access_log(config: Config) -> list[dict[str, Any]]:
    """A line of JSON for each request, with the names of Portico's."""
    access = config.gateway.log.access
    if access == "off":
        return []
    kinds = {"stdout": ("stream", "StdoutAccessLog"), "stderr": ("stream", "StderrAccessLog")}
    kind, message = kinds.get(access, ("file", "FileAccessLog"))
    settings: Section = {} if access in kinds else {"path": access}
    settings["log_format"] = {"json_format": dict(_LINE)}
    return [{"name": "access", "typed_config": typed(f"envoy.extensions.access_loggers.{kind}.v3.{message}", settings)}]
