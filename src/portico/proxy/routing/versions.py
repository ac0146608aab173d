"""Which version of a service a request gets, where its path does not say so."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from portico.core.conditions import parameter_values
from portico.core.errors import Refusal
from portico.core.exchange import RouteMatch
from portico.core.media import ranges_of
from portico.core.messages import RequestHead
from portico.policies.policy import Policy

Named: TypeAlias = "str | Refusal | None"
"""The version that a source names, why it is none, or None where it names none."""
SourceOf: TypeAlias = "Callable[[RequestHead, Versions], Named]"

_MEDIA_TYPE: Final = b"application"
_VENDOR: Final = b"vnd."
_NUMBER: Final = re.compile(rb"v?[0-9]")


@dataclass(frozen=True, slots=True)
class Versions:
    """The versions of a service: what each may be called, in lower case, and when each ends, in the order of the file.

    `default` is the one of requests that name none; ends are seconds since the epoch.
    """

    service: str
    names: Mapping[bytes, str]
    default: str | None
    ends: Mapping[str, float | None]

    @classmethod
    def of(cls, service: str, versions: Mapping[str, float | None], default: str | None, latest: str) -> Versions:
        """A version `v2` may be called `2`, too, unless another one is called so."""
        names = {version.lower(): version for version in versions}
        for version in versions:
            if version[0] in "vV" and version[1:2].isdigit():
                names.setdefault(version[1:].lower(), version)
        names[latest] = [*versions][-1]
        return cls(service, {name.encode(): version for name, version in names.items()}, default, versions)

    def called(self, name: bytes) -> str | None:
        """The version that a client means."""
        return self.names.get(name.lower())

    @property
    def served(self) -> list[str]:
        """Those that have not ended."""
        now = time.time()
        return [version for version, end in self.ends.items() if end is None or now < end]


class VersionChooser:
    """Asks the sources in their order; the first that names a version decides.

    What the fields of a request decide is remembered with them: those that repeat are one object.
    """

    __slots__ = ("_sources", "_versions", "reads_query")

    def __init__(self, versions: Versions, sources: Sequence[SourceOf], *, reads_query: bool) -> None:
        self._versions = versions
        self._sources = tuple(sources)
        self.reads_query = reads_query

    def choose(self, request: RequestHead) -> str | Refusal:
        """The version that a request gets, or why none."""
        found = self._chosen(request)
        if isinstance(found, str) and not (self.reads_query and b"?" in request.target):
            request.fields.version, request.fields.version_by = found, self
        return found

    def named(self, request: RequestHead) -> list[Named]:
        """What each of the sources says of a request, in their order."""
        return [source(request, self._versions) for source in self._sources]

    def _chosen(self, request: RequestHead) -> str | Refusal:
        versions = self._versions
        for source in self._sources:
            named = source(request, versions)
            if named is not None:
                return named
        if versions.default is not None:
            return versions.default
        listed = " or ".join(versions.served)
        return Refusal("version_missing", f"say which version of {versions.service} you want: {listed}")


@dataclass(frozen=True, slots=True)
class VersionMatches:
    """What a path leads to: a match for each version, and `refused`, which has no service, for all others."""

    chooser: VersionChooser
    matches: Mapping[str, RouteMatch]
    refused: RouteMatch

    def of(self, request: RequestHead) -> tuple[RouteMatch, Policy | None]:
        """The match of a request; where it asks for no version that exists, the last of its policies says so."""
        fields, chooser = request.fields, self.chooser
        if fields.version_by is chooser and not (chooser.reads_query and b"?" in request.target):
            return self.matches[fields.version], None
        chosen = chooser.choose(request)
        if isinstance(chosen, Refusal):
            return self.refused, lambda _: chosen
        return self.matches[chosen], None


# ---- sources


def by_header(names: Sequence[str]) -> SourceOf:
    """The value of the first of these fields that there is."""
    wanted = [name.lower().encode() for name in names]

    def named(request: RequestHead, versions: Versions) -> Named:
        fields = request.fields
        for name in wanted:
            if name in fields.names:
                return versions.called(fields.get(name) or b"") or _unknown(versions)
        return None

    return named


def by_query(parameter: str) -> SourceOf:
    """The value of a parameter, decoded; two that differ are none that exists."""
    name = parameter.encode()

    def named(request: RequestHead, versions: Versions) -> Named:
        _, mark, query = request.target.partition(b"?")
        found = {versions.called(value) for value in parameter_values(query, name)} if mark else set()
        if not found:
            return None
        return (found.pop() if len(found) == 1 else None) or _unknown(versions)

    return named


def by_media_type(name: str) -> SourceOf:
    """The version in `application/vnd.NAME.VERSION+json` that `Accept` wants most (RFC 9110, section 12.5.1).

    Of those that are wanted alike it is the latest. What names no version stands for the default one, so that a
    version that is wanted less is not taken for it.
    """
    vendor = _VENDOR + name.lower().encode()

    def named(request: RequestHead, versions: Versions) -> Named:
        accept = request.fields.get(b"accept")
        if accept is None or vendor not in (lower := accept.lower()):
            return None
        weights, unnamed, is_named = _weights(lower, vendor, versions)
        order = [*versions.ends]
        wanted = [(weight, order.index(version)) for version, weight in weights.items() if weight > 0]
        best = max(wanted, default=None)
        if best is not None and best[0] >= unnamed:
            return order[best[1]]
        if unnamed > 0 and (versions.default is None or weights.get(versions.default) != 0):
            return None
        others = [version for version in order if version not in weights] if unnamed > 0 else []
        if others:  # the default one is what the client does not want
            return others[-1]
        return _not_acceptable(versions, vendor) if is_named else None

    return named


def _weights(accept: bytes, vendor: bytes, versions: Versions) -> tuple[dict[str, float], float, bool]:
    """How much each version that is named is wanted, and what names none; and whether any was named."""
    weights: dict[str, float] = {}
    unnamed, is_named = 0.0, False
    for main, sub, weight in ranges_of(accept):
        called = sub.partition(b"+")[0]
        name = called[len(vendor) + 1 :] if called.startswith(vendor + b".") and main == _MEDIA_TYPE else b""
        version = versions.called(name)
        if version is None and not _NUMBER.match(name):  # vnd.shop.order+json is a kind of thing
            unnamed = max(unnamed, weight)
            continue
        is_named = True
        if version is not None:
            weights[version] = max(weight, weights.get(version, 0.0))
    return weights, unnamed, is_named


def _unknown(versions: Versions) -> Refusal:
    return Refusal("version_unknown", f"{versions.service} has no such version; there is {_listed(versions.served)}")


def _not_acceptable(versions: Versions, vendor: bytes) -> Refusal:
    kinds = [f"application/{vendor.decode()}.{version.lower()}+json" for version in versions.served]
    return Refusal("version_not_acceptable", f"no version that Accept names; there is {_listed(kinds)}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none any more"
