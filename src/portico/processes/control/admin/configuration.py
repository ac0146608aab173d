"""The configuration over the admin API: `/admin/config`, seen, tried and changed, and its history."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from portico.processes.control.admin.guard import caller_of
from portico.processes.control.bound import Bound
from portico.processes.control.configuration.cause import Cause
from portico.processes.control.configuration.configuration import Applied
from portico.processes.control.configuration.errors import RefusedError, described
from portico.processes.control.configuration.history import Entry
from portico.processes.control.configuration.proposed import Sent
from portico.processes.control.problems import problem
from portico.processes.control.state import State

_AT_ONCE: Final = 4
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


def configuration_routes(state: State) -> APIRouter:
    """The routes below `/admin/config`."""
    router = APIRouter(prefix="/admin/config", dependencies=[Depends(Bound(_AT_ONCE))])
    _add_documents(router, state)
    _add_history(router, state)
    return router


def _add_documents(router: APIRouter, state: State) -> None:

    @router.get("", response_model=None)
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

    @router.put("", response_model=None)
    @router.post("/apply", response_model=None)
    async def apply(
        request: Request, dry_run: Annotated[bool, Query()] = False, why: Annotated[str, Query()] = ""
    ) -> Response:
        """Have a document come into force: in the file and in every worker, or nowhere."""
        try:
            cause = cause_of(request, "apply", why)
            sent, tags = await _sent(request), request.headers.getlist("if-match")
            return _applied(await state.configuration.apply(sent, tags, cause, dry_run=dry_run), state.generation)
        except RefusedError as error:
            return _refusal(error)

    @router.post("/validate", response_model=None)
    async def validate(request: Request) -> dict[str, Any] | Response:
        """Whether a document could come into force, and what in it is worth a look."""
        try:
            warnings = await state.configuration.validate(await _sent(request))
        except RefusedError as error:
            return _refusal(error, {"valid": False} if error.status == 422 else {})
        return {"generation": state.generation, "valid": True, "warnings": [*map(described, warnings)]}

    @router.post("/plan", response_model=None)
    async def plan(request: Request) -> dict[str, Any] | Response:
        """What a document would change."""
        try:
            found = await state.configuration.plan(await _sent(request))
        except RefusedError as error:
            return _refusal(error)
        return {"generation": state.generation, "changes": [change.as_data() for change in found.changes]}


def _add_history(router: APIRouter, state: State) -> None:
    @router.post("/rollback", response_model=None)
    async def rollback(request: Request, dry_run: Annotated[bool, Query()] = False) -> Response:
        """Have an earlier configuration come into force again."""
        try:
            wanted = msgspec.json.decode(await _body(request) or b"{}", type=_Rollback)
            cause, tags = cause_of(request, "rollback", wanted.why), request.headers.getlist("if-match")
            return _applied(
                await state.configuration.rollback(wanted.to, tags, cause, dry_run=dry_run), state.generation
            )
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return problem(422, str(error))
        except RefusedError as error:
            return _refusal(error)

    @router.get("/history")
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

    @router.get("/history/{number}", response_model=None)
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
    }


def _applied(done: Applied, generation: int) -> Response:
    return _with_tag(JSONResponse(done.as_data()), done.etag, generation)


def _with_tag(response: Response, tag: str, generation: int) -> Response:
    response.headers["ETag"] = tag
    response.headers["Portico-Generation"] = str(generation)
    response.headers["Cache-Control"] = "no-cache"
    response.headers["Vary"] = "Accept"
    return response


def _refusal(error: RefusedError, more: dict[str, Any] | None = None) -> Response:
    return problem(error.status, error.detail, more={**(more or {}), **error.more})


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
    async for piece in request.stream():
        pieces.append(piece)
        size += len(piece)
        if size > _MOST:
            raise RefusedError(413, f"a document has {_MOST >> 20} MiB at most")
    return b"".join(pieces)
