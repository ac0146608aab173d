"""Errors of the token endpoint, in the words of RFC 6749, section 5.2."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import JSONResponse

NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
"""Fields of every answer with a token or about one (RFC 6749, section 5.1)."""


class OAuthError(Exception):
    """Why no token is issued: `error` for programs, `description` for people, with the status of the answer."""

    def __init__(
        self, error: str, description: str, status: int = 400, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(description)
        self.error = error
        self.description = description
        self.status = status
        self.headers = headers or {}

    def answer(self) -> JSONResponse:
        """What the client gets."""
        document = {"error": self.error, "error_description": self.description}
        return JSONResponse(document, self.status, {**NO_STORE, **self.headers})
