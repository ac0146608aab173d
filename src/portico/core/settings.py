"""What every settings class is made of: the strict base model, durations, sizes and patterns for names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"(\d+)\s*(B|KiB|MiB|GiB|kB|KB|MB|GB)")
_SIZE_UNITS = {
    "B": 1,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
}


_EMPTY: Final = object()


@dataclass(frozen=True, slots=True)
class NotEmpty:
    """Marks a key that is an error with nothing after its colon: what it restricts would silently stay open."""

    advice: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._check, handler(source))

    def _check(self, value: Any) -> Any:
        if value is _EMPTY:
            raise ValueError(f"nothing is written after the colon: {self.advice}")
        return value


class Settings(BaseModel):
    """What was written in a configuration: immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    drops_empty: ClassVar[bool] = False
    """Whether a known key with nothing after its colon counts as not written, unless it is `NotEmpty`."""

    @model_validator(mode="before")
    @classmethod
    def _empty_keys(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not any(value is None for value in data.values()):
            return data
        kept = {}
        for key, value in data.items():
            field = cls.model_fields.get(key) if value is None else None
            if field is not None and any(isinstance(mark, NotEmpty) for mark in field.metadata):
                kept[key] = _EMPTY
            elif field is None or not cls.drops_empty:
                kept[key] = value
        return kept


def plain_secret(text: str) -> str:
    """The secret itself. Raises ValueError, which does not repeat it, where it was probably not meant as it stands."""
    if re.search(r"[\x00-\x1f\x7f]", text):
        raise ValueError("holds a control character or the end of a line, which belongs to no secret")
    if text != text.strip():
        raise ValueError("has white space at an end, which belongs to no secret")
    return text


def parse_duration(value: Any) -> Any:
    """Seconds from a number or from `500ms`, `2s`, `5m`, `1h`, `1d`; other types are left to the validator."""
    if isinstance(value, bool):
        raise ValueError("a duration is a number of seconds or text such as 500ms, 2s, 5m")
    if not isinstance(value, str):
        return value
    match = _DURATION.fullmatch(value.strip())
    if match:
        return float(match[1]) * _DURATION_UNITS[match[2]]
    try:
        return float(value)
    except ValueError:
        raise ValueError(f"{value!r} is not a duration; write seconds or text such as 500ms, 2s, 5m") from None


def parse_size(value: Any) -> Any:
    """Bytes from a whole number or from `64KiB`, `10MiB`, `1GB`; other types are left to the validator."""
    if isinstance(value, bool):
        raise ValueError("a size is a number of bytes or text such as 64KiB, 10MiB")
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if match:
        return int(match[1]) * _SIZE_UNITS[match[2]]
    if value.strip().isdecimal():
        return int(value)
    raise ValueError(f"{value!r} is not a size; write bytes or text such as 64KiB, 10MiB")


_DURATION_SCHEMA = {
    "anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": r"^\d+(\.\d+)?\s*(ms|s|m|h|d)?$"}]
}
_SIZE_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": 0},
        {"type": "string", "pattern": r"^\d+\s*(B|KiB|MiB|GiB|kB|KB|MB|GB)?$"},
    ]
}

Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    Field(gt=0, le=31_536_000, allow_inf_nan=False),
    WithJsonSchema(_DURATION_SCHEMA),
]
"""A positive time span in seconds, a year at most."""

DurationOrZero = Annotated[
    float,
    BeforeValidator(parse_duration),
    Field(ge=0, le=31_536_000, allow_inf_nan=False),
    WithJsonSchema(_DURATION_SCHEMA),
]

Size = Annotated[int, BeforeValidator(parse_size), Field(ge=0), WithJsonSchema(_SIZE_SCHEMA)]
"""A number of bytes."""

_FIELD_NAME = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"


def header_name(text: str) -> str:
    """A field name (RFC 9110, section 5.1), in full: characters of patterns, which it may have, are in no real one."""
    if "," in text:
        raise ValueError("one name of a header field, without commas; several are a list: [X-One, X-Two]")
    if not re.fullmatch(_FIELD_NAME, text):
        raise ValueError("not a name of a header field")
    if re.search(r"[*^$|~+]", text):
        raise ValueError("a header field is named in full: its name is not a pattern")
    return text


def method(text: str) -> str:
    """A method of HTTP, named in full, in upper case."""
    if "," in text:
        raise ValueError("one method, without commas; several are a list: [GET, POST]")
    if text.upper() in ("*", "ANY", "ALL"):
        raise ValueError("name each method, such as GET; a route without methods takes every one")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*", text):
        raise ValueError("expected a method such as GET")
    return text.upper()


_NAME_SCHEMA = {"type": "string", "pattern": f"^{_FIELD_NAME}$"}

HeaderName = Annotated[str, AfterValidator(header_name), WithJsonSchema(_NAME_SCHEMA)]
"""A field name (RFC 9110, section 5.1)."""

Method = Annotated[str, AfterValidator(method)]
"""A method of HTTP, in upper case."""

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)]
"""A name of a service, route, version or consumer: it appears in paths, metrics and log lines as written."""
