"""Requests checked against the OpenAPI document of their service: what does not fit is refused before it gets there.

What a service takes is not refused: where that cannot be told, a request passes, or is refused if that is wanted.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Final, Literal, NamedTuple
from urllib.parse import unquote_to_bytes

from pydantic import Field

from portico.core.codings import CodingError, TooLargeError, UnknownCodingError, codings_of, decode
from portico.core.errors import Answer, MessageError, Refusal
from portico.core.exchange import Exchange, RouteMatch
from portico.core.fields import REQUEST_DROP
from portico.core.header_map import Headers
from portico.core.messages import RequestHead
from portico.core.settings import Settings, Size
from portico.openapi.operations import Operation, Operations
from portico.openapi.requests.bodies import Body
from portico.openapi.requests.parameters import Parameters, cookies_of, query_of
from portico.openapi.requests.schemas import Schemas, UncheckableError
from portico.policies.authorize_operations import names_other_method
from portico.policies.documents import Documents, Key, key_of
from portico.policies.plugins.reports import Reminders
from portico.policies.plugins.whole import is_incremental
from portico.policies.policy import Context, Policy, Verdict, WholeBody
from portico.policies.when import media_type

logger: Final = logging.getLogger("portico.openapi")

_SEVERAL_TYPES: Final = Refusal("body_invalid", "the body has more than one Content-Type, and may be read as another")
_OWN: Final = "gateway"


class ValidateSettings(Settings):
    """Whether requests are checked: their parameters, and bodies of up to `max_body` bytes, decoded.

    `otherwise` is what becomes of requests that cannot be checked: without a document, or an operation in it, with too
    large a body, or one of an unknown coding.
    """

    request: bool = True
    """Whether parameters and bodies of requests are checked."""
    max_body: Annotated[Size, Field(gt=0, le=16 << 20)] = 1 << 20
    """Bytes of a body that is checked, decoded."""
    otherwise: Literal["pass", "refuse"] = "pass"
    """What becomes of requests that cannot be checked: without a document, too large, in an unknown coding."""


class _Check(NamedTuple):
    """What checks an operation."""

    parameters: Parameters
    body: Body


class _Compiled:
    """What checks the operations of one document, made when each is first asked for."""

    def __init__(self, operations: Operations) -> None:
        self.operations = operations
        self._schemas = Schemas(operations.document)
        self._checks: dict[Operation, _Check] = {}

    def of(self, operation: Operation) -> _Check:
        """What checks an operation."""
        check = self._checks.get(operation)
        if check is None:
            check = _Check(Parameters(self._schemas, operation), Body(self._schemas, operation))
            self._checks[operation] = check
        return check


class _UncheckedError(Exception):
    """A request that cannot be checked: what is said where those are refused."""

    def __init__(self, why: str, refusal: Refusal) -> None:
        super().__init__(why)
        self.why = why
        self.refusal = refusal


_NO_DOCUMENT: Final = _UncheckedError(
    "document",
    Refusal(
        "document_unavailable",
        "requests are checked against the OpenAPI document of their service, which is not known yet; try again soon",
        (b"Retry-After: 5",),
    ),
)
_UNKNOWN: Final = _UncheckedError(
    "operation", Refusal("operation_unknown", "this is no operation that the OpenAPI document of its service names")
)
_INCREMENTAL: Final = _UncheckedError(
    "incremental", Refusal("incremental_refused", "this body is checked, and cannot be passed on piece by piece")
)
_CODING: Final = _UncheckedError(
    "coding",
    Refusal(
        "coding_unsupported",
        "this body is checked, and cannot be decoded",
        (b"Accept-Encoding: zstd, br, gzip, deflate",),
    ),
)


def build_validate(settings: ValidateSettings, context: Context) -> Policy | None:
    """The policy, behind all that changes requests: what is checked is what the service gets."""
    if not settings.request:
        return None
    return _Validation(settings, context).validate


class _Validation:
    def __init__(self, settings: ValidateSettings, context: Context) -> None:
        self.max_size = settings.max_body
        self._refuses = settings.otherwise == "refuse"
        self.too_large = _UncheckedError(
            "size", Refusal("body_too_large", f"a body that is checked here has {settings.max_body} bytes at most")
        )
        self._documents: Documents = context.state.documents
        self._added = context.added
        self._compiled: dict[Key, _Compiled] = {}
        self._events = Reminders()

    def validate(self, exchange: Exchange) -> Verdict:
        """The policy."""
        match = exchange.match
        try:
            found = [self._check(exchange, each) for each in match.sides or (match,)]
            checks = [each for each in found if each is not None]
            if not checks:
                return None
            return self._judge(exchange, checks)
        except _UncheckedError as error:
            return self.leave(exchange, error)

    def leave(self, exchange: Exchange, error: _UncheckedError) -> Answer | None:
        """What becomes of a request that cannot be checked."""
        if self._refuses:
            return error.refusal
        route = exchange.match.route.name
        if self._events.left_out((route, error.why)) is not None:
            extra = {"route": route, "request_id": exchange.request_id, "reason": error.refusal.detail}
            logger.warning("requests pass that cannot be checked", extra=extra)
        return None

    def _check(self, exchange: Exchange, match: RouteMatch) -> tuple[_Check, Sequence[bytes]] | None:
        """What checks a request, and its path; None where nothing of the service's is asked for."""
        handling, request, route = match.handling, exchange.request, match.route
        assert request is not None
        if handling.service_name == _OWN:
            return None
        key = key_of(handling)
        operations = self._documents.known.get(key)
        if operations is None:
            raise _NO_DOCUMENT
        compiled = self._compiled.get(key)
        if compiled is None or compiled.operations is not operations:
            compiled = self._compiled[key] = _Compiled(operations)
        try:
            found = operations.find(
                request.method,
                match.target,
                encoded_slashes=route.encoded_slashes,
                case_insensitive=route.case_insensitive,
            )
        except MessageError:
            raise _UNKNOWN from None
        if len(found) != 1 or found[0] is None or names_other_method(exchange):
            raise _UNKNOWN
        return compiled.of(found[0]), match.target[1:].split(b"/")

    def _judge(self, exchange: Exchange, checks: Sequence[tuple[_Check, Sequence[bytes]]]) -> Verdict:
        request = exchange.request
        assert request is not None
        wrong: list[list[dict[str, str]]] = []
        bodies = []
        for check, path in checks:
            wrong.append(self._wrong_parameters(exchange, check, path))
            bodies.append(check.body)
        if len(bodies) == 1 and wrong[0]:
            return _invalid(wrong[0])  # before the body is waited for
        judging = _Judging(self, exchange, bodies, wrong)
        return judging.begin(request)

    def _wrong_parameters(self, exchange: Exchange, check: _Check, path: Sequence[bytes]) -> list[dict[str, str]]:
        if not check.parameters:
            return []
        given = _Given(exchange, path, self._added)
        return [
            {"parameter": each.parameter, "in": each.place, "detail": each.detail}
            for each in check.parameters.wrong(given)
        ]


class _Judging:
    """The verdict on one request, once all of it is there. Only what no side of a split takes is refused."""

    __slots__ = ("bodies", "exchange", "kind", "validation", "wrong")

    def __init__(
        self,
        validation: _Validation,
        exchange: Exchange,
        bodies: Sequence[Body],
        wrong: Sequence[list[dict[str, str]]],
    ) -> None:
        self.validation = validation
        self.exchange = exchange
        self.bodies = bodies
        self.wrong = wrong
        self.kind = ""

    def begin(self, request: RequestHead) -> Verdict:
        """Judge a body that is there, or wait for it where it is checked."""
        if not request.framing:
            return self.refusal([self._missing(each) for each in self.bodies])
        if request.fields.names.count(b"content-type") > 1:
            return _SEVERAL_TYPES
        self.kind = media_type((request.fields.get(b"content-type") or b"").decode("latin-1"))
        if self.kind and all(each.refuses(self.kind) for each in self.bodies):
            taken = ", ".join(self.bodies[0].kinds)
            return Refusal("type_unsupported", f"a body of this operation is {taken}", _accept(self.bodies[0].kinds))
        if not any(each.reads(self.kind) for each in self.bodies):
            return self.refusal([[] for _ in self.bodies])
        if self.exchange.content:
            return self.judge(self.exchange.content)
        if request.framing > self.validation.max_size:
            raise self.validation.too_large
        if is_incremental(Headers(request.fields.names, request.fields.lines)):
            raise _INCREMENTAL
        return _Awaited(self)

    def judge(self, body: bytes) -> Answer | None:
        """Judge a body. Raises _UncheckedError."""
        request = self.exchange.request
        assert request is not None
        codings = codings_of(request.fields.all(b"content-encoding"))
        if codings:
            try:
                body = decode(body, codings, self.validation.max_size)
            except TooLargeError:
                raise self.validation.too_large from None
            except (CodingError, UnknownCodingError):
                raise _CODING from None
        if len(body) > self.validation.max_size:
            raise self.validation.too_large
        return self.refusal([self._wrong(each, body) for each in self.bodies])

    def refusal(self, bodies: Sequence[list[dict[str, str]]]) -> Answer | None:
        """The verdict, with what is wrong with the body for each side."""
        all_wrong = [[*own, *body] for own, body in zip(self.wrong, bodies, strict=True)]
        return _invalid(all_wrong[0]) if all(all_wrong) else None

    def _wrong(self, body: Body, text: bytes) -> list[dict[str, str]]:
        if not text:
            return self._missing(body)
        if not body.reads(self.kind):
            return []
        try:
            problems = body.problems(self.kind, text)
        except UncheckableError:
            return []
        return [{"pointer": f"#{each.pointer}", "detail": each.detail} for each in problems]

    @staticmethod
    def _missing(body: Body) -> list[dict[str, str]]:
        return [{"pointer": "#", "detail": "a body is required"}] if body.required and body.kinds else []


class _Awaited(WholeBody):
    """The verdict on a request whose body is still to come."""

    __slots__ = ("_judging",)

    def __init__(self, judging: _Judging) -> None:
        self._judging = judging
        self.max_size = judging.validation.max_size

    def complete(self, body: bytes) -> None:
        judging = self._judging
        try:
            verdict = judging.judge(body)
        except _UncheckedError as error:
            verdict = judging.validation.leave(judging.exchange, error)
        self.settle(verdict)

    def too_large(self) -> None:
        judging = self._judging
        self.settle(judging.validation.leave(judging.exchange, judging.validation.too_large))


class _Given:
    """A request as its service gets it."""

    def __init__(self, exchange: Exchange, path: Sequence[bytes], added: frozenset[bytes] | None) -> None:
        request = exchange.request
        assert request is not None
        self._fields = request.fields
        self._lines = exchange.request_lines
        self._added = added
        self._path = path
        self._query = exchange.query[1:]

    @cached_property
    def segments(self) -> Sequence[bytes]:
        return [unquote_to_bytes(segment) for segment in self._path]

    @cached_property
    def query(self) -> Mapping[str, list[str]]:
        return query_of(self._query)

    @cached_property
    def cookies(self) -> Mapping[str, list[str]]:
        return cookies_of([value.decode("latin-1") for value in self._fields.all(b"cookie")])

    def header(self, name: str) -> list[str]:
        return [value.decode("latin-1") for value in self._fields.all(name.lower().encode())]

    def may_have(self, name: str) -> bool:
        lower = name.lower().encode()
        if self._added is None or lower in self._added or lower in REQUEST_DROP:
            return True
        return any(line.partition(b":")[0].lower() == lower for line in self._lines)


def _invalid(errors: Sequence[Mapping[str, str]]) -> Refusal:
    first = errors[0]
    where = f"{first['in']} parameter {first['parameter']}" if "parameter" in first else f"body at {first['pointer']}"
    detail = f"{where}: {first['detail']}" + (f"; and {len(errors) - 1} more" if len(errors) > 1 else "")
    return Refusal("request_invalid", detail, members={"errors": list(errors)})


def _accept(kinds: Sequence[str]) -> tuple[bytes, ...]:
    """What is taken instead (RFC 9110, section 12.5.1; in responses as in section 15.5.16)."""
    return (b"Accept: " + ", ".join(kinds).encode("ascii", "replace"),)


__all__ = ["ValidateSettings", "build_validate"]
