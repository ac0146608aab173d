"""How clients get to what a service's document describes: the routes to it, as far as a document goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from portico.openapi.document import Document
from portico.openapi.objects import Object

Requirement: TypeAlias = Mapping[str, Sequence[str]]
"""Security schemes that are needed together, each with the scopes that are."""


@dataclass(frozen=True, slots=True)
class Way:
    """A route to a service. `label` sets its operations apart, and `tag` groups them.

    `public` gives the path for clients of a path of the service's, and a method in capitals; None where they do not get
    there.
    """

    route: str
    label: str
    tag: str
    public: Callable[[str, str], str | None]
    servers: tuple[Object, ...] = ()
    """Where it is, if not wherever the gateway is."""
    parameters: tuple[Object, ...] = ()
    """What it asks of a request beside its path."""
    security: tuple[Requirement, ...] = ()
    """What the gateway asks for, by the names of its own schemes: one of these; nothing for nothing."""
    deprecated: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """A service, or a version with instances of its own: its document, if there is one, and the ways to it.

    `about` is what is said of it in `info`, as an extension.
    """

    name: str
    label: str
    document: Document | None
    ways: tuple[Way, ...]
    about: Mapping[str, Any] = field(default_factory=dict)
