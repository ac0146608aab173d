"""Versions of a service: what names the one that a request gets, and when one of them ends."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from portico.config.section import Section
from portico.core.conditions import ParameterName
from portico.core.settings import HeaderName, NotEmpty

LATEST: Final = "latest"
"""The last version that is written, for requests as for `default_version`."""

HEADERS: Final = ("API-Version", "Accept-Version")
"""The fields that name a version where none is written."""
PARAMETER: Final = "version"


def _moment(value: Any) -> datetime:
    """A date is midnight UTC, and so is a time without a zone one of UTC."""
    if isinstance(value, date) and not isinstance(value, datetime):
        value = value.isoformat()
    try:
        found = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        found = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
        found.timestamp()
    except (TypeError, ValueError, OverflowError, OSError):
        raise ValueError(
            "expected a date such as 2026-12-01, midnight UTC, or a time such as 2026-12-01T09:00:00+01:00"
        ) from None
    return found


def _link(text: str) -> str:
    if not re.fullmatch(r"https?://[!#-;=?-~]+", text):
        raise ValueError("expected the URL of a page, such as https://example.com/versions")
    return text


Moment = Annotated[datetime, BeforeValidator(_moment), WithJsonSchema({"type": "string"})]
PageUrl = Annotated[str, AfterValidator(_link)]


class DeprecationSettings(Section):
    """Since when a version is deprecated, or from when on; `url` is a page about it for those who still use it."""

    at: Moment
    """The moment, as a date or a date with time."""
    url: PageUrl | None = None
    """A page about it for those who still use it."""


class SunsetSettings(Section):
    """When a version ends: from then on its requests get 410, unless `keep_serving`; `url` is a page about it."""

    at: Moment
    """The moment, as a date or a date with time."""
    url: PageUrl | None = None
    """A page about it."""
    keep_serving: bool = False
    """Whether its requests are served all the same."""


def _long(value: Any) -> Any:
    return value if isinstance(value, (dict, Section)) else {"at": value}


_DATED = NotEmpty("write a date, such as 2026-12-01")
DeprecationField = Annotated[
    DeprecationSettings | None,
    BeforeValidator(
        lambda value: None if value is None else _long(value), json_schema_input_type=str | DeprecationSettings
    ),
    _DATED,
]
SunsetField = Annotated[
    SunsetSettings | None,
    BeforeValidator(lambda value: None if value is None else _long(value), json_schema_input_type=str | SunsetSettings),
    _DATED,
]


class HeaderSource(Section):
    """The version is the value of a field."""

    header: HeaderName
    """The field that names the version."""


class MediaTypeSource(Section):
    """The version is in a media type of `Accept`: `application/vnd.NAME.VERSION+json`."""

    media_type: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
    """The `NAME` in `application/vnd.NAME.VERSION+json`."""


class QuerySource(Section):
    """The version is the value of a parameter."""

    query: ParameterName
    """The parameter that names the version."""


Source: TypeAlias = Literal["path", "header", "media_type", "query"] | HeaderSource | MediaTypeSource | QuerySource
VersionBy = Annotated[
    tuple[Source, ...],
    BeforeValidator(
        lambda value: value if isinstance(value, (list, tuple)) else [value],
        json_schema_input_type=Source | list[Source],
    ),
    Field(min_length=1),
]


def kind_of(source: Source) -> str:
    """The word for it."""
    return source if isinstance(source, str) else next(iter(type(source).model_fields))


@dataclass(frozen=True, slots=True)
class VersionChoice:
    """What a route to several versions of a service chooses by.

    `versions` are all of them, in the order of the file. `default` is the one of requests that name none; None: they
    are refused.
    """

    service: str
    sources: tuple[Source, ...]
    versions: tuple[str, ...]
    default: str | None

    @property
    def order(self) -> tuple[str, ...]:
        """The versions, that of requests that name none first."""
        first = self.default or self.versions[0]
        return (first, *(version for version in self.versions if version != first))

    def headers(self) -> Iterator[str]:
        """The fields of requests on which it depends."""
        for source in self.sources:
            match source:
                case "header":
                    yield from HEADERS
                case HeaderSource(header=name):
                    yield name
                case "media_type" | MediaTypeSource():
                    yield "Accept"

    @property
    def parameter(self) -> str | None:
        """The parameter of the query on which it depends."""
        for source in self.sources:
            if isinstance(source, QuerySource):
                return source.query
        return PARAMETER if "query" in self.sources else None

    @property
    def media_type(self) -> str | None:
        """The NAME of the media types on which it depends."""
        for source in self.sources:
            if isinstance(source, MediaTypeSource):
                return source.media_type
        return self.service if "media_type" in self.sources else None
