"""API keys, in a header field or a query parameter of one's own choice (`core/api_keys.py` has how they look)."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, Self
from urllib.parse import unquote_to_bytes

from pydantic import AfterValidator, model_validator

from portico.core.api_keys import digest_of, filed_name, is_mistyped
from portico.core.caches import remembered
from portico.core.conditions import ParameterName
from portico.core.consumers import Consumers
from portico.core.errors import Answer, Refusal
from portico.core.exchange import Exchange
from portico.core.messages import Fields
from portico.core.query_names import values_of
from portico.core.settings import HeaderName, Settings
from portico.policies.auth.identified import Identity, Proved, Verified, by_credentials, by_fields
from portico.policies.auth.key_table import KeyTable
from portico.policies.consumer_fields import NameEncoding, consumer_lines
from portico.policies.editable import editable
from portico.policies.policy import Context, Policy

DEFAULT_HEADER: Final = "X-API-Key"
_PLACES: Final = ("header", "query", "bearer")
_BELIEVED: Final = 60.0
"""Seconds after which a key is looked up again: by that, and no more often, is known when it was last used."""
HOW: Final = "{auth.api_key.how}"
CHALLENGE: Final = b'WWW-Authenticate: ApiKey realm="portico"'
_INVALID: Final = (b'WWW-Authenticate: ApiKey realm="portico", error="invalid_key"',)
_lines: Final = remembered(4096)(consumer_lines)
_UNKNOWN: Final = Refusal("credentials_invalid", "the API key is unknown or revoked", _INVALID)
_MISTYPED: Final = Refusal("credentials_invalid", "the API key is cut or mistyped: its checksum is not right", _INVALID)
_EXPIRED: Final = Refusal("credentials_expired", "the API key has expired", _INVALID)
_NOT_KNOWN_YET: Final = Refusal("keys_unavailable", "the API keys are not known yet", (b"Retry-After: 1",))


def _own_field(name: str) -> str:
    if name.lower() in ("authorization", "cookie", "host"):
        raise ValueError(f"{name} has something else in it: name a field for keys alone, such as {DEFAULT_HEADER}")
    return editable(name, where=("request", "set"))


class ApiKeySettings(Settings):
    """Where a request has its API key: in the `header` of this name, in the parameter `query`, or as a `bearer` token.

    It does not go on to the service.
    """

    header: Annotated[HeaderName, AfterValidator(_own_field)] | None = None
    """The field that holds the key, and nothing else."""
    query: ParameterName | None = None
    """The parameter that holds it, in place of a field."""
    bearer: bool = False
    """It comes as `Authorization: Bearer KEY`, as clients of language models send theirs; not beside tokens, which do
    so, too.
    """

    @model_validator(mode="after")
    def _has_one_place(self) -> Self:
        ways = [key for key in ("header", "query", "bearer") if getattr(self, key)]
        if len(ways) > 1:
            raise ValueError(f"a key comes in one place: write {' or '.join(ways)}, not both")
        return self

    @property
    def field(self) -> str | None:
        """The header; None where it is a parameter."""
        if self.bearer:
            return "Authorization"
        return None if self.query is not None else self.header or DEFAULT_HEADER

    @property
    def how(self) -> str:
        """How a key is sent, for who has not sent one."""
        place = f"?{self.query}=" if self.query is not None else f"{self.field}: {'Bearer ' if self.bearer else ''}"
        return f"send one API key, as '{place}KEY'"


def api_key_over(own: Any, base: Any) -> Any:
    """What is left of the levels above where one level says where keys are."""
    if isinstance(own, dict) and isinstance(base, dict) and not own.keys().isdisjoint(_PLACES):
        return {name: value for name, value in base.items() if name not in _PLACES}
    return base


def build_api_key(settings: ApiKeySettings, encoding: NameEncoding, context: Context, absent: Answer | None) -> Policy:
    """The method: a key that holds identifies its consumer, any other gets 401, and none `absent`."""
    table, directory = context.state.api_keys, context.directory
    key = ("api_key", context.scope, settings.model_dump_json(), encoding, directory.digest)
    verified: Verified = context.state.keep(key, Verified)
    table.dependent.add(verified)
    several = Refusal("credentials_missing", settings.how, (CHALLENGE,))
    look_up = _looking_up(table, directory, encoding)
    if settings.query is not None:
        return by_credentials(verified, _parameter(settings.query, several), look_up, absent)
    if settings.bearer:
        return by_fields(verified, _bearer_line(several), lambda line: look_up(_words(line)[1].strip()), absent)
    name = str(settings.field).lower().encode()
    return by_fields(verified, _line(name, several), lambda line: look_up(line[len(name) + 1 :].strip()), absent)


def _line(name: bytes, several: Answer) -> Callable[[Fields], bytes | Answer | None]:
    """The line of the one field of this name; of several a client may mean another than the gateway reads."""

    def line_of(fields: Fields) -> bytes | Answer | None:
        names = fields.names
        count = names.count(name)
        if count == 1:
            return fields.lines[names.index(name)]
        return several if count else None

    return line_of


def _bearer_line(several: Answer) -> Callable[[Fields], bytes | Answer | None]:
    """The same of `Authorization`, where its scheme is Bearer and something follows it."""
    find = _line(b"authorization", several)

    def line_of(fields: Fields) -> bytes | Answer | None:
        line = find(fields)
        if not isinstance(line, bytes):
            return line
        words = _words(line)
        return line if len(words) == 2 and words[0].lower() == b"bearer" else None

    return line_of


def _words(line: bytes) -> list[bytes]:
    """The scheme of an `Authorization` line, and what follows it."""
    return line.partition(b":")[2].split(None, 1)


def _parameter(name: str, several: Answer) -> Callable[[Exchange], bytes | Answer | None]:
    find = values_of(name)

    def value_of(exchange: Exchange) -> bytes | Answer | None:
        query = exchange.query
        values = find(query) if query else ()
        if len(values) == 1:
            value: bytes = values[0]
            return unquote_to_bytes(value) if b"%" in value else value  # a plus is one: keys in base64 have some
        return several if values else None

    return value_of


def _looking_up(
    table: KeyTable, directory: Consumers, encoding: NameEncoding
) -> Callable[[bytes], Proved | Awaitable[Proved]]:
    """What says whose a key is."""

    def look_up(key: bytes) -> Proved | Awaitable[Proved]:
        proved = known(key)
        return later(key) if proved is None and not table.is_known else proved or refusal(key)

    def known(key: bytes) -> Proved | None:
        digest = digest_of(key)
        found, now = table.find(digest), time.time()
        if found is None:
            consumer = directory.with_key(digest)
            name, scopes, expires = filed_name(digest), None, 0
        else:
            consumer = directory.find(found.consumer)
            name, scopes, expires = found.id, found.scopes, found.expires
        if consumer is None:
            return None
        if expires and expires <= now:
            return _EXPIRED
        held = consumer.scopes if scopes is None else tuple(scope for scope in scopes if scope in consumer.scopes)
        table.used[name] = int(now)
        lines = _lines(consumer.name, held, encoding)
        ends = now + _BELIEVED
        return Identity(min(ends, expires or ends), consumer.name, held, lines, {})

    async def later(key: bytes) -> Proved:
        await table.arrival()
        return known(key) or (refusal(key) if table.is_known else _NOT_KNOWN_YET)

    return look_up


def refusal(key: bytes) -> Refusal:
    """Why a key that nobody has is refused."""
    return _MISTYPED if is_mistyped(key.decode("latin-1")) else _UNKNOWN
