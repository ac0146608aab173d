"""Routes and consumers as they are written."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from portico.config.levels import Policies
from portico.config.retries import RetryField
from portico.config.section import NoneIsEmpty, Section, Whole
from portico.config.services import MaintenanceField, PreserveHost, TimeoutField, Trailers, Upgrades
from portico.core.errors import MessageError
from portico.core.hosts import host_name
from portico.core.paths import segments_of
from portico.core.settings import HeaderName, Method, Name, NotEmpty, Size
from portico.policies.consumer_fields import ConsumerName

_MARK = re.compile(r"\s*(?:~\*?|\^~|=)\s*\^?|\^")
"""What other gateways write before a pattern or an exact path."""
_PATTERN = re.compile(r"[*{}\[\]^|<>]|\\[A-Za-z.]|\.\+|\(\?|\$$|(?<=/):(?=[A-Za-z])")
_VALUE_PATTERN = re.compile(
    r"(?:~|/?\^).*|\*|.*(?:\.[*+]|\\[dwsDWS][+*{]|\\\.|\[\w-\w|\w\|\w).*|.*(?:[\w-]\*|\\[dws]|\w\$)"
)


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
    _no_pattern(text)
    _characters(text)
    return "/" + b"/".join(_segments(text.rstrip("/") or "/")).decode()


def _no_pattern(text: str) -> None:
    """Refuse what would be compared as it stands although it is meant as a pattern."""
    mark = _MARK.match(text)
    plain = text[mark.end() :] if mark else text
    found = _PATTERN.search(plain)
    if mark or found:
        prefix = plain[: found.start()] if found else plain
        if found and found[0] != "$":
            prefix = prefix.rpartition("/")[0]
        message = "a path is a prefix by whole segments, not a pattern or an exact path"
        raise ValueError(f"{message}: write /{prefix.lstrip('/')}")


def _segments(path: str) -> tuple[bytes, ...]:
    try:
        return segments_of(path.encode())
    except MessageError as error:
        raise ValueError(f"not a path that a request could have: {error.detail}") from None


KEEP: Final = "keep"
"""The rewrite that leaves the path as it is."""


def _rewrite(text: str) -> str:
    if text == KEEP:
        return text
    _characters(text)
    if re.search(r"\$\d", text):
        raise ValueError("a rewrite has {path} for what follows the prefix, and nothing like $1")
    rest = text.replace("{path}", "", 1)
    if "{path}" in rest:
        raise ValueError("{path} is in a rewrite once at most")
    if "{" in rest or "}" in rest:
        raise ValueError("the only placeholder of a rewrite is {path}")
    if re.search(r"[^/]\{path\}", text):
        raise ValueError("{path} begins behind the prefix's slash: write a / before it, or keep for the path as it is")
    _segments(rest)
    return text


def strips(path: str, rewrite: str) -> bool:
    """Whether a route takes a prefix off, and so makes the same of `/prefix` and `/prefix/`."""
    return path != "/" and rewrite.endswith("/{path}")


def _host(text: str) -> str:
    if text == "*":
        raise ValueError("a route without hosts takes every host; leave them out")
    return host_name(text, wildcard=True)


def _value(text: str) -> str:
    if not re.fullmatch(r"[\t -~\x80-\xff]*", text) or text != text.strip(" \t"):
        raise ValueError("not the value of a header field")
    if _VALUE_PATTERN.fullmatch(text):
        raise ValueError(
            "a header has to have exactly this value, which is not a pattern: write a route for each value"
        )
    return text


def _matches_all(example: str) -> NotEmpty:
    return NotEmpty(f"write {example}, or leave it out to match everything")


class RouteSettings(Section):
    """Which requests go to a service: those under the prefix `path` that match `hosts`, `methods` and `headers`.

    Empty lists match everything. `rewrite` is the path that the service gets; `{path}` in it is what follows the
    prefix, and `keep` leaves the path as it is. With `redirect_slash` browsers that navigate to the bare prefix are
    redirected to `/prefix/`. `encoded_slashes` says that the service takes no `%2F` for a slash. Without a name a
    route is named after its service and version.
    """

    name: Name | None = None
    service: str
    version: str | None = None
    path: Annotated[str, AfterValidator(path_prefix)]
    hosts: Annotated[tuple[Annotated[str, AfterValidator(_host)], ...], _matches_all("hosts: [api.example.com]")] = ()
    methods: Annotated[tuple[Method, ...], _matches_all("methods: [GET]")] = ()
    headers: Annotated[
        dict[HeaderName, Annotated[str, AfterValidator(_value)]], _matches_all("headers: {X-Name: value}")
    ] = Field(default_factory=dict)
    rewrite: Annotated[str, AfterValidator(_rewrite)] = "/{path}"
    timeout: TimeoutField | None = None
    retries: RetryField | None = None
    redirect_slash: bool | None = None
    encoded_slashes: bool = False
    preserve_host: PreserveHost | None = None
    body_size: Size | None = None
    upgrades: Upgrades | None = None
    trailers: Trailers | None = None
    maintenance: MaintenanceField = None
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
    rate_limit: Annotated[
        ConsumerLimit | None, NotEmpty("write rate_limit: {requests_per_minute: 60}, or leave it out")
    ] = None
