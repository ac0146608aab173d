"""MCP: what requests say of their bodies is checked, and a client's first request is let through.

Routes and limits go by `Mcp-Method` and `Mcp-Name`, which a client writes as it likes. Servers of the protocol of
2026-07-28 refuse a request whose body says something else; those before it know no such fields.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from portico.core.clients import client_of
from portico.core.errors import Answer, Refusal
from portico.core.exchange import Exchange
from portico.core.mcp import DISCOVER, METHOD, NAME, decoded
from portico.core.messages import CHUNKED
from portico.core.settings import Settings, Size
from portico.policies.counters.buckets import TokenBuckets
from portico.policies.policy import Context, Policy, State, Verdict, WholeBody

_FIRST_BODY: Final = 16 * 1024
"""Bytes of a first request's body: it names versions and capabilities."""
_FIRST_PER_MINUTE: Final = 60
_FIRST_AT_ONCE: Final = 20
_NAMED_BY: Final = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
"""Where in `params` stands what `Mcp-Name` says."""
_WORDS: Final = frozenset({"method", "params", "name", "uri"})


class McpSettings(Settings):
    """Requests to an MCP server: `Mcp-Method` and `Mcp-Name` have to say what is in the body, else they are refused.

    A client's first request, `server/discover`, is admitted past `rate_limit`, past the permits of its service and past
    an overloaded worker, 20 of a client address at once and 60 a minute: a refusal would have it speak an older
    protocol.
    """

    fields: Literal["optional", "required"] = "optional"
    """Whether a POST has to have `Mcp-Method`: clients of protocols before 2026-07-28 send none."""
    max_body: Annotated[Size, Field(ge=1)] = 1024 * 1024
    """Bytes of a body that is checked; a longer one with `Mcp-Method` gets 413."""


def build_first_contact(settings: McpSettings, context: Context) -> Policy:  # noqa: ARG001
    """The step that finds a client's first request, before all that limits requests."""
    admits = first_contact(context.state, context.scope)

    def find(exchange: Exchange) -> Verdict:
        if not claims_first(exchange):
            return None

        def judge(body: bytes) -> Answer | None:
            wrong = _mismatch(exchange, body)
            if wrong is None and not hasattr(exchange, "is_exempt"):
                admits(exchange)
            return wrong

        return _with_body(exchange, judge, _FIRST_BODY)

    return find


def build_mcp(settings: McpSettings, context: Context) -> Policy:  # noqa: ARG001
    """The step that checks the fields, behind `auth`: what is waited for is a consumer's."""

    def check(exchange: Exchange) -> Verdict:
        request = exchange.request
        assert request is not None
        if request.method != b"POST":
            return None
        names = request.fields.names
        if METHOD not in names:
            if settings.fields == "optional" and NAME not in names:
                return None
            return _malformed("Mcp-Method is missing: it says what the body asks for")
        return _with_body(exchange, lambda body: _mismatch(exchange, body), settings.max_body)

    return check


def first_contact(state: State, scope: str) -> Callable[[Exchange], bool]:
    """What admits a request that says it is a client's first, if there are not too many of that client's; and marks it.

    Whether it is one, its body says, which is looked at before it goes further.
    """
    buckets: TokenBuckets = state.keep(("mcp", scope), lambda: TokenBuckets(_FIRST_PER_MINUTE, _FIRST_AT_ONCE))

    def admits(exchange: Exchange) -> bool:
        if not claims_first(exchange):
            return False
        exchange.is_exempt = buckets.take(client_of(exchange.client_ip), exchange.started) >= 0
        return exchange.is_exempt

    return admits


def claims_first(exchange: Exchange) -> bool:
    """Whether a request says that it is a client's first, and is no larger than one."""
    request = exchange.request
    assert request is not None
    return (
        request.method == b"POST"
        and request.fields.names.count(METHOD) == 1
        and request.fields.get(METHOD) == DISCOVER
        and (request.framing == CHUNKED or 0 < request.framing <= _FIRST_BODY)
    )


def _with_body(exchange: Exchange, judge: Callable[[bytes], Answer | None], most: int) -> Verdict:
    request = exchange.request
    assert request is not None
    if exchange.content or not request.framing:
        return _TOO_LARGE if len(exchange.content) > most else judge(exchange.content)
    if request.framing > most:
        return _TOO_LARGE
    return _Awaited(judge, most)


class _Awaited(WholeBody):
    """The verdict on a body that is still to come."""

    __slots__ = ("judge", "max_size")

    def __init__(self, judge: Callable[[bytes], Answer | None], most: int) -> None:
        self.judge = judge
        self.max_size = most

    def complete(self, body: bytes) -> None:
        self.settle(self.judge(body))

    def too_large(self) -> None:
        self.settle(_TOO_LARGE)


def _mismatch(exchange: Exchange, body: bytes) -> Answer | None:
    """What is wrong with the fields of a request, if anything is, or with a body that could be read in two ways."""
    request = exchange.request
    assert request is not None
    names = request.fields.names
    if names.count(METHOD) > 1 or names.count(NAME) > 1:
        return _malformed("Mcp-Method and Mcp-Name come once")
    try:
        call = json.loads(body.decode("utf-8"), object_pairs_hook=tuple)
    except (ValueError, RecursionError):
        return _malformed("the body is no JSON, in UTF-8")
    try:
        method, params = _member(call, "method"), _member(call, "params")
        key = _NAMED_BY.get(method) if isinstance(method, str) else None
        named = _member(params, key) if key is not None else None
    except ValueError as error:
        return _malformed(str(error))
    if not isinstance(method, str) or request.fields.get(METHOD) != _utf8(method):
        return _malformed("Mcp-Method is not the method in the body")
    said = request.fields.get(NAME)
    if key is not None and not (isinstance(named, str) and said is not None and decoded(said) == _utf8(named)):
        return _malformed(f"Mcp-Name is not params.{key} in the body")
    return None


def _member(pairs: Any, name: str) -> Any:
    """The member of an object, as the pairs in it. Raises ValueError where readers could find another one.

    Of two with one name some take the first, and some read names whatever their letters.
    """
    if not isinstance(pairs, tuple):
        raise ValueError("the body has to be one JSON-RPC message, whose params are an object")
    found = [(own, value) for own, value in pairs if own.casefold() == name]
    if len(found) > 1:
        raise ValueError(f"the body has {name} more than once")
    return found[0][1] if found and found[0][0] == name else None


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _malformed(detail: str) -> Refusal:
    return Refusal("malformed_request", detail)


_TOO_LARGE: Final = Refusal("body_too_large", "a body with Mcp-Method has to be shorter, so that it can be checked")
