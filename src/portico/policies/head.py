"""The head of a response on its way to the client, as hooks see and edit it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, Protocol

from portico.core.errors import Answer, Refusal
from portico.core.exchange import Exchange
from portico.core.header_map import EditableHeaders, Headers
from portico.core.messages import IfAbsent, where_absent

_OWN: Final = frozenset({b"x-request-id"})
WITHOUT_CONTENT: Final = (204, 205, 304)
"""Statuses of responses that have none (RFC 9110, section 15)."""


class Head(Protocol):
    """What a body hook is given: the head of the request or of the response to which the body belongs."""

    @property
    def status(self) -> int | None:
        """A response's status; None for a request."""

    @property
    def headers(self) -> Headers:
        """Its fields."""


class RequestView:
    """The head of a request, for a hook that may filter its body."""

    __slots__ = ("headers",)

    status: Final = None

    def __init__(self, headers: Headers) -> None:
        self.headers = headers


def paged(exchange: Exchange, answer: Answer) -> Answer:
    """An answer of the gateway's own, in the form of the route's error pages if it has any."""
    match = exchange.match
    pages = match.pages if match.handling is None else match.handling.pages
    return answer if pages is None or not isinstance(answer, Refusal) else pages.page(exchange, answer)


def own_lines(exchange: Exchange, answer: Answer) -> list[bytes]:
    """The field lines of an answer of the gateway's own, and those that policies add."""
    if answer.is_complete:
        return answer.head_lines()
    lines, added = answer.head_lines(), exchange.response_lines
    error, handling = answer.proxy_error, exchange.match.handling
    if error is not None and handling is not None and handling.proxy_status is not None:
        lines.append(handling.proxy_status.line(error, exchange.upstream))
    if exchange.response_drop is not None and IfAbsent in map(type, added):
        return [*lines, *where_absent(added, {line.partition(b":")[0].lower() for line in lines})]
    return [*lines, *added]


class ResponseEdit:
    """A response's status and fields, and edits of them. `answer` is set where the gateway itself gives it.

    Subclasses give the field lines when they are first asked for: most hooks look at few responses.
    """

    # What changes with an edit has its first value here: no slots, so that each of these costs nothing until then.
    _headers: EditableHeaders | None = None
    answer: Answer | None = None
    _status_changed = False
    rules: Any = None
    """The rules of `transform` that apply to it, once they are known."""
    lines: list[bytes] | None = None
    """The field lines as edited, once `headers` was asked for."""

    def __init__(self, status: int) -> None:
        self._status = status

    def _unedited_lines(self) -> list[bytes]:
        raise NotImplementedError

    @property
    def is_own(self) -> bool:
        """Whether the gateway itself answers, in place of the service."""
        return self.answer is not None

    @property
    def status(self) -> int:
        """The status; it may be set to another final one that has a body where this one has."""
        return self._status

    @status.setter
    def status(self, status: int) -> None:
        if not isinstance(status, int) or not 200 <= status <= 599 or self._status < 200:
            raise ValueError(f"{status!r} cannot take the place of {self._status}: a status is from 200 to 599")
        if status == self._status:
            return
        if status in WITHOUT_CONTENT or self._status in WITHOUT_CONTENT:
            raise ValueError(
                f"{status} cannot take the place of {self._status}: one of them has no body; return an answer"
            )
        self._status = int(status)
        self._status_changed = True

    @property
    def changed(self) -> bool:
        """Whether anything was edited. The fields note it themselves: if they referred to this, only a collection of
        garbage would free the two, and with them the exchange."""
        return self._status_changed or (self._headers is not None and self._headers.is_edited)

    @property
    def headers(self) -> EditableHeaders:
        """Its fields; what the gateway adds to every response (Server-Timing, X-Request-ID, …) is not among them."""
        if self._headers is None:
            self.lines = lines = self._unedited_lines()
            names = [line.partition(b":")[0].lower() for line in lines]
            self._headers = EditableHeaders(names, lines, _OWN)
        return self._headers

    def drop(self, names: Collection[bytes]) -> None:
        """Remove fields by lower-cased names, also those that hooks may not."""
        self.headers.drop(names)

    def weaken_tag(self) -> None:
        """Make a strong entity tag a weak one (RFC 9110, section 8.8.3): the bytes are not the service's."""
        tag = self.headers.get("ETag")
        if tag is not None and not tag.startswith("W/"):
            self.headers.set("ETag", f"W/{tag}")


class AnswerEdit(ResponseEdit):
    """The same of an answer of the gateway's own."""

    answer: Answer

    def __init__(self, exchange: Exchange, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = paged(exchange, answer)
        self._exchange = exchange

    def _unedited_lines(self) -> list[bytes]:
        return own_lines(self._exchange, self.answer)
