"""One registration: the description of an instance, and how long it is valid."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, Final

import msgspec
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from portico.client.registry_keys import key_of
from portico.config import NetworkUrl
from portico.config.problems import dotted
from portico.config.words import findings_of
from portico.core.settings import Name

DEFAULT_TTL: Final = 30.0
VALUE_LIMIT: Final = 16_384
"""Bytes of a registration, as it is kept or sent."""
_MOST_METADATA: Final = 64

_Text = Annotated[str, StringConstraints(max_length=1024)]


class Registration(BaseModel):
    """How an instance describes itself. Unknown keys in Redis are those of a later version, and ignored."""

    model_config = ConfigDict(frozen=True)

    url: NetworkUrl
    weight: Annotated[int, Field(ge=1, le=1000, strict=True)] = 1
    version: Name | None = None
    metadata: Annotated[dict[_Text, _Text], Field(max_length=_MOST_METADATA)] = Field(default_factory=dict)
    openapi: _Text | None = None
    ttl: Annotated[float, Field(ge=1, le=86_400)] = DEFAULT_TTL


class SentRegistration(Registration):
    """The same as received over HTTP, where an unknown key is an error."""

    model_config = ConfigDict(extra="forbid")


class Entry(msgspec.Struct):
    """A known registration. Times are those of the monotonic clock, in seconds."""

    service: str
    instance: str | None
    source: str
    url: str
    weight: int = 1
    version: str | None = None
    metadata: dict[str, str] = {}
    openapi: str | None = None
    ttl: float = DEFAULT_TTL
    """The longest time to live that was seen; 0: it has none."""
    expires_at: float = 0.0
    """0: never."""
    seen: int = 0
    """In which of its lives Redis last had it; see `Registry`."""
    kept_until: float = 0.0
    """Where Redis has lost it: until when at least it is still used; 0: it was not lost."""
    backup: bool = False
    """Whether it gets requests only while no other instance is there."""

    @property
    def key(self) -> str:
        """Its key, in Redis too."""
        return key_of(self.service, self.instance)

    def seconds_left(self, now: float) -> float:
        """Seconds until it expires; infinite where it does not."""
        return self.expires_at - now if self.expires_at else math.inf

    def describes(self, other: Entry) -> bool:
        """Whether the other is the same, times aside."""
        return (self.url, self.weight, self.version, self.metadata, self.openapi, self.backup) == (
            other.url,
            other.weight,
            other.version,
            other.metadata,
            other.openapi,
            other.backup,
        )


def entry_of(service: str, instance: str | None, source: str, registration: Registration) -> Entry:
    """The entry of a registration."""
    said: dict[str, Any] = registration.model_dump()
    return Entry(service, instance, source, **said)


def read_value(value: bytes) -> Registration:
    """Parse the value of a key in Redis: a URL, or a JSON object. Raises ValueError with what is wrong with it."""
    if len(value) > VALUE_LIMIT:
        raise ValueError(f"longer than {VALUE_LIMIT} bytes")
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise ValueError("not text") from None
    return read_document(text if text.lstrip().startswith("{") else json.dumps({"url": text}), Registration)


def read_document(text: str | bytes, kind: type[Registration]) -> Registration:
    """A JSON object as a registration. Raises ValueError with what is wrong with it."""
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        if error.errors(include_url=False)[0]["type"] == "json_invalid":
            raise ValueError("not JSON") from None
        found = findings_of(error, json.loads(text), kind)
        raise ValueError("; ".join(f"{dotted(each.path) or 'this'}: {each.message}" for each in found)) from None
