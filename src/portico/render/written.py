"""The keys that are written, and which of them a target says nothing of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from portico.config.problems import KeyPath

RENDERED: Final = ""
"""What a target's table says of a key that it renders, or that means nothing there."""

UNKNOWN: Final = "this is not rendered"
"""What is said of a key that a target's table does not have."""

_LISTENING: Final = ("host", "port", "tls", "proxy_protocol")


def shape_of(path: KeyPath) -> str:
    """What kind of key stands at `path`, whatever the names of services and the numbers of routes above it.

    `service.url` is that of a service or a version, `policies.cors.max_age` that of any level, `listener.port` is also
    the gateway's own.
    """
    names = [part for part in path if isinstance(part, str)]
    if names[:1] == ["services"]:
        names = ["service", *names[2:]]
        if names[1:2] == ["versions"]:
            names = ["service", *names[3:]]
    elif names[:2] == ["discover", "service"]:
        names = ["service", *names[2:]]
    elif names[:1] == ["routes"]:
        names = ["route", *names[1:]]
    elif names[:2] == ["gateway", "listen"]:
        names = ["listener", *names[2:]]
    elif names[:1] == ["gateway"] and names[1:2] and names[1] in _LISTENING:
        names = ["listener", *names[1:]]
    if names[0] in ("service", "route") and names[1:2] == ["policies"]:
        names = names[1:]
    return ".".join(names)


def unsaid(tree: Mapping[str, Any], table: Mapping[str, str]) -> Iterator[tuple[KeyPath, str]]:
    """What is written and not rendered, each with the reason.

    `table` has for kinds of keys that are `RENDERED`, or why they are not; all that is below such a key goes with it.
    A key that it does not have is not rendered: so a new one is listed before anybody thinks of it.
    """
    sections = {shape[:at] for shape in table for at, letter in enumerate(shape) if letter == "."}
    for key, value in tree.items():
        yield from _unsaid((key,), value, table, sections)


def _unsaid(path: KeyPath, value: Any, table: Mapping[str, str], sections: set[str]) -> Iterator[tuple[KeyPath, str]]:
    shape = shape_of(path)
    why = table.get(shape)
    if why is not None:
        if why and value is not False:  # what is off anyway is off there, too
            yield path, why
    elif isinstance(value, dict) and (value or shape not in sections):
        if not value:
            yield path, UNKNOWN
        for key, part in value.items():
            yield from _unsaid((*path, key), part, table, sections)
    elif isinstance(value, list | tuple) and any(isinstance(part, dict) for part in value):
        for index, part in enumerate(value):
            if isinstance(part, dict):
                yield from _unsaid((*path, index), part, table, sections)
    elif value is not None and shape not in sections:  # else it is short for a section
        yield path, UNKNOWN
