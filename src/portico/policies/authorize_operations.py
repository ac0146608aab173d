"""What a consumer needs for an operation of the service's OpenAPI document: as the document says, and as is written.

What decides is the request as the service gets it, behind all that changes it on its way. Where it cannot be told which
operation that is, nobody may.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from urllib.parse import unquote_to_bytes

from portico.core.errors import Answer, MessageError, Refusal
from portico.core.exchange import Exchange, RouteMatch
from portico.core.fields import METHOD_OVERRIDES
from portico.openapi.operations import Operation, Operations, Security
from portico.policies.documents import Documents, Key, key_of

logger: Final = logging.getLogger("portico.openapi")

Check: TypeAlias = Callable[[Exchange], Answer | None]
Checks: TypeAlias = Sequence[Check]

UNAVAILABLE: Final = Refusal(
    "document_unavailable",
    "what this needs is said by the OpenAPI document of its service, which is not known yet; try again soon",
    (b"Retry-After: 5",),
)
_UNKNOWN: Final = Refusal("operation_unknown", "this is no operation that the OpenAPI document of its service names")
_OVERRIDES: Final = Refusal(
    "operation_unknown", "the request names another method than its own: send it with the method that is meant"
)
_OWN: Final = "gateway"
"""What routes have in place of a service that answer themselves."""
_LISTED: Final = 30
"""Operations of a document that an event lists."""
_SEPARATORS: Final = re.compile(rb"[&;]")
_METHOD_PARAMETER: Final = re.compile(rb"\s*[_.\[\s]method", re.ASCII)
"""The parameter by which services may take a request for one with another method, as PHP reads its name, too."""


@dataclass(slots=True)
class _Table:
    """The operations of one document, and what is checked for each, made when it is first asked for."""

    operations: Operations
    written: Mapping[Operation, Checks]
    checks: dict[Operation, Checks] = field(default_factory=dict)


class OperationGuard:
    """Refuses who lacks something for an operation.

    `written` are checks by the names of operations. With `by_document` what the document declares holds too, and
    `missing` is said to whoever has to prove who asks. Requests that are no operation pass if `unknown_pass`. `fitting`
    are the last documents that had all operations that are written; they outlive this.
    """

    def __init__(
        self,
        documents: Documents,
        written: Mapping[str, Checks],
        fitting: dict[Key, Operations],
        *,
        by_document: bool,
        with_scopes: Callable[[Sequence[frozenset[str]]], Check],
        missing: Refusal,
        unknown_pass: bool,
    ) -> None:
        self._documents = documents
        self._written = written
        self._by_document = by_document
        self._with_scopes = with_scopes
        self._missing = missing
        self._unknown_pass = unknown_pass
        self._tables: dict[Key, _Table] = {}
        self._fitting = fitting
        self._left_out: dict[Key, Operations] = {}
        """The documents that lack an operation that is written."""

    def authorize(self, exchange: Exchange) -> Answer | None:
        """The policy. Which side of a split a request takes is not known yet: it needs what any of them asks."""
        match = exchange.match
        for each in match.sides or (match,):
            refusal = self._judged(exchange, each)
            if refusal is not None:
                return refusal
        return None

    def _judged(self, exchange: Exchange, match: RouteMatch) -> Answer | None:
        handling, request = match.handling, exchange.request
        assert request is not None
        if handling.service_name == _OWN:
            return None
        table = self._table(key_of(handling))
        if table is None:
            return UNAVAILABLE
        if names_other_method(exchange):
            return _OVERRIDES
        route = match.route
        try:
            found = table.operations.find(
                request.method,
                match.target,
                encoded_slashes=route.encoded_slashes,
                case_insensitive=route.case_insensitive,
            )
        except MessageError as error:
            return Refusal(error.reason, error.detail)
        for operation in found:
            if operation is None:
                if self._unknown_pass:
                    continue
                return _UNKNOWN
            checks = table.checks.get(operation)
            if checks is None:
                checks = table.checks[operation] = [*self._declared(operation), *table.written.get(operation, ())]
            for check in checks:
                refusal = check(exchange)
                if refusal is not None:
                    return refusal
        return None

    def _table(self, key: Key) -> _Table | None:
        """That of a service's document; of the last one that has all operations that are written."""
        operations, table = self._documents.known.get(key), self._tables.get(key)
        if operations is None or (table is not None and table.operations is operations):
            return None if operations is None else table
        if self._left_out.get(key) is operations:
            return table
        lacking = [name for name in self._written if not operations.named(name)]
        if lacking:
            self._left_out[key] = operations
            last = self._fitting.get(key)
            if table is None and last is not None:
                table = self._tables[key] = self._made(key, last)
            _report(key, lacking, operations, table)
            return table
        self._fitting[key] = operations
        table = self._tables[key] = self._made(key, operations)
        return table

    def _made(self, key: Key, operations: Operations) -> _Table:
        written: dict[Operation, list[Check]] = {}
        for name, checks in self._written.items():
            for operation in operations.named(name):
                written.setdefault(operation, []).extend(checks)
        if self._by_document and not operations.declare_security:
            extra = {"service": "@".join(filter(None, key))}
            logger.warning("an OpenAPI document declares no security: authorize.openapi asks for nothing", extra=extra)
        return _Table(operations, written)

    def _declared(self, operation: Operation) -> list[Check]:
        security = operation.security if self._by_document else None
        return [self._required(security)] if security else []

    def _required(self, security: Security) -> Check:
        if None in security:
            return lambda exchange: None  # noqa: ARG005
        alternatives = [each for each in security if each is not None]
        scoped = None if frozenset() in alternatives else self._with_scopes(alternatives)
        missing = self._missing

        def check(exchange: Exchange) -> Answer | None:
            if not exchange.consumer:
                return missing
            return None if scoped is None else scoped(exchange)

        return check


def names_other_method(exchange: Exchange) -> bool:
    """Whether services may take a request for one with another method than its own."""
    request = exchange.request
    assert request is not None
    fields = request.fields
    if not METHOD_OVERRIDES.isdisjoint(fields.names) and any(
        value.upper() != request.method
        for name in METHOD_OVERRIDES.intersection(fields.names)
        for value in fields.all(name)
    ):
        return True
    if b"method" not in exchange.query and b"%" not in exchange.query:
        return False
    pairs = (pair.partition(b"=") for pair in _SEPARATORS.split(exchange.query[1:]))
    return any(
        value.upper() != request.method and _METHOD_PARAMETER.fullmatch(unquote_to_bytes(name.replace(b"+", b" ")))
        for name, _, value in pairs
    )


def _report(key: Key, lacking: Sequence[str], operations: Operations, table: _Table | None) -> None:
    kept = "requests are refused" if table is None else "the last one is used"
    extra: dict[str, Any] = {"service": "@".join(filter(None, key)), "operations": ", ".join(lacking[:10])}
    extra["there_are"] = ", ".join(each.id or each.name for each in operations.all[:_LISTED])
    logger.error(f"the OpenAPI document of a service lacks operations that authorize names: {kept}", extra=extra)
