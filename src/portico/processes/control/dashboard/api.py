"""The admin API as pages ask it: within this process, with the token of who is signed in.

What a page shows and does is thus what the API says and does: the same checks, the same entry in the audit log.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import httpx
import msgspec
from starlette.types import ASGIApp

from portico.processes.control.dashboard.sessions import Session

_HOST: Final = "http://localhost"


class ApiError(Exception):
    """The admin API did not do it: the status, what is wrong in words, and the whole document."""

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        super().__init__(str(document.get("detail") or document.get("title") or f"status {status}"))
        self.status = status
        self.document = document


class Answer(dict[str, Any]):
    """The document of an answer, and its ETag."""

    etag = ""


class Api:
    """Asks for one session; `admin` is the whole admin API, with its guard. `client` is where the browser is."""

    def __init__(self, admin: ASGIApp, session: Session, client: tuple[str, int] | None = None) -> None:
        self._admin = admin
        self._client = client or ("127.0.0.1", 0)
        self._headers = {b"accept": b"application/json", **credentials(session)}  # events would be an endless stream

    async def get(self, path: str, query: Mapping[str, Any] | None = None) -> Answer:
        """Raises ApiError."""
        return await self.send("GET", path, query=query)

    async def post(
        self, path: str, document: Any = None, headers: Mapping[str, str] | None = None, *, text: str | None = None
    ) -> Answer:
        """Send a JSON document, or a text as it is. Raises ApiError."""
        content = text.encode() if text is not None else msgspec.json.encode(document) if document is not None else b""
        return await self.send("POST", path, content=content, headers=headers)

    async def text(self, path: str, accept: str) -> tuple[str, str]:
        """A text and its ETag. Raises ApiError."""
        answer = await self._asked("GET", path, headers={"Accept": accept})
        return answer.text, answer.headers.get("ETag", "")

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Raises ApiError."""
        fields = {"Content-Type": "application/json", **(headers or {})}
        answer = await self._asked(method, path, query=query, content=content, headers=fields)
        document = _document(answer)
        found = Answer(document if isinstance(document, dict) else {"items": document})
        found.etag = answer.headers.get("ETag", "")
        return found

    async def _asked(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        fields = {name.encode(): value.encode() for name, value in (headers or {}).items()}
        transport = httpx.ASGITransport(app=self._admin, client=self._client)
        async with httpx.AsyncClient(transport=transport, base_url=_HOST, headers=self._headers) as client:
            try:
                answer = await client.request(method, path, params=query, content=content, headers=fields)
            except httpx.InvalidURL:  # all else in it is percent-encoded
                raise ApiError(414, {"detail": "What was written is longer than a request can name."}) from None
        if answer.is_error:
            document = _document(answer)
            raise ApiError(answer.status_code, document if isinstance(document, dict) else {})
        return answer


def segment(text: str) -> str:
    """A name as one segment of a path: no slash and no `..` in it leads elsewhere."""
    return quote(text, safe="").replace(".", "%2E")


def credentials(session: Session) -> dict[bytes, bytes]:
    """The fields by which the admin API knows whose request it is."""
    return {} if session.token is None else {b"authorization": b"Bearer " + session.token}


def _document(answer: httpx.Response) -> Any:
    try:
        return msgspec.json.decode(answer.content) if answer.content else {}
    except msgspec.DecodeError:
        return {"detail": answer.text}
