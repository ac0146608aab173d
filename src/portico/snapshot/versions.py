"""The versions of a service, compiled: how one is chosen, and what its responses say of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from email.utils import formatdate
from typing import Any, Final, NamedTuple

from portico.config import ResolvedRoute, ServiceSettings
from portico.config.versions import HEADERS, LATEST, HeaderSource, VersionChoice, kind_of
from portico.core.route_paths import is_prefix
from portico.policies.versions import Successor, announcing, ending
from portico.proxy.routing.versions import SourceOf, VersionChooser, Versions, by_header, by_media_type, by_query

_REPLACED: Final = frozenset({b"deprecation", b"sunset"})


class PathVersion(NamedTuple):
    """A version of a service, with a path that leads to it."""

    service: str | None
    version: str | None
    path: str


def chooser_of(choice: VersionChoice, service: ServiceSettings) -> VersionChooser:
    """What chooses the version for a request."""
    ends = {name: _end(service, name) for name in choice.versions}
    versions = Versions.of(choice.service, ends, choice.default, LATEST)
    sources: list[SourceOf] = []
    for source in choice.sources:
        kind = kind_of(source)
        if kind == "header":
            sources.append(by_header([source.header] if isinstance(source, HeaderSource) else HEADERS))
        elif kind == "media_type":
            sources.append(by_media_type(str(choice.media_type)))
        else:
            sources.append(by_query(str(choice.parameter)))
    return VersionChooser(versions, sources, reads_query=choice.parameter is not None)


def _end(service: ServiceSettings, version: str) -> float | None:
    sunset = service.versions[version].sunset
    return None if sunset is None or sunset.keep_serving else sunset.at.timestamp()


def vary_lines(choice: VersionChoice | None) -> list[bytes]:
    """The `Vary` of every response of a route that chooses."""
    names = list(choice.headers()) if choice is not None else []
    return [b"Vary: " + ", ".join(names).encode()] if names else []


def with_version(
    written: ResolvedRoute, service: ServiceSettings, parts: Mapping[str, Any], paths: Collection[PathVersion]
) -> dict[str, Any]:
    """Those parts of a handling that are others for a version: what its responses say, and its end."""
    assert written.version is not None
    version = service.versions[written.version]
    lines, drops = vary_lines(written.choice), frozenset[bytes]()
    if "version_by" in service.model_fields_set:
        lines.append(b"API-Version: " + written.version.encode())
    if version.deprecated is not None:
        lines.append(b"Deprecation: @%d" % version.deprecated.at.timestamp())
        lines += _page(version.deprecated.url, b"deprecation")
    if version.sunset is not None:
        lines.append(b"Sunset: " + formatdate(version.sunset.at.timestamp(), usegmt=True).encode())
        lines += _page(version.sunset.url, b"sunset")
    successor = None
    if is_ending(written, service):
        drops, successor = _REPLACED, _successor(written, service, paths)
    marks, policies = parts["marks"], parts["policies"]
    if (end := _end(service, written.version)) is not None:
        policies = (ending(end, _gone(written, successor), marks), *policies)
    if lines:
        announce = announcing(lines, drops, successor)
        marks, policies = (announce, *marks), (announce, *policies)
    return {"marks": marks, "policies": policies, "version": written.version}


def is_ending(written: ResolvedRoute, service: ServiceSettings) -> bool:
    """Whether a route leads to a version that is deprecated, or will end."""
    version = service.versions[str(written.version)]
    return version.deprecated is not None or version.sunset is not None


def _page(url: str | None, relation: bytes) -> list[bytes]:
    return [] if url is None else [b'Link: <%b>; rel="%b"; type="text/html"' % (url.encode(), relation)]


def _gone(written: ResolvedRoute, successor: Successor | None) -> str:
    instead = f"; use {successor.version}" if successor is not None else ""
    return f"{written.version} of {written.service} has ended{instead}"


def _successor(written: ResolvedRoute, service: ServiceSettings, paths: Collection[PathVersion]) -> Successor | None:
    """The next version that is not to end itself, if a client can find there what it asked for here."""
    names = [*service.versions]
    later = names[names.index(str(written.version)) + 1 :]
    following = [name for name in later if not (service.versions[name].deprecated or service.versions[name].sunset)]
    if not following:
        return None
    name = following[0]
    path = _path_of(written, name, paths)
    if path is not None:
        return Successor(name, written.path.encode(), path.encode())
    choice = written.choice
    if choice is None:
        return None
    attributes = b'; title="%b"' % name.encode()
    if choice.media_type is not None:
        attributes += b'; type="application/vnd.%b.%b+json"' % (choice.media_type.encode(), name.encode())
    return Successor(name, parameter=choice.parameter, attributes=attributes)


def _path_of(written: ResolvedRoute, version: str, paths: Collection[PathVersion]) -> str | None:
    """The path that names another version where this one names its own, if a route leads there."""
    segments = written.path.split("/")
    if not is_prefix(written.path) or written.version not in segments:
        return None
    path = "/".join(version if segment == written.version else segment for segment in segments)
    return path if PathVersion(written.service, version, path) in paths else None


def with_variants(routes: Sequence[ResolvedRoute]) -> Iterator[tuple[ResolvedRoute, list[ResolvedRoute]]]:
    """Each route, with its variants for further versions."""
    index = 0
    while index < len(routes):
        end = index + 1
        while end < len(routes) and routes[end].is_variant:
            end += 1
        yield routes[index], list(routes[index + 1 : end])
        index = end


def paths_of(routes: Sequence[ResolvedRoute]) -> frozenset[PathVersion]:
    """All paths that lead to versions."""
    return frozenset(PathVersion(route.service, route.version, route.path) for route in routes if route.version)
