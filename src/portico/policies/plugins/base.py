"""What a policy of one's own is made of."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Mapping
from typing import Any, ClassVar, Final, TypeAlias

import msgspec

from portico.core.errors import Answer, Refusal
from portico.core.header_map import checked_line, checked_name
from portico.core.settings import Settings
from portico.policies.head import WITHOUT_CONTENT, Head, ResponseEdit
from portico.policies.plugins.context import PluginContext
from portico.policies.plugins.view import ExchangeView
from portico.policies.policy import BodyFilter, HookFailedError

Verdict: TypeAlias = Answer | None
"""What a request hook comes to: None lets the request go on, an answer ends it."""

_REASON: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")


class RefusedError(HookFailedError):
    """Raised by a body hook, or by a filter, that refuses a body.

    The client gets this answer, or a broken response if bytes have gone.
    """

    def __init__(self, answer: Answer) -> None:
        if not isinstance(answer, Answer):
            raise TypeError(f"RefusedError takes refuse(…) or answer(…), not {type(answer).__name__}")
        super().__init__(answer)


class Policy:
    """The base of policies; each hook that a subclass has is called for the exchanges of the routes that use it.

    `Settings` is what may stand under `with`. A hook that raises costs its exchange a 500 whose reason is
    `policy_failed`; what it costs besides is nothing.
    """

    Settings: ClassVar[type[Settings]] = Settings

    every_answer: ClassVar[bool] = False
    """Whether `response` also sees refusals of policies before this one, and of the gateway's own endpoints.

    It always does where there is no request hook.
    """
    own_endpoints: ClassVar[bool] = False
    """Whether, at the gateway's level, it also holds for the gateway's own endpoints (`/`, `/health`, `/metrics`)."""

    settings: Any
    context: PluginContext

    async def open(self) -> None:
        """Called before the first request, when the configuration is taken over; what it raises refuses that."""

    async def close(self) -> None:
        """Called when a later configuration has replaced this policy, after its last exchange."""

    def request(self, exchange: ExchangeView) -> Verdict | Awaitable[Verdict]:
        """Called before a request is forwarded; it may be `async`, and then has `timeout` seconds."""

    def response(self, exchange: ExchangeView, head: ResponseEdit) -> Verdict:
        """Called before a response is sent: the service's or the gateway's own. An answer takes its place."""

    def body(self, exchange: ExchangeView, head: Head) -> BodyFilter | None:
        """Called for a request's body and for a response's; `head.status` is None for a request.

        A filter has `feed(bytes) -> bytes` and `end() -> bytes`.
        """

    def finished(self, exchange: ExchangeView) -> None:
        """Called once for each exchange that `request` was called for, or would have been, when it is over."""


def answer(
    status: int, body: bytes | str | Mapping[str, Any] | list[Any] = b"", headers: Mapping[str, str] | None = None
) -> Answer:
    """A response given in place of the service's: text is sent as UTF-8, mappings and lists as JSON.

    Raises ValueError for a status that is not from 200 to 599, and for a field that cannot be sent.
    """
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise ValueError(f"{status!r} is no status of a final response: one from 200 to 599")
    lines = _lines_of(headers)
    if isinstance(body, str):
        body, kind = body.encode(), b"text/plain; charset=utf-8"
    elif isinstance(body, bytes):
        kind = b""
    else:
        body, kind = msgspec.json.encode(body), b"application/json"
    if status in WITHOUT_CONTENT and body:
        raise ValueError(f"a response with status {status} has no body (RFC 9110, section 15)")
    if kind and not any(line.lower().startswith(b"content-type:") for line in lines):
        lines.append(b"Content-Type: " + kind)
    return Answer(int(status), lines, body)


def refuse(status: int, reason: str, detail: str, headers: Mapping[str, str] | None = None) -> Refusal:
    """An error response: a problem document (RFC 9457) with `reason`, a word of your own, and `detail`, a sentence.

    Raises ValueError for a status that is not from 400 to 599, and for a reason that is no word.
    """
    if not isinstance(status, int) or not 400 <= status <= 599:
        raise ValueError(f"{status!r} is no status of a refusal: one from 400 to 599")
    if not isinstance(reason, str) or not _REASON.fullmatch(reason):
        raise ValueError(f"{reason!r} is no reason: one word in lower case, such as too_old")
    if not isinstance(detail, str):
        raise TypeError(f"the detail of a refusal is text, not {type(detail).__name__}")
    return Refusal(reason, detail.encode("utf-8", "replace").decode(), _lines_of(headers), int(status))


def _lines_of(headers: Mapping[str, str] | None) -> list[bytes]:
    lines = []
    for name, value in (headers or {}).items():
        checked_name(name)
        lines.append(checked_line(name, value))
    return lines
