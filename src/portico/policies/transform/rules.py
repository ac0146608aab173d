"""The rules of `transform`, compiled: what applies to an exchange, and what it does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from portico.core.errors import Answer
from portico.core.exchange import Exchange
from portico.observe.families import Counter
from portico.policies.head import WITHOUT_CONTENT, Head, ResponseEdit
from portico.policies.headers import about_consumers
from portico.policies.policy import BodyFilter, Pending, Policy
from portico.policies.transform.bodies import PARTIAL, PARTS, RequestBodies, ResponseBodies, body_edit
from portico.policies.transform.fields import ResponseFieldsEdit, fields_edit, response_fields_edit, without_clients
from portico.policies.transform.query import query_edit
from portico.policies.transform.settings import RequestRule, ResponseRule, TransformSettings
from portico.policies.transform.target import path_edit, path_text_of
from portico.policies.transform.values import Text, captures_of
from portico.policies.when import check_of, media_type, response_check_of, shown_status, vary_names

Edit: TypeAlias = Callable[[Exchange], Answer | None]
"""Changes an exchange's request, or refuses it."""

# ---- requests


class _RequestRule:
    """One rule: whether it applies, what it changes at once, and what it does to the body."""

    __slots__ = ("body", "edits", "fits")

    def __init__(self, rule: RequestRule) -> None:
        captures = captures_of(rule.when)
        self.fits = check_of(rule.when)
        edits: list[Edit | None] = [
            query_edit(rule.query, captures) if rule.query is not None else None,
            path_edit(path_text_of(rule.path, rule.when)) if rule.path is not None else None,
            fields_edit(rule.headers, captures) if rule.headers is not None else None,
            _method_edit(rule.method.encode()) if rule.method is not None else None,
        ]
        self.edits = tuple(edit for edit in edits if edit is not None)
        self.body = body_edit(rule.form_to_json, rule.json_, captures)


def _method_edit(method: bytes) -> Edit:
    def set_method(exchange: Exchange) -> None:
        request = exchange.request
        assert request is not None
        if request.method not in (b"HEAD", method) and b"upgrade" not in request.noted:
            exchange.request = request.changed(method=method)

    return set_method


def request_policy(settings: TransformSettings, skipped: Counter | None, vary: tuple[bytes, ...]) -> Policy | None:
    """What changes requests by all rules that apply to them as their clients sent them; None where nothing does.

    `vary` is the field that says on which others of the request responses depend. Fields that rules make of what is
    known of the consumer are never a client's own, on any request.
    """
    names = consumer_fields(settings)
    policy = _request_policy(settings, skipped, vary)
    if not names or policy is None:
        return policy
    withhold = without_clients(names)

    def transform(exchange: Exchange) -> Answer | Pending | Awaitable[Answer | None] | None:
        withhold(exchange)
        return policy(exchange)

    return transform


def consumer_fields(settings: TransformSettings) -> list[str]:
    """The fields of requests by which a rule says something of the consumer, whether or not it applies to a request."""
    return [
        name
        for rule in settings.request
        if rule.headers is not None
        for fields in (rule.headers.set, rule.headers.add)
        for name in about_consumers(fields, captures_of(rule.when))
    ]


def _request_policy(settings: TransformSettings, skipped: Counter | None, vary: tuple[bytes, ...]) -> Policy | None:
    rules = tuple(map(_RequestRule, settings.request))
    bodies = RequestBodies(settings, skipped)
    if not rules and not vary:
        return None
    if len(rules) == 1 and not vary and not rules[0].body and len(rules[0].edits) == 1:
        return _one_edit(rules[0])

    changes_bodies = any(rule.body is not None for rule in rules)

    def transform(exchange: Exchange) -> Answer | Pending | None:
        if vary:
            exchange.response_lines += vary
        if changes_bodies and (refusal := bodies.refusal(exchange)) is not None:
            return refusal
        found = None
        for rule in [each for each in rules if each.fits is None or each.fits(exchange)]:
            for edit in rule.edits:
                answer = edit(exchange)
                if answer is not None:
                    return answer
            if rule.body is not None:
                found = [rule.body] if found is None else [*found, rule.body]
        return None if found is None else bodies.begin(exchange, found)

    return transform


def _one_edit(rule: _RequestRule) -> Policy:
    """The same for the usual case, in as few steps as can be."""
    (edit,), fits = rule.edits, rule.fits
    if fits is None:
        return edit

    def transform(exchange: Exchange) -> Answer | None:
        return edit(exchange) if fits(exchange) else None

    return transform


# ---- responses


class _ResponseRule:
    __slots__ = ("body", "fields", "fits_request", "fits_response", "statuses")

    def __init__(self, rule: ResponseRule) -> None:
        captures = captures_of(rule.when)
        self.fits_request = check_of(rule.when)
        self.fits_response = response_check_of(rule.when)
        mapped = sorted((rule.status or {}).items(), key=lambda pair: -len(pair[0]))  # what is one's own counts
        self.statuses = {status: new for old, new in mapped for status in old}
        self.fields: ResponseFieldsEdit | None = None
        if rule.headers is not None:
            self.fields = response_fields_edit(rule.headers, captures)
        self.body = body_edit(False, rule.json_, captures)


_HAS_OTHER_BODY: Final = (*WITHOUT_CONTENT, PARTIAL)


class ResponseRules:
    """The hooks for responses: they change a service's response by all rules that apply to it as it came."""

    __slots__ = ("_bodies", "_rules")

    def __init__(self, settings: TransformSettings, skipped: Counter | None) -> None:
        self._rules = tuple(map(_ResponseRule, settings.response))
        self._bodies = ResponseBodies(settings, skipped)

    @property
    def change_bodies(self) -> bool:
        """Whether one of them is for bodies."""
        return any(rule.body is not None for rule in self._rules)

    def response(self, exchange: Exchange, response: ResponseEdit) -> None:
        """The hook for a response's head."""
        status = response.status
        applying = response.rules = self._applying(exchange, response)
        for rule in applying:
            if rule.statuses and status not in _HAS_OTHER_BODY and status >= 200:
                new = rule.statuses.get(status)
                if new is not None:
                    response.status = new
            if rule.fields is not None:
                rule.fields(exchange, response)

    def body(self, exchange: Exchange, head: Head) -> BodyFilter | None:
        """The hook for a body. Raises HookFailedError."""
        if not isinstance(head, ResponseEdit):
            return None
        rules: Sequence[_ResponseRule] | None = head.rules
        if head.status == PARTIAL:
            rules = self._applying_to_whole(exchange, head)
        elif rules is None:
            rules = self._applying(exchange, head)
        edits = [rule.body for rule in rules if rule.body is not None]
        return self._bodies.filter(exchange, head, edits) if edits else None

    def _applying(self, exchange: Exchange, response: ResponseEdit) -> list[_ResponseRule]:
        status, kind = response.status, None
        found = []
        for rule in self._rules:
            if rule.fits_response is not None:
                if kind is None:
                    kind = media_type(response.headers.get("Content-Type", ""))
                if not rule.fits_response(status, kind):
                    continue
            if rule.fits_request is None or rule.fits_request(exchange):
                found.append(rule)
        return found

    def _applying_to_whole(self, exchange: Exchange, part: ResponseEdit) -> list[_ResponseRule]:
        """Those that may apply to the 200 of which this is a part: clients must not get around them by a range."""
        kind = media_type(part.headers.get("Content-Type", ""))
        return [
            rule
            for rule in self._rules
            if (rule.fits_response is None or kind == PARTS or rule.fits_response(200, kind))
            and (rule.fits_request is None or rule.fits_request(exchange))
        ]


def vary_of(settings: TransformSettings) -> tuple[bytes, ...]:
    """The field, if any, that says on which fields of requests it depends which rules apply."""
    names = vary_names([when for _, when in settings.whens()])
    return (f"Vary: {', '.join(names)}".encode(),) if names else ()


def depends_on_more(settings: TransformSettings) -> bool:
    """Whether what becomes of a request's method, URL and fields depends on more of it than its URL."""
    return any(map(_depends_on_more, settings.request))


def _depends_on_more(rule: RequestRule) -> bool:
    if rule.method is not None or (rule.when is not None and rule.when.model_fields_set - {"path", "query"}):
        return True
    parts = [values for part in (rule.query, rule.headers) if part is not None for values in (part.set, part.add)]
    texts = [text for values in parts for each in values.values() for text in each]
    captures = captures_of(rule.when)
    path = [] if rule.path is None else [path_text_of(rule.path, rule.when)]
    return not all(text.is_by_url for text in (*path, *(Text(text, captures) for text in texts)))


def describe(settings: TransformSettings) -> Mapping[str, list[dict[str, Any]]]:
    """What the rules say, as plain data, in the order in which they are applied."""
    rules: Mapping[str, Sequence[RequestRule | ResponseRule]] = {
        "request": settings.request,
        "response": settings.response,
    }
    return {direction: list(map(_described, each)) for direction, each in rules.items() if each}


def _described(rule: RequestRule | ResponseRule) -> dict[str, Any]:
    described = rule.model_dump(exclude={"when", "status"}, exclude_unset=True, by_alias=True)
    if rule.when is not None:
        described["when"] = rule.when.describe()
    if isinstance(rule, ResponseRule) and rule.status is not None:
        described["status"] = {shown_status(old): new for old, new in rule.status.items()}
    return described
