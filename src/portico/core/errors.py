"""What can go wrong with an exchange: a closed list of reasons, each with the status that a client gets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, ClassVar, Final

import msgspec

REASONS: Final[dict[str, int]] = {
    "access_lost": 101,
    "going_away": 101,
    "tunnel_idle": 101,
    "body_invalid": 400,
    "malformed_request": 400,
    "request_invalid": 400,
    "version_missing": 400,
    "version_unknown": 400,
    "credentials_missing": 401,
    "credentials_invalid": 401,
    "credentials_expired": 401,
    "access_denied": 403,
    "scope_missing": 403,
    "origin_refused": 403,
    "purge_refused": 403,
    "address_refused": 403,
    "request_denied": 403,
    "operation_unknown": 403,
    "no_route": 404,
    "method_not_allowed": 405,
    "version_not_acceptable": 406,
    "request_timeout": 408,
    "version_gone": 410,
    "body_too_large": 413,
    "url_too_long": 414,
    "coding_unsupported": 415,
    "type_unsupported": 415,
    "rate_limited": 429,
    "too_many_connections": 429,
    "headers_too_large": 431,
    "client_closed": 499,
    "client_stalled": 499,
    "internal_error": 500,
    "policy_failed": 500,
    "incremental_refused": 501,
    "not_implemented": 501,
    "upstream_dns": 502,
    "upstream_tls": 502,
    "upstream_refused": 502,
    "upstream_reset": 502,
    "upstream_malformed": 502,
    "auth_unavailable": 503,
    "circuit_open": 503,
    "document_unavailable": 503,
    "issuer_unavailable": 503,
    "keys_unavailable": 503,
    "drain_timeout": 503,
    "limits_unavailable": 503,
    "maintenance": 503,
    "no_healthy_upstream": 503,
    "overloaded": 503,
    "not_cached": 504,
    "upstream_timeout": 504,
    "version_not_supported": 505,
}
"""Every `reason` of a problem document and of the access log, with its status."""

PROXY_ERRORS: Final = {
    "internal_error": "proxy_internal_error",
    "policy_failed": "proxy_internal_error",
    "incremental_refused": "incremental_refused",
    "upstream_dns": "dns_error",
    "upstream_tls": "tls_protocol_error",
    "upstream_refused": "connection_refused",
    "upstream_reset": "connection_terminated",
    "upstream_malformed": "http_protocol_error",
    "auth_unavailable": "proxy_internal_error",
    "circuit_open": "destination_unavailable",
    "document_unavailable": "proxy_internal_error",
    "issuer_unavailable": "proxy_internal_error",
    "keys_unavailable": "proxy_internal_error",
    "limits_unavailable": "proxy_internal_error",
    "maintenance": "destination_unavailable",
    "no_healthy_upstream": "destination_unavailable",
    "overloaded": "proxy_internal_response",
    "upstream_timeout": "connection_read_timeout",
}
"""What `Proxy-Status` calls those reasons that are no fault of the request (RFC 9209, section 2.3).

Where more is known than the reason says, a more specific type takes its place.
"""

PHRASES: Final[dict[int, str]] = {
    **{status.value: status.phrase for status in HTTPStatus},
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}
"""The reason phrases of the registered statuses (RFC 9110, section 15): Python has older ones before 3.13."""

STATUS_LINES: Final[dict[int, bytes]] = {
    status: b"HTTP/1.1 %d %s" % (status, phrase.encode()) for status, phrase in PHRASES.items()
}


class MessageError(Exception):
    """A message that may not be forwarded: the bytes break a rule of HTTP or one of the limits.

    `reason` is a key of `REASONS`; `detail` says which rule, in a sentence for the sender of the bytes. `proxy_error`
    is the type of a service's mistake, where there is a more specific one than for the reason.
    """

    def __init__(self, reason: str, detail: str, proxy_error: str | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.proxy_error = proxy_error


class UpstreamError(Exception):
    """A service did not answer: `reason` is a key of `REASONS`, `phase` is where it failed.

    Phases: `connect` and `connect_timeout` (nothing was sent), `reset` (the connection ended before a whole response),
    `timeout`, `protocol` (what came back is not HTTP). `detail` is for the client, `cause` for the operator of the
    gateway: why no connection could be opened. `proxy_error` is a more specific type than the phase has, and where it
    is one of names or TLS, the reason is too.
    """

    def __init__(self, phase: str, detail: str, cause: str = "", proxy_error: str | None = None) -> None:
        super().__init__(detail)
        self.phase = phase
        self.detail = detail
        self.cause = cause
        self.reason = _TYPE_REASONS.get(proxy_error or "") or _PHASE_REASONS[phase]
        self.proxy_error = proxy_error or ("connection_timeout" if phase == "connect_timeout" else None)


_PHASE_REASONS = {
    "connect": "upstream_refused",
    "connect_timeout": "upstream_timeout",
    "reset": "upstream_reset",
    "timeout": "upstream_timeout",
    "protocol": "upstream_malformed",
}
_TYPE_REASONS = {
    "dns_error": "upstream_dns",
    "tls_certificate_error": "upstream_tls",
    "tls_alert_received": "upstream_tls",
    "tls_protocol_error": "upstream_tls",
}


class Answer:
    """A response that the gateway itself gives: a status, field lines without CRLF, and a whole body."""

    __slots__ = ("body", "lines", "reason", "status")

    is_complete: ClassVar[bool] = False
    """Whether what policies add to responses is among its lines already."""

    def __init__(self, status: int, lines: Iterable[bytes] = (), body: bytes = b"", reason: str | None = None) -> None:
        self.status = status
        self.lines = list(lines)
        self.body = body
        self.reason = reason

    def head_lines(self) -> list[bytes]:
        """The field lines that describe it, as a new list."""
        return list(self.lines)

    def content(self, path: str, request_id: str, status: int) -> bytes:  # noqa: ARG002
        """The body for one exchange; `status` is the one that it is sent with."""
        return self.body

    @property
    def proxy_error(self) -> str | None:
        """What `Proxy-Status` says is behind it; None where it is no failure of the gateway or of a service."""
        return None


class Refusal(Answer):
    """An error response; its body, a problem document (RFC 9457), is built when the exchange is known.

    `status` is that of a `reason` that is none of `REASONS`; `members` are further members of the document,
    `proxy_error` is a more specific type than the reason has.
    """

    __slots__ = ("_proxy_error", "detail", "members")

    def __init__(
        self,
        reason: str,
        detail: str,
        lines: Iterable[bytes] = (),
        status: int | None = None,
        members: Mapping[str, Any] | None = None,
        proxy_error: str | None = None,
    ) -> None:
        super().__init__(REASONS[reason] if status is None else status, lines, reason=reason)
        self.detail = detail
        self.members = members
        self._proxy_error = proxy_error

    @property
    def proxy_error(self) -> str | None:
        return self._proxy_error or PROXY_ERRORS.get(str(self.reason))

    def head_lines(self) -> list[bytes]:
        return [*self.lines, b"Content-Type: application/problem+json", b"Cache-Control: no-store"]

    def content(self, path: str, request_id: str, status: int) -> bytes:
        """The JSON text of the problem document."""
        return msgspec.json.encode(
            {
                "type": "about:blank",
                "title": PHRASES.get(status, str(self.reason)),
                "status": status,
                "detail": self.detail,
                "instance": path,
                "request_id": request_id,
                "reason": self.reason,
                **(self.members or {}),
            }
        )
