"""JSON bodies that rules change, either way: which of them, and what becomes of their coding and their fields."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from portico.core.codings import ENCODED, CodingError, TooLargeError, UnknownCodingError, codings_of, decode, encode
from portico.core.errors import Answer, Refusal
from portico.core.exchange import Exchange
from portico.core.header_map import Headers
from portico.core.json_text import JsonEdit, JsonEditError, MergeValue, form_to_json
from portico.core.messages import RequestHead
from portico.observe.families import Counter
from portico.policies.head import Head, ResponseEdit
from portico.policies.plugins.reports import Reminders
from portico.policies.plugins.whole import is_incremental
from portico.policies.policy import BodyFilter, HookFailedError, WholeBody
from portico.policies.templates import Read
from portico.policies.transform.json_values import compiled
from portico.policies.transform.settings import JsonEdits, TransformSettings
from portico.policies.when import charset_of, media_type

logger: Final = logging.getLogger("portico.policies")

_FORM: Final = "application/x-www-form-urlencoded"
_LEVELS: Final[Mapping[bytes, int]] = {b"gzip": 5, b"br": 2, b"zstd": 3}
"""How much is done to make a body smaller that has to be coded anew."""
_NAMES: Final[Mapping[bytes, bytes]] = {b"x-gzip": b"gzip"}
_OF_BYTES: Final = frozenset(
    {b"content-length", b"content-md5", b"digest", b"content-digest", b"repr-digest", b"trailer"}
)
"""Fields of a request that are not true of another body; what its framing is, is written where it is sent."""

_BEFORE_JSON: Final = b" \t\n\r\x00\xef\xbb\xbf\xfe\xff"
_SEVERAL_TYPES: Final = Refusal("body_invalid", "the body has more than one Content-Type, and may be read as another")
PARTIAL: Final = 206
PARTS: Final = "multipart/byteranges"
"""The type of a 206 that has several parts, whatever the type of the whole is (RFC 9110, section 15.3.7.2)."""

Apply: TypeAlias = Callable[[bytes, Exchange], bytes]


def is_json(kind: str) -> bool:
    """Whether a media type is that of a JSON document (RFC 8259; RFC 6839, section 3.1)."""
    return kind in ("application/json", "text/json") or (kind.startswith("application/") and kind.endswith("+json"))


def _begins_like_json(body: bytes) -> bool:
    """Whether Python's `json` may read an object or array, in UTF-16 too, in a body of which nothing is said."""
    return body.lstrip(_BEFORE_JSON)[:1] in (b"{", b"[")


class BodyEdit(NamedTuple):
    """What one rule does to a body. A form is made JSON, and JSON is edited."""

    takes_form: bool
    edit: Apply | None

    def takes(self, kind: str) -> bool:
        """Whether a body of this media type is changed."""
        return (self.takes_form and kind == _FORM) or (self.edit is not None and is_json(kind))


def body_edit(takes_form: bool, edits: JsonEdits | None, captures: Mapping[str, Read]) -> BodyEdit | None:
    """What a rule does to bodies; None for nothing."""
    if edits is None:
        return BodyEdit(takes_form, None) if takes_form else None
    edit = JsonEdit(
        pick=edits.pick,
        remove=edits.remove,
        rename=edits.rename,
        set={pointer: compiled(value, captures) for pointer, value in edits.set.items()},
        merge=_patch(edits.merge, captures) if edits.merges else None,
        wrap=edits.wrap,
    )
    return BodyEdit(takes_form, edit.apply)


def _patch(written: Any, captures: Mapping[str, Read]) -> MergeValue:
    """A merge patch, of which the names are known beforehand."""
    if isinstance(written, Mapping):
        return {name: _patch(member, captures) for name, member in written.items()}
    return compiled(written, captures)


class _UnchangeableError(Exception):
    """A body stays as it is: `why` is a word for the metric, `detail` a sentence."""

    def __init__(self, why: str, detail: str) -> None:
        super().__init__(detail)
        self.why = why
        self.detail = detail


class Bodies:
    """Changes whole bodies by rules, and sees to those that cannot be changed."""

    def __init__(self, settings: TransformSettings, skipped: Counter | None) -> None:
        self.max_size = settings.max_body
        self.refuses = settings.otherwise == "refuse"
        self._skipped = skipped
        self._events = Reminders()

    def changed(
        self,
        body: bytes,
        codings: Sequence[bytes],
        kind: str,
        edits: Sequence[BodyEdit],
        exchange: Exchange,
        charset: str = "utf-8",
    ) -> tuple[bytes, Sequence[bytes], str]:
        """The body, the codings that are applied to it, and its media type, once all edits are made.

        `charset` is that of a form. Raises _UnchangeableError for one that is too large or in an unknown coding, and
        JsonEditError.
        """
        plain = self._decoded(body, codings) if codings else body
        if len(plain) > self.max_size:
            raise self.too_large()
        changed = plain
        for each in edits:
            if each.takes_form and kind == _FORM:
                changed, kind = form_to_json(changed, charset), "application/json"
            if each.edit is not None and (is_json(kind) or (not kind and _begins_like_json(changed))):
                changed = each.edit(changed, exchange)
        if changed == plain:
            return body, codings, kind
        codings = [_NAMES.get(coding, coding) for coding in codings]
        if any(coding not in ENCODED for coding in codings):
            return changed, (), kind
        for coding in codings:
            changed = encode(changed, coding, _LEVELS[coding])
        return changed, codings, kind

    def _decoded(self, body: bytes, codings: Sequence[bytes]) -> bytes:
        try:
            return decode(body, codings, self.max_size)
        except UnknownCodingError as error:
            raise _UnchangeableError("coding", f"a body in the coding {error} cannot be read") from None
        except TooLargeError:
            raise self.too_large() from None
        except CodingError as error:
            raise JsonEditError(f"the body is not what Content-Encoding says: {error}") from None

    def too_large(self) -> _UnchangeableError:
        """Why a large body stays as it is."""
        return _UnchangeableError("size", f"a body is larger than {self.max_size} bytes")

    def skip(self, exchange: Exchange, direction: str, why: str, detail: str) -> None:
        """Count a body that stays as it is, and say so now and then."""
        service, route = exchange.match.handling.service_name, exchange.match.route.name
        if self._skipped is not None:
            self._skipped.inc(service=service, direction=direction, why=why)
        if not self.refuses and self._events.left_out((route, direction, why)) is not None:
            extra = {"route": route, "request_id": exchange.request_id}
            logger.warning("a rule of transform changed no %s: %s", direction, detail, extra=extra)


# ---- requests


class RequestBodies(Bodies):
    """The bodies of requests: they are changed before the request is forwarded, or looked for in a cache."""

    def begin(self, exchange: Exchange, edits: Sequence[BodyEdit]) -> Answer | WholeBody | None:
        """Change the body if it is there, or wait for it if a rule is for it."""
        request = exchange.request
        assert request is not None
        if not request.framing:
            return None
        kind = media_type(_value(request, b"content-type"))
        if not any(each.takes(kind) or (not kind and each.edit is not None) for each in edits):
            return None
        if exchange.content:
            return self.finish(exchange, edits, kind, exchange.content)
        if request.framing > self.max_size:
            return self.leave(exchange, self.too_large())
        if is_incremental(Headers(request.fields.names, request.fields.lines)):
            detail = "its sender wants it to be passed on piece by piece"
            return self.leave(exchange, _UnchangeableError("incremental", detail))
        return _Awaited(self, exchange, edits, kind)

    def refusal(self, exchange: Exchange) -> Answer | None:
        """What is said to a request that a service may read as another type than rules do (RFC 9110, section 5.3)."""
        request = exchange.request
        assert request is not None
        return _SEVERAL_TYPES if request.framing and request.fields.names.count(b"content-type") > 1 else None

    def finish(self, exchange: Exchange, edits: Sequence[BodyEdit], kind: str, body: bytes) -> Answer | None:
        """Put the changed body in the place of a whole one."""
        request = exchange.request
        assert request is not None
        codings = codings_of(request.fields.all(b"content-encoding"))
        try:
            charset = charset_of(_value(request, b"content-type")) if kind == _FORM else "utf-8"
            changed, left, new_kind = self.changed(body, codings, kind, edits, exchange, charset)
        except _UnchangeableError as error:
            return self.leave(exchange, error)
        except JsonEditError as error:
            return Refusal("body_invalid", f"the body cannot be changed as it has to be here: {error.reason}")
        if changed is body:
            return None
        drops, lines = _OF_BYTES, []
        if tuple(left) != tuple(codings):
            drops |= {b"content-encoding"}
            if left:
                lines.append(b"Content-Encoding: " + b", ".join(left))
        if new_kind != kind:
            drops |= {b"content-type"}
            lines.append(b"Content-Type: " + new_kind.encode())
        exchange.content = changed
        fields = request.fields.changed(drops.__contains__, lines)
        exchange.request = request.changed(fields=fields, framing=len(changed))
        return None

    def leave(self, exchange: Exchange, error: _UnchangeableError) -> Answer | None:
        """What becomes of a request whose body cannot be changed."""
        self.skip(exchange, "request", error.why, error.detail)
        if not self.refuses:
            return None
        if error.why == "coding":
            return Refusal("coding_unsupported", error.detail, (b"Accept-Encoding: zstd, br, gzip, deflate",))
        reason = "incremental_refused" if error.why == "incremental" else "body_too_large"
        return Refusal(reason, error.detail)


class _Awaited(WholeBody):
    """The verdict on a request whose body is still to come."""

    __slots__ = ("_bodies", "_edits", "_exchange", "_kind")

    def __init__(self, bodies: RequestBodies, exchange: Exchange, edits: Sequence[BodyEdit], kind: str) -> None:
        self._bodies = bodies
        self._exchange = exchange
        self._edits = edits
        self._kind = kind
        self.max_size = bodies.max_size

    def complete(self, body: bytes) -> None:
        self.settle(self._bodies.finish(self._exchange, self._edits, self._kind, body) if body else None)

    def too_large(self) -> None:
        self.settle(self._bodies.leave(self._exchange, self._bodies.too_large()))


def _value(request: RequestHead, name: bytes) -> str:
    return (request.fields.get(name) or b"").decode("latin-1")


# ---- responses


class ResponseBodies(Bodies):
    """The bodies of services' responses."""

    def filter(self, exchange: Exchange, head: Head, edits: Sequence[BodyEdit]) -> BodyFilter | None:
        """What a response's body passes; None where no rule is for it. Raises HookFailedError."""
        headers = head.headers
        kind = media_type(headers.get("Content-Type", ""))
        if not (head.status == PARTIAL and kind == PARTS):  # those are of a type that only the whole says
            edits = [each for each in edits if each.takes(kind)]
        if not edits:
            return None
        length = headers.get("Content-Length", "")
        if length == "0":
            return None
        if length.isascii() and length.isdecimal() and int(length) > self.max_size:
            self.leave(exchange, self.too_large())
            return None
        if is_incremental(headers):
            detail = "its sender wants it to be passed on piece by piece"
            self.leave(exchange, _UnchangeableError("incremental", detail))
            return None
        assert isinstance(head, ResponseEdit)
        return _Filter(self, exchange, head, edits, kind)

    def leave(self, exchange: Exchange, error: _UnchangeableError) -> None:
        """Let a response pass as it is. Raises HookFailedError where it is to be refused."""
        self.skip(exchange, "response", error.why, error.detail)
        if self.refuses:
            detail = f"the service's response may not pass as it is: {error.detail}"
            raise HookFailedError(Refusal("upstream_malformed", detail, proxy_error=_PROXY_ERRORS.get(error.why)))


_PROXY_ERRORS: Final[Mapping[str, str]] = {
    "size": "http_response_body_size",
    "coding": "http_response_content_coding",
    "incremental": "incremental_refused",
}
"""What `Proxy-Status` calls them (RFC 9209, section 2.3)."""


class _Filter:
    """Keeps a response's body until its end, and lets it pass once it is too large."""

    holds_head: Final = True

    def __init__(
        self, bodies: ResponseBodies, exchange: Exchange, head: ResponseEdit, edits: Sequence[BodyEdit], kind: str
    ) -> None:
        self._bodies = bodies
        self._exchange = exchange
        self._head = head
        self._edits = edits
        self._kind = kind
        self._kept: list[bytes] | None = []
        self._size = 0
        self.changed = True

    def feed(self, data: bytes) -> bytes:
        if self._kept is None:
            return data
        self._kept.append(data)
        self._size += len(data)
        if self._size <= self._bodies.max_size:
            return b""
        return self._left(self._bodies.too_large())

    def end(self) -> bytes:
        if self._kept is None:
            return b""
        body, headers = b"".join(self._kept), self._head.headers
        codings = codings_of(value.encode("latin-1") for value in headers.get_all("Content-Encoding"))
        if not body:
            return self._left(None)
        try:
            changed, left, _ = self._bodies.changed(body, codings, self._kind, self._edits, self._exchange)
        except _UnchangeableError as error:
            return self._left(error)
        except JsonEditError as error:
            return self._left(_UnchangeableError("invalid", error.reason))
        if changed is body:
            return self._left(None)
        if tuple(left) != tuple(codings):
            self._head.drop((b"content-encoding",))
            if left:
                headers.set("Content-Encoding", b", ".join(left).decode())
        return changed

    def _left(self, why: _UnchangeableError | None) -> bytes:
        """The body as it came."""
        assert self._kept is not None
        kept, self._kept = self._kept, None
        self.changed = False
        if why is not None:
            self._bodies.leave(self._exchange, why)
        return b"".join(kept)
