"""The configuration over the admin API: `/admin/config`, seen, tried and changed, and its history."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.requests import ClientDisconnect

from portico.processes.control.admin.bodies import schema_of
from portico.processes.control.admin.configuration_models import (
    AppliedPage,
    HistoryEntryPage,
    HistoryPage,
    InvalidModel,
    OutdatedModel,
    PlanPage,
    ValidPage,
)
from portico.processes.control.admin.guard import caller_of
from portico.processes.control.admin.openapi import shows
from portico.processes.control.bound import Bound
from portico.processes.control.configuration.cause import Cause
from portico.processes.control.configuration.errors import RefusedError, described
from portico.processes.control.configuration.history import Entry
from portico.processes.control.configuration.proposed import Sent
from portico.processes.control.problems import problem
from portico.processes.control.state import State

_AT_ONCE: Final = 32
_MOST: Final = 16 << 20
"""Bytes of a document: ten times one with ten thousand routes."""
_YAML: Final = "application/yaml"
_YAMLS: Final = frozenset({_YAML, "application/x-yaml", "text/yaml", "text/x-yaml", "text/plain"})
_JSON: Final = "application/json"
_LONGEST: Final = 1000
"""Characters of what somebody says about a change."""


class _Rollback(msgspec.Struct, forbid_unknown_fields=True):
    """To which entry of the history; to the one before without a number."""

    to: int | None = None
    why: str = ""


_ANY_DOCUMENT: Final = {
    _JSON: {"schema": {"type": "object", "description": "A configuration as `portico schema` describes it."}},
    _YAML: {"schema": {"type": "string"}},
}
_DOCUMENT: Final[dict[str, Any]] = {
    "response_model": None,
    "responses": {200: {"description": "What is in force.", "content": _ANY_DOCUMENT}},
}
_SENT: Final = {"requestBody": {"required": True, "content": _ANY_DOCUMENT}}
_APPLIED: Final = shows(AppliedPage, problems={412: OutdatedModel, 422: InvalidModel})
_VALID: Final = shows(ValidPage, problems={422: InvalidModel})


def configuration_routes(state: State) -> APIRouter:
    """The routes below `/admin/config`."""
    router = APIRouter(prefix="/admin/config", tags=["configuration"], dependencies=[Depends(Bound(_AT_ONCE))])
    _add_documents(router, state)
    _add_trials(router, state)
    _add_history(router, state)
    return router


def _add_documents(router: APIRouter, state: State) -> None:
    @router.get("", **_DOCUMENT)
    async def show(request: Request, form: str | None = None) -> Response:
        """What is in force: keys and values without secrets; with `form=file`, or as YAML, the text of its file."""
        try:
            if form == "file" or (form is None and _wants_yaml(request)):
                text, tag = await state.configuration.text()
                return _with_tag(PlainTextResponse(text, media_type=_YAML), tag, state.generation)
            if form not in (None, "json"):
                return problem(400, "form is json or file")
            document, tag = await state.configuration.shown()
            return _with_tag(JSONResponse(document), tag, state.generation)
        except RefusedError as error:
            return _refusal(error)

    @router.put("", **_APPLIED, openapi_extra=_SENT)
    @router.post("/apply", **_APPLIED, openapi_extra=_SENT, name="apply-by-post")
    async def apply(
        request: Request,
        dry_run: Annotated[bool, Query()] = False,
        why: Annotated[str, Query()] = "",
        name: Annotated[str, Query()] = "",
    ) -> Response:
        """Have a document come into force: in the file and in every worker, or nowhere."""
        try:
            cause = cause_of(request, "apply", why)
            state.audit.record(request, "config apply", cause.why)
            sent, tags = await _sent(request), request.headers.getlist("if-match")
            done = await state.configuration.apply(sent, tags, cause, dry_run=dry_run)
        except RefusedError as error:
            return _refusal(error, called=_called(state, name))
        state.audit.record(request, "config apply", cause.why, "only tried" if dry_run else done.in_short)
        return _with_tag(JSONResponse(_called(state, name)(done.as_data())), done.etag, state.generation)


def _add_trials(router: APIRouter, state: State) -> None:
    @router.post("/validate", **_VALID, openapi_extra=_SENT)
    async def validate(request: Request, name: Annotated[str, Query()] = "") -> dict[str, Any] | Response:
        """Whether a document could come into force, and what in it is worth a look."""
        try:
            warnings = await state.configuration.validate(await _sent(request))
        except RefusedError as error:
            return _refusal(error, {"valid": False} if error.status == 422 else {}, _called(state, name))
        found = {"generation": state.generation, "valid": True, "warnings": [*map(described, warnings)]}
        answer: dict[str, Any] = _called(state, name)(found)
        return answer

    @router.post("/plan", **shows(PlanPage), openapi_extra=_SENT)
    async def plan(request: Request, name: Annotated[str, Query()] = "") -> dict[str, Any] | Response:
        """What a document would change."""
        try:
            found = await state.configuration.plan(await _sent(request))
        except RefusedError as error:
            return _refusal(error, called=_called(state, name))
        changes = _called(state, name)([change.as_data() for change in found.changes])
        return {"generation": state.generation, "changes": changes}


def _add_history(router: APIRouter, state: State) -> None:
    @router.post("/rollback", **_APPLIED, openapi_extra=schema_of(_Rollback, required=False))
    async def rollback(request: Request, dry_run: Annotated[bool, Query()] = False) -> Response:
        """Have an earlier configuration come into force again."""
        try:
            wanted = msgspec.json.decode(await _body(request) or b"{}", type=_Rollback)
            cause, tags = cause_of(request, "rollback", wanted.why), request.headers.getlist("if-match")
            state.audit.record(request, "config rollback", cause.why)
            done = await state.configuration.rollback(wanted.to, tags, cause, dry_run=dry_run)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return problem(422, str(error))
        except RefusedError as error:
            return _refusal(error)
        state.audit.record(request, "config rollback", cause.why, "only tried" if dry_run else done.in_short)
        return _with_tag(JSONResponse(done.as_data()), done.etag, state.generation)

    @router.get("/history", **shows(HistoryPage))
    async def history() -> dict[str, Any]:
        """The configurations that were in force, the newest first, and where they are kept."""
        entries = await state.configuration.history()
        directory, why_not = state.configuration.kept_in
        return {
            "generation": state.generation,
            "directory": str(directory),
            "not_kept": why_not or None,
            "entries": [_entry(each) for each in entries],
        }

    @router.get("/history/{number}", **shows(HistoryEntryPage))
    async def entry(number: int) -> dict[str, Any] | Response:
        """One of them, with its text without secrets, and what it changed."""
        try:
            found, text = await state.configuration.entry(number)
        except RefusedError as error:
            return _refusal(error)
        return {"generation": state.generation, **_entry(found), "changes": found.changes, "text": text}


def cause_of(request: Request, action: str, why: str = "") -> Cause:
    """Who asks for a change, and what they say about it."""
    user = request.headers.get("x-portico-user", "")
    return Cause(action, caller_of(request).name, _printable(user)[:100], _printable(why)[:_LONGEST])


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text)


def _entry(entry: Entry) -> dict[str, Any]:
    return {
        "number": entry.number,
        "when": datetime.fromtimestamp(entry.when, UTC).isoformat(timespec="seconds"),
        "action": entry.action,
        "state": entry.state,
        "who": entry.who,
        "user": entry.user,
        "why": entry.why,
        "generation": entry.generation,
        "tag": entry.tags[0] if entry.tags else "",
        "changes": entry.total,
        "summary": entry.summary,
        "files": sorted(entry.files),
        "release": entry.release,
    }


def _with_tag(response: Response, tag: str, generation: int) -> Response:
    response.headers["ETag"] = tag
    response.headers["Portico-Generation"] = str(generation)
    response.headers["Cache-Control"] = "no-cache"
    response.headers["Vary"] = "Accept"
    return response


def _refusal(
    error: RefusedError, more: dict[str, Any] | None = None, called: Callable[[Any], Any] = lambda value: value
) -> Response:
    return problem(error.status, called(error.detail), more=called({**(more or {}), **error.more}))


def _called(state: State, name: str) -> Callable[[Any], Any]:
    """Calls the document as its sender does, in messages."""
    own = str(state.config_path or "portico.yaml")
    return lambda value: _renamed(value, own, _printable(name)[:_LONGEST]) if name else value


def _renamed(value: Any, filename: str, name: str) -> Any:
    """The same with another name of the file, wherever a text begins with it."""
    if isinstance(value, str):
        return re.sub(rf"(?m)^{re.escape(filename)}(?=:|$)", lambda _: name, value)
    if isinstance(value, dict):
        return {key: _renamed(part, filename, name) for key, part in value.items()}
    return [_renamed(part, filename, name) for part in value] if isinstance(value, list) else value


def _wants_yaml(request: Request) -> bool:
    """Whether YAML is asked for, and JSON is not."""
    accepted = {part.partition(";")[0].strip().lower() for part in request.headers.get("accept", "").split(",")}
    return bool(accepted & _YAMLS) and not accepted & {_JSON, "*/*", "application/*"}


async def _sent(request: Request) -> Sent:
    """The document in a request. Raises RefusedError where it cannot be read as one."""
    written = request.headers.get("content-type", "")
    kind, _, parameters = written.partition(";")
    kind = kind.strip().lower()
    charset = re.search(r'charset\s*=\s*"?([^\s";]+)', parameters, re.IGNORECASE)
    if charset is not None and charset[1].lower() not in ("utf-8", "utf8", "us-ascii"):
        raise RefusedError(415, f"the document has to be UTF-8, and not {charset[1][:40]!a}")
    if kind and kind != _JSON and kind not in _YAMLS:
        raise RefusedError(415, f"say what is sent: Content-Type: {_YAML} or {_JSON}, and not {kind[:80]!a}")
    if coding := request.headers.get("content-encoding"):
        raise RefusedError(415, f"send the document without Content-Encoding: {coding[:40]!a} is not read")
    body = await _body(request)
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = body.count(b"\n", 0, error.start) + 1, error.start - body.rfind(b"\n", 0, error.start)
        raise RefusedError(
            422, f"{line}:{column}: not UTF-8 text: the byte {body[error.start]:#04x} does not belong there"
        ) from None
    return Sent(text, kind == _JSON, is_careful=not caller_of(request).can_write)


async def _body(request: Request) -> bytes:
    """The body. Raises RefusedError where it is larger than any configuration."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > _MOST:
        raise RefusedError(413, f"a document has {_MOST >> 20} MiB at most")
    pieces, size = [], 0
    try:
        async for piece in request.stream():
            pieces.append(piece)
            size += len(piece)
            if size > _MOST:
                raise RefusedError(413, f"a document has {_MOST >> 20} MiB at most")
    except ClientDisconnect:
        raise RefusedError(400, "the document was cut off") from None
    return b"".join(pieces)
