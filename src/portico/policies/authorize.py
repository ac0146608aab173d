"""What the authenticated consumer may do: scopes (RFC 6749, section 3.3), roles and claims, by method and time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from portico.core.claims import claim_path, value_at
from portico.core.errors import Answer, Refusal
from portico.core.exchange import Exchange
from portico.core.settings import Method, Settings
from portico.policies.authorize_operations import OperationGuard
from portico.policies.consumer_fields import ScopeName, percent_encoded
from portico.policies.counters.generations import Generations
from portico.policies.policy import Context, Policy

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | bool) else [value]


def _claim_name(written: str) -> str:
    claim_path(written)
    return written


def _operation_name(written: str) -> str:
    method, _, path = written.partition(" ")
    if not written or (path and not (method.isupper() and path.startswith("/"))) or written.startswith("/"):
        raise ValueError("expected an operationId, or a method and a path of the document: GET /users/{id}")
    return written


def _time_of_day(value: Any) -> Any:
    if isinstance(value, str) and len(value) == 5 and value[2] == ":" and (value[:2] + value[3:]).isdecimal():
        hours, minutes = int(value[:2]), int(value[3:])
        if hours * 60 + minutes <= 24 * 60 and minutes < 60:
            return hours * 60 + minutes
    raise ValueError('expected a time of day, in quotes: "08:00"')


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"this machine knows no time zone {name!r}: expected a name such as Europe/Berlin; where there are none, "
            "the package tzdata brings them"
        ) from None
    return name


ClaimValue: TypeAlias = str | int | float
Claims: TypeAlias = dict[
    Annotated[str, AfterValidator(_claim_name)],
    Annotated[
        Annotated[list[ClaimValue], Field(min_length=1)] | bool,
        BeforeValidator(_listed, json_schema_input_type=ClaimValue | list[ClaimValue] | bool),
    ],
]
TimeOfDay: TypeAlias = Annotated[int, BeforeValidator(_time_of_day, json_schema_input_type=str)]


class TimeSettings(Settings):
    """A part of the week: `days` from `start` to before `end`, which are times of day in `zone`; over midnight too."""

    days: Annotated[list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]], Field(min_length=1)] = list(DAYS)
    """The days of the week."""
    start: TimeOfDay = "00:00"  # type: ignore[assignment]
    """When it begins, as `HH:MM`."""
    end: TimeOfDay = "24:00"  # type: ignore[assignment]
    """Before when it ends; earlier than `start`, it is on the next day."""
    zone: Annotated[str, AfterValidator(_zone)] = "UTC"
    """The time zone of both, by its name in the tz database."""

    @model_validator(mode="after")
    def _is_some_time(self) -> Self:
        if self.start == self.end:
            raise ValueError("start and end are the same time")
        return self

    def holds(self, now: float) -> bool:
        """Whether a time, in seconds since the epoch, is within it. A night belongs to the day on which it begins."""
        moment = datetime.fromtimestamp(now, ZoneInfo(self.zone))
        minute, day = moment.hour * 60 + moment.minute, moment.weekday()
        if self.start < self.end:
            return self.start <= minute < self.end and DAYS[day] in self.days
        return (minute >= self.start and DAYS[day] in self.days) or (minute < self.end and DAYS[day - 1] in self.days)


class Requirements(Settings):
    """What a consumer has to have: every one of `scopes`, one of `any_scopes`, one of `roles`, and all `claims`.

    A claim is named, or found by its JSON pointer (RFC 6901). It has to be one of the values or, where it is a list, to
    hold one; `true` is for one that is there, and neither false nor null, and `false` for one that is not.
    """

    scopes: list[ScopeName] = []
    """Scopes of which the consumer needs all; else `scope_missing`."""
    any_scopes: list[ScopeName] = []
    """Scopes of which the consumer needs one; else `scope_missing`."""
    roles: list[str] = []
    """Roles of which it needs one; else `access_denied`."""
    claims: Claims = {}
    """What claims have to be; else `access_denied`."""

    @property
    def ask_something(self) -> bool:
        """Whether they ask for anything."""
        return bool(self.scopes or self.any_scopes or self.roles or self.claims)


class AuthorizeSettings(Requirements):
    """What a consumer needs on a route, and in addition for some `methods`; `roles_claim` is where its roles are.

    With `times` requests are accepted at those times only. `operations` is what is needed in addition for those of the
    service's OpenAPI document, by operationId or as `GET /users/{id}`; with `openapi` its `security` holds as well.
    Where one of both is written, requests that are none of the document's operations are refused, unless `unknown` is
    `pass`.
    """

    roles_claim: Annotated[str, AfterValidator(_claim_name)] = "roles"
    """Where its roles are: `/realm_access/roles` for Keycloak."""
    methods: dict[Method, Requirements] = {}
    """What requests with a method need beside that."""
    operations: dict[Annotated[str, AfterValidator(_operation_name)], Requirements] = {}
    """What operations of the service's OpenAPI document need beside that, by operationId or as `GET /users/{id}`."""
    openapi: bool = False
    """Whether the `security` that the document declares is needed, too."""
    unknown: Literal["refuse", "pass"] = "refuse"
    """What becomes of requests that are no operation of the document, where one of these two is written: 403,
    `operation_unknown`, or no more is needed.
    """
    times: list[TimeSettings] = []
    """When requests are accepted; at other times `access_denied`. From `"22:00"` to `"06:00"` is a night that belongs
    to the day on which it begins.
    """

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        by_method = any(each.ask_something for each in self.methods.values())
        if not (self.ask_something or self.times or by_method or self.reads_document):
            raise ValueError(
                "nothing is asked for: write scopes: [orders:read], any_scopes, roles, claims, methods, operations, "
                "openapi or times"
            )
        if "unknown" in self.model_fields_set and not self.reads_document:
            raise ValueError("unknown is about operations, and none are written: write operations, or openapi: true")
        return self

    @property
    def reads_document(self) -> bool:
        """Whether it depends on the OpenAPI document of the service."""
        return self.openapi or bool(self.operations)


_Check: TypeAlias = Callable[[Exchange], Answer | None]

_VERDICTS: Final = 4096
_NOBODY: Final = Refusal(
    "credentials_missing", "this is for known consumers", (b'WWW-Authenticate: Bearer realm="portico"',)
)


def build_authorize(settings: AuthorizeSettings, context: Context) -> Policy | None:  # noqa: ARG001
    """The policy: refuses with 403 a consumer who lacks something, whatever the operation."""
    always: list[_Check] = [
        *([_at_times(settings.times)] if settings.times else []),
        *_checks(settings, settings.roles_claim),
    ]
    if not settings.methods and len(always) <= 1:
        return always[0] if always else None
    by_method = {method: _checks(each, settings.roles_claim) for method, each in settings.methods.items()}

    def authorize(exchange: Exchange) -> Answer | None:
        for check in (*always, *by_method.get(exchange.method, ())):
            refusal: Answer | None = check(exchange)
            if refusal is not None:
                return refusal
        return None

    return authorize


def build_operations(settings: AuthorizeSettings, context: Context) -> Policy | None:
    """The policy for operations, behind all that changes requests: what decides is what the service gets."""
    if not settings.reads_document:
        return None
    guard = OperationGuard(
        context.state.documents,
        {name: _checks(each, settings.roles_claim) for name, each in settings.operations.items()},
        context.state.keep(("documents that fit", context.scope, *settings.operations), dict),
        by_document=settings.openapi,
        with_scopes=_with_one_of,
        missing=context.missing or _NOBODY,
        unknown_pass=settings.unknown == "pass",
    )
    return guard.authorize


def _checks(needed: Requirements, roles_claim: str) -> list[_Check]:
    checks: list[_Check] = []
    if needed.scopes:
        checks.append(_with_scopes(needed.scopes, frozenset(needed.scopes).issubset, "this needs the scopes: {}"))
    if needed.any_scopes:
        one_of = frozenset(needed.any_scopes)
        checks.append(
            _with_scopes(
                needed.any_scopes, lambda held: not one_of.isdisjoint(held), "this needs one of the scopes: {}"
            )
        )
    if needed.roles:
        refusal = Refusal("access_denied", f"this needs one of the roles: {' '.join(needed.roles)}")
        checks.append(_with_claims({roles_claim: list(needed.roles)}, refusal))
    if needed.claims:
        names = ", ".join(needed.claims)
        checks.append(_with_claims(needed.claims, Refusal("access_denied", f"this is not for every value of: {names}")))
    return checks


def _with_one_of(alternatives: Sequence[frozenset[str]]) -> _Check:
    """All scopes of one of these sets; the first is asked for."""
    shown = [sorted(each) for each in alternatives]
    detail = "this needs the scopes: {}" + "".join(f"; or {' '.join(each)}" for each in shown[1:])
    return _with_scopes(shown[0], lambda held: any(each.issubset(held) for each in alternatives), detail)


def _with_scopes(scopes: Sequence[str], suffices: Callable[[Sequence[str]], bool], detail: str) -> _Check:
    shown = " ".join(map(percent_encoded, scopes)).replace("\\", "\\\\").replace('"', '\\"')
    challenge = f'WWW-Authenticate: Bearer realm="portico", error="insufficient_scope", scope="{shown}"'.encode()
    refusal = Refusal("scope_missing", detail.replace("{}", " ".join(scopes), 1), (challenge,))

    def check(exchange: Exchange) -> Answer | None:
        return None if suffices(exchange.scopes) else refusal

    return check


def _with_claims(wanted: Mapping[str, list[Any] | bool], refusal: Refusal) -> _Check:
    paths = [(claim_path(name), values) for name, values in wanted.items()]
    verdicts: Generations[bytes, bool] = Generations(_VERDICTS)
    """By the field line of a token: its claims are not decoded again for each of its requests."""

    def check(exchange: Exchange) -> Answer | None:
        token = exchange.claims_or_token
        if not isinstance(token, bytes):
            return None if fits(exchange.claims) else refusal
        verdict = verdicts.get(token)
        if verdict is None:
            verdict = fits(exchange.claims)
            verdicts.put(token, verdict)
        return None if verdict else refusal

    def fits(claims: Mapping[str, Any] | None) -> bool:
        return all(claim_fits(value_at(claims, path), values) for path, values in paths)

    return check


def claim_fits(value: Any, wanted: list[Any] | bool) -> bool:
    """Whether a claim is as `Claims` want it."""
    if isinstance(wanted, bool):
        return (value is not None and value is not False) == wanted
    held = value if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
    return any(_same(one, other) for one in held for other in wanted)


def _same(one: Any, other: Any) -> bool:
    """Whether two values of JSON are the same: true is no number."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _at_times(times: Sequence[TimeSettings]) -> _Check:
    refusal = Refusal("access_denied", "this is not open at this time")
    last = (-1, False)

    def check(exchange: Exchange) -> Answer | None:  # noqa: ARG001
        nonlocal last
        now = time.time()
        if last[0] != now // 60:
            last = (int(now // 60), any(each.holds(now) for each in times))
        return None if last[1] else refusal

    return check
