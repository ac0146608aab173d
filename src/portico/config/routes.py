"""Routes and consumers as they are written."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from portico.config.levels import Policies
from portico.config.retries import RetryField
from portico.config.section import Method, NoneIsEmpty, Section, Whole
from portico.config.services import TimeoutField, Trailers, Upgrades
from portico.core.errors import MessageError
from portico.core.paths import segments_of
from portico.core.settings import HeaderName, Name
from portico.policies.consumer_fields import ConsumerName

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]+\]")


def _characters(text: str) -> None:
    if not text.startswith("/"):
        raise ValueError("expected a path that starts with /")
    if wrong := re.search(r"[^!-~]", text):
        raise ValueError("a path has no spaces" if wrong[0].isspace() else "characters beyond ASCII are written as %XX")
    if wrong := re.search(r"[?#\\]", text):
        raise ValueError(f"a path has no {wrong[0]}")
    if any(part in (".", "..") for part in text.split("/")):
        raise ValueError("a path has no . and .. segments")
    if "//" in text:
        raise ValueError("a path has no empty segments")


def path_prefix(text: str) -> str:
    """A path prefix in the form that is compared. Raises ValueError."""
    _characters(text)
    if re.search(r"[*{}]", text):
        raise ValueError("a path is a prefix, not a pattern; leave out *, { and }")
    return "/" + b"/".join(_segments(text.rstrip("/") or "/")).decode()


def _segments(path: str) -> tuple[bytes, ...]:
    try:
        return segments_of(path.encode())
    except MessageError as error:
        raise ValueError(f"not a path that a request could have: {error.detail}") from None


def _rewrite(text: str) -> str:
    _characters(text)
    rest = text.replace("{path}", "", 1)
    if "{path}" in rest:
        raise ValueError("{path} is in a rewrite once at most")
    if "{" in rest or "}" in rest:
        raise ValueError("the only placeholder of a rewrite is {path}")
    _segments(rest)
    return text


def _host(text: str) -> str:
    text = text.lower()
    if not _HOST.fullmatch(text):
        raise ValueError("expected a host name without port, such as api.example.com or *.example.com")
    return text


def _value(text: str) -> str:
    if not re.fullmatch(r"[\t -~\x80-\xff]*", text) or text != text.strip(" \t"):
        raise ValueError("not the value of a header field")
    return text


class RouteSettings(Section):
    """Which requests go to a service: those under the prefix `path` that match `hosts`, `methods` and `headers`.

    Empty lists match everything. `rewrite` is the path that the service gets; `{path}` in it is what follows the
    prefix. Without a name a route is named after its service and version.
    """

    name: Name | None = None
    service: str
    version: str | None = None
    path: Annotated[str, AfterValidator(path_prefix)]
    hosts: tuple[Annotated[str, AfterValidator(_host)], ...] = ()
    methods: tuple[Method, ...] = ()
    headers: dict[HeaderName, Annotated[str, AfterValidator(_value)]] = Field(default_factory=dict)
    rewrite: Annotated[str, AfterValidator(_rewrite)] = "/{path}"
    timeout: TimeoutField | None = None
    retries: RetryField | None = None
    preserve_host: bool | None = None
    upgrades: Upgrades | None = None
    trailers: Trailers | None = None
    policies: Annotated[Policies, NoneIsEmpty] = Policies()


class ConsumerLimit(Section):
    """What replaces the numbers of rate limits counted by consumer; what is not written stays.

    Numbers that none of those limits has are added to the first of them for this consumer.
    """

    requests_per_minute: Annotated[float, Field(gt=0, le=1e9)] | None = None
    burst: Annotated[Whole, Field(ge=1, le=10**9)] | None = None
    requests_per_hour: Annotated[Whole, Field(ge=1, le=10**12)] | None = None
    requests_per_day: Annotated[Whole, Field(ge=1, le=10**12)] | None = None
    requests_per_month: Annotated[Whole, Field(ge=1, le=10**12)] | None = None


class ConsumerSettings(Section):
    """A caller, identified by the `username` of a token, or else its `preferred_username` or `sub`."""

    name: ConsumerName
    rate_limit: ConsumerLimit | None = None
