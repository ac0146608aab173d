"""Routes that answer themselves: `respond` with what is written, `redirect` to somewhere else."""

from __future__ import annotations

import re
from functools import partial
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from portico.config.section import FilePath, Section, Whole
from portico.core.header_map import checked_line
from portico.core.placeholders import HOST, PATH, QUERY, names_in
from portico.core.route_paths import check_characters
from portico.policies.editable import editable

WITHOUT_BODY: Final = (204, 205, 304)
"""Statuses of responses that have no content (RFC 9110, section 15)."""


class RespondSettings(Section):
    """A response as it is written: its `body`, or what a `file` holds, a MiB at most."""

    status: Annotated[Whole, Field(ge=200, le=599)] = 200
    """The status."""
    body: str | None = None
    """The text."""
    file: FilePath | None = None
    """A file in place of the text, a MiB at most."""
    headers: dict[Annotated[str, AfterValidator(partial(editable, where=("response", "set")))], str] = Field(
        default_factory=dict
    )
    """Fields, such as `Content-Type`."""

    @model_validator(mode="after")
    def _can_be_sent(self) -> Self:
        if self.body is not None and self.file is not None:
            raise ValueError("has both body and file; keep one of them")
        if self.status in WITHOUT_BODY and (self.body or self.file):
            raise ValueError(f"a response with the status {self.status} has no body")
        for name, value in self.headers.items():
            checked_line(name, value)
        return self


class RedirectSettings(Section):
    """Where clients are sent: a path, or a whole URL, with `{path}`, `{query}`, `{host}` and what a pattern captured.

    307 keeps the method and is not remembered by browsers; 308 is, 301 and 302 let them make a GET of a POST.
    """

    to: Annotated[str, AfterValidator(lambda text: redirect_target(text).text)]
    """A path, or a whole URL, with `{path}`, `{query}`, `{host}` and what a pattern captured."""
    status: Literal[301, 302, 303, 307, 308] = 307
    """307 keeps the method and is not remembered by browsers; 308 is; 301 and 302 let them make a GET of a POST."""


class RedirectTarget:
    """The parts of `to`: scheme and host as they are written, path, query with its `?`, fragment with its `#`.

    A `?` with nothing behind it is no query: it says that the request's does not go along (not `keeps_query`).
    """

    _URL: Final = re.compile(r"(https?://(?:[^/?#{}]|\{host\})*)?([^?#]*)(\?[^#]*)?(#.*)?", re.IGNORECASE)
    _ORIGIN: Final = re.compile(r"https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?", re.IGNORECASE)

    def __init__(self, text: str) -> None:
        """Raises ValueError."""
        match = self._URL.fullmatch(text)
        if match is None or not re.fullmatch(r"[!-~]+", text):
            raise ValueError(
                "a redirect goes to a path or a URL in ASCII, such as /new/{path} or https://new.example{path}"
            )
        self.origin, path, self.query, self.fragment = (part or "" for part in match.groups())
        if self.origin and not self._ORIGIN.fullmatch(self.origin.replace("{host}", "h")):
            raise ValueError("behind http:// or https:// comes a host, with a port if need be, or {host}")
        if self.origin and path and not path.startswith(("/", "{path}")):
            raise ValueError("behind the host comes a / or {path}: else a request could choose the host")
        if path.startswith("{path}") or (self.origin and not path):
            path = "/" + path
        self.path = path
        self._check()
        self.text = self.origin + path + self.query + self.fragment
        self.keeps_query = self.query != "?"
        self.query = self.query if self.keeps_query else ""

    def _check(self) -> None:
        path = self.path
        if not self.origin and path.startswith("//"):
            raise ValueError("// begins a host: write https:// before it, or one slash for a path")
        check_characters(path.replace("{", "").replace("}", ""))
        names = names_in(path)
        if HOST in names or QUERY in names:
            raise ValueError("{host} stands behind https://, and {query} behind a ?")
        if path.count("{path}") > 1 or re.search(r"[^/]\{path\}", path):
            raise ValueError("{path} begins behind the prefix's slash, and is written once at most")
        if {PATH, HOST} & set(names_in(self.query)) or self.query.count("{query}") > 1 or names_in(self.fragment):
            raise ValueError("a query has {query} once and what a pattern captured, a fragment has no names")

    @property
    def names(self) -> list[str]:
        """The names of what a pattern has to capture."""
        return [name for name in (*names_in(self.path), *names_in(self.query)) if name not in (PATH, QUERY)]


def redirect_target(text: str) -> RedirectTarget:
    """The parts of where a redirect goes. Raises ValueError."""
    return RedirectTarget(text)


def _long_redirect(value: Any) -> Any:
    return {"to": value} if isinstance(value, str) else value


def _long_respond(value: Any) -> Any:
    return {"status": value} if isinstance(value, int) and not isinstance(value, bool) else value


RespondField = Annotated[
    RespondSettings | None, BeforeValidator(_long_respond, json_schema_input_type=int | RespondSettings)
]
RedirectField = Annotated[
    RedirectSettings | None, BeforeValidator(_long_redirect, json_schema_input_type=str | RedirectSettings)
]
