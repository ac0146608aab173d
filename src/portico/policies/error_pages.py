"""Own pages for errors, by status and by what the client accepts, in place of problem documents.

It is no link of the chain: an answer of the gateway's own takes the page's form where it is sent. Only where pages also
stand in for errors of the service is there a response hook, which sees responses after all other hooks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, ClassVar, Final, Literal, NamedTuple, NewType, Self, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from portico.core.caches import remembered
from portico.core.errors import PHRASES, Answer, Refusal
from portico.core.exchange import Exchange
from portico.core.media import preferred
from portico.core.settings import NotEmpty, Settings
from portico.policies.error_templates import Template, html_template, json_object, json_template, text_template
from portico.policies.head import ResponseEdit
from portico.policies.policy import Hooks

_STATUS: Final = re.compile(r"[45](?:\d\d|xx)")
_STATUSES: Final = range(400, 600)
_VARY: Final = b"Vary: Accept"
_NOT_EMPTY: Final = NotEmpty("write the path of a file, or leave it out")
_FORMS: Final = ("json_", "html", "text")
_REMEMBERED: Final = 256
"""Bytes of an Accept whose outcome is remembered."""
_OF_CONTENT: Final = frozenset(
    {
        *(b"content-type", b"content-encoding", b"content-language", b"content-length", b"content-location"),
        *(b"content-range", b"content-disposition", b"content-md5", b"digest", b"content-digest", b"repr-digest"),
        *(b"etag", b"last-modified", b"accept-ranges", b"date"),
    }
)
"""Fields about the content of a service's error, which is replaced."""


FileName = NewType("FileName", str)
"""The name of a file, relative to the configuration's."""


def _as_file(value: Any) -> Any:
    return {"file": value} if isinstance(value, str) else value


def _as_object(value: Any) -> Any:
    return json_object(value) if isinstance(value, str) and value.lstrip().startswith("{") else value


class Content(Settings):
    """The text of a page: that of a `file`, relative to the configuration's, or `body` itself."""

    file: Annotated[FileName | None, Field(min_length=1)] = None
    """A file with the text, relative to the configuration's."""
    body: str | None = None
    """The text itself."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.file is None) == (self.body is None):
            raise ValueError("write the path of a file, or body and the text itself")
        return self


ContentField: TypeAlias = Annotated[Content, BeforeValidator(_as_file, json_schema_input_type=str | Content)]


class Representations(Settings):
    """The forms in which an error is sent: of each a file or the text itself, of JSON a file or the object itself.

    `{status}`, `{title}`, `{reason}`, `{detail}` and `{request_id}` in them stand for what is known of the error.
    """

    html: Annotated[ContentField | None, _NOT_EMPTY] = None
    """The page for clients that prefer HTML: the path of a file, or the text itself as `{body: …}`."""
    text: Annotated[ContentField | None, _NOT_EMPTY] = None
    """What is sent as plain text, written in the same way."""
    json_: Annotated[
        Annotated[FileName, Field(min_length=1)] | Annotated[dict[str, Any], Field(min_length=1)] | None,
        BeforeValidator(_as_object, json_schema_input_type=str | dict[str, Any]),
        Field(alias="json"),
        _NOT_EMPTY,
    ] = None
    """What is sent as JSON: the path of a file, or the object itself."""

    @property
    def forms(self) -> dict[str, Any]:
        """Those that are written, by their fields, the first for who wants nothing in particular."""
        return {name: form for name in _FORMS if (form := getattr(self, name)) is not None}


class PageSettings(Representations):
    """What is sent with one status, or with all of a class; with `intercept` also in place of a service's own."""

    intercept: bool = False
    """Whether it also takes the place of services' own errors."""


def _status(text: str) -> str:
    if not _STATUS.fullmatch(text.lower()):
        raise ValueError("expected a status such as 404, or 4xx or 5xx for all that begin so")
    return text.lower()


def _off_or_page(value: Any) -> Any:
    if value is None:
        raise ValueError("nothing is written after the colon: write {html: FILE}, or false for the usual answer")
    return None if value is False else value


def _with_pages(written: dict[str, PageSettings | None]) -> dict[str, PageSettings | None]:
    for key, own in written.items():
        group = written.get(key[0] + "xx")
        if own is not None and own.intercept and not (own.forms or (group and group.forms)):
            raise ValueError(f"{key} has intercept, and no html, json or text to take the place of a service's errors")
    return written


ErrorsSettings: TypeAlias = Annotated[
    dict[
        Annotated[str, AfterValidator(_status)],
        Annotated[
            PageSettings | None,
            BeforeValidator(_off_or_page, json_schema_input_type=PageSettings | Literal[False]),
        ],
    ],
    AfterValidator(_with_pages),
]
"""Pages by status; one status may turn off what its class has."""


def errors_over(own: Any, base: Any) -> Any:
    """What one level says over what the levels above say: form by form of each status."""
    if isinstance(own, bool) or own == {}:
        return base
    if not isinstance(own, dict) or not isinstance(base, dict):
        return own
    merged = {key.lower(): value for key, value in base.items()}
    for key, value in own.items():
        above = merged.get(key.lower())
        both = {**above, **value} if isinstance(value, dict) and isinstance(above, dict) else value
        merged[key.lower()] = both
    return merged


class _Form(NamedTuple):
    """One representation. Without a template it is what there is without pages."""

    kinds: tuple[bytes, ...]
    """The media types by which it may be asked for; by the first it is sent."""
    template: Template | None = None

    @property
    def line(self) -> bytes:
        charset = b"; charset=utf-8" if self.kinds[0].startswith(b"text/") else b""
        return b"Content-Type: " + self.kinds[0] + charset


_PROBLEM: Final = (b"application/problem+json", b"application/json")
_PLAIN: Final = _Form(_PROBLEM)


class _Page:
    """The forms of one status; the first for who wants nothing in particular."""

    def __init__(self, forms: Mapping[str, Any], intercepts: bool, texts: Mapping[str, str]) -> None:
        made = [_form(name, forms[name], texts) for name in _FORMS if name in forms]
        self.forms = tuple(made) if "json_" in forms else (_PLAIN, *made)
        self.intercepts = intercepts
        offered = tuple(form.kinds for form in self.forms)
        self._choice: Callable[[bytes], int | None] = partial(_preferred, offered)
        self._known_choice: Callable[[bytes], int | None] = remembered(256)(self._choice)

    @property
    def varies(self) -> bool:
        """Whether it depends on the client."""
        return len(self.forms) > 1

    def form_for(self, exchange: Exchange) -> _Form:
        """The form that the client wants; one that wants none of them gets the first."""
        request = exchange.request
        accept = b"" if request is None else b",".join(request.fields.all(b"accept"))
        choice = self._known_choice if len(accept) <= _REMEMBERED else self._choice
        return self.forms[choice(accept) or 0]


def _preferred(offered: tuple[tuple[bytes, ...], ...], accept: bytes) -> int | None:
    return preferred(accept, offered)


def _form(name: str, written: Any, texts: Mapping[str, str]) -> _Form:
    """A form as written; `texts` are those of the files that were read."""
    if name == "json_":
        value = json_object(texts[written]) if isinstance(written, str) else written
        is_problem = not {"type", "title"}.isdisjoint(value)
        return _Form(_PROBLEM if is_problem else _PROBLEM[::-1], json_template(value))
    text = written.body if written.file is None else texts[written.file]
    if name == "html":
        return _Form((b"text/html",), html_template(text))
    return _Form((b"text/plain",), text_template(text))


class PageAnswer(Answer):
    """A refusal in the form of a page."""

    __slots__ = ("_form", "_refusal")

    def __init__(self, refusal: Refusal, form: _Form) -> None:
        super().__init__(refusal.status, refusal.lines, reason=refusal.reason)
        self._refusal = refusal
        self._form = form

    def head_lines(self) -> list[bytes]:
        return [*self.lines, self._form.line, b"Cache-Control: no-store"]

    def content(self, path: str, request_id: str, status: int) -> bytes:  # noqa: ARG002
        return _filled(self._form, status, request_id, str(self.reason), self._refusal.detail)

    @property
    def proxy_error(self) -> str | None:
        return self._refusal.proxy_error


class InterceptedAnswer(Answer):
    """A page in place of a service's error, with those of its fields that are not about its content."""

    __slots__ = ("_form",)

    is_complete: ClassVar[bool] = True

    def __init__(self, status: int, lines: list[bytes], form: _Form) -> None:
        super().__init__(status, [*lines, form.line])
        self._form = form

    def content(self, path: str, request_id: str, status: int) -> bytes:  # noqa: ARG002
        return _filled(self._form, status, request_id, "", "")


def _filled(form: _Form, status: int, request_id: str, reason: str, detail: str) -> bytes:
    assert form.template is not None
    title = PHRASES.get(status, reason)
    values = {"status": str(status), "title": title, "reason": reason, "detail": detail, "request_id": request_id}
    return form.template(values)


class ErrorPages:
    """The pages of a route, compiled; `texts` are those of the files that the settings name."""

    __slots__ = ("_pages",)

    def __init__(self, settings: Mapping[str, PageSettings | None], texts: Mapping[str, str]) -> None:
        kept: dict[tuple[int, int], _Page | None] = {}
        self._pages: dict[int, _Page] = {}
        for status in _STATUSES:
            group, own = settings.get(f"{status // 100}xx"), settings.get(str(status))
            if str(status) in settings and own is None:
                continue
            key = (id(group), id(own))
            if key not in kept:
                kept[key] = _page(group, own, texts)
            if (page := kept[key]) is not None:
                self._pages[status] = page

    def page(self, exchange: Exchange, refusal: Refusal) -> Answer:
        """The refusal in the form that the client wants."""
        page = self._pages.get(refusal.status)
        if page is None:
            return refusal
        if page.varies and _VARY not in exchange.response_lines:
            exchange.response_lines += (_VARY,)
        form = page.form_for(exchange)
        return refusal if form.template is None else PageAnswer(refusal, form)

    @property
    def hooks(self) -> Hooks | None:
        """What sees services' responses, where pages take the place of their errors."""
        if not any(page.intercepts for page in self._pages.values()):
            return None
        return Hooks(response=self._intercept, sees=_never)

    def _intercept(self, exchange: Exchange, edit: ResponseEdit) -> Answer | None:
        page = self._pages.get(edit.status)
        if page is None or not page.intercepts:
            return None
        if page.varies:
            edit.headers.add("Vary", "Accept")
        form = page.form_for(exchange)
        if form.template is None:
            return None
        edit.drop(_OF_CONTENT)
        assert edit.lines is not None
        return InterceptedAnswer(edit.status, edit.lines, form)


def _never(exchange: Exchange) -> bool:  # noqa: ARG001
    return False


def _page(group: PageSettings | None, own: PageSettings | None, texts: Mapping[str, str]) -> _Page | None:
    """The page of a status, from what is written for its class and for itself."""
    written = [each for each in (group, own) if each is not None]
    forms = {name: form for each in written for name, form in each.forms.items()}
    said = [each.intercept for each in written if "intercept" in each.model_fields_set]
    return _Page(forms, bool(said and said[-1]), texts) if forms else None
