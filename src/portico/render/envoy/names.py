"""What several routes have in common: clusters, and filters by their names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from portico.config.problems import KeyPath
from portico.render.envoy.text import Shared
from portico.render.once import Once

Section: TypeAlias = dict[str, Any]
"""A part of envoy.yaml."""

TYPES: Final = "type.googleapis.com/"
HTTP: Final = "envoy.extensions.filters.http."
FILTERS: Final = "typed_per_filter_config"
PORTICO: Final = "portico"
"""The filter whose script is told things by routes."""
ON: Final[Section] = Shared({"@type": f"{TYPES}envoy.config.route.v3.FilterConfig", "config": {}})
"""What a route says of a filter that is as it is written among the filters."""
OFF: Final[Section] = Shared({"@type": f"{TYPES}envoy.config.route.v3.FilterConfig", "disabled": True})


def typed(message: str, settings: Mapping[str, Any] | None = None) -> Section:
    """A message with its type."""
    return Shared({"@type": TYPES + message, **(settings or {})})


@dataclass(frozen=True, slots=True)
class Filter:
    """An HTTP filter: `order` is its place in the chain. It is off but where routes turn it on."""

    order: int
    name: str
    config: Section
    note: str = ""
    always: bool = False
    adds_up: bool = False
    """Whether what a route says of it holds beside what all routes say."""


@dataclass(slots=True)
class Names(Once):
    """What is written once, in the order in which it was first asked for."""

    scheme: str = "http"
    """That of the listener whose routes are written."""
    has_secret: bool = False
    """Whether a secret is written: one that tokens are signed with."""
    clusters: dict[str, Section] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    """Comments of clusters."""
    filters: dict[str, Filter] = field(default_factory=dict)
    parts: dict[str, Section] = field(default_factory=dict)
    """Parts that are alike, by how they look."""
    known: dict[object, Any] = field(default_factory=dict)
    """What has been made of settings, by their identity: the configuration holds them."""

    def filter(self, own: Filter) -> str:
        """The name of a filter, which is written once."""
        self.filters.setdefault(own.name, own)
        return own.name


class CannotError(Exception):
    """Something that Envoy cannot check: where it is written, and why."""

    def __init__(self, path: KeyPath, why: str = "") -> None:
        super().__init__(why)
        self.path = path
        self.why = why or "Envoy cannot check this: the routes that it guards are closed and answer 503"


def duration(seconds: float) -> str:
    """A time as Envoy's YAML has it."""
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"


def escaped(text: str) -> str:
    """A text in a place where Envoy looks for `%NAME%`."""
    return text.replace("%", "%%")


def header(name: str, value: str, action: str = "OVERWRITE_IF_EXISTS_OR_ADD") -> Section:
    """A field that is set, or one more line of it."""
    found: Section = {"header": {"key": name, "value": value}, "append_action": action}
    return found if value else {**found, "keep_empty_value": True}


ADD: Final = "APPEND_IF_EXISTS_OR_ADD"
