"""Copies of a route's requests for other services, whose answers are dropped."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from functools import partial
from typing import Annotated, Any, Literal, Protocol

from pydantic import AfterValidator, BeforeValidator, Field

from portico.config.problems import Finding, KeyPath, nearest
from portico.config.section import Section, Share, Whole, is_word
from portico.config.services import ServiceSettings
from portico.core.settings import Duration, HeaderName, Method, Name, NotEmpty, Size
from portico.policies.editable import editable


class MirrorSettings(Section):
    """Copies of a route's requests, which another `service` gets too; its answers are read and dropped.

    A `share` of the requests that go to the route's service is copied (10% or 0.1), of those with one of the `methods`
    where they are written. A request is not copied where its body is longer than `max_body`, nor while `max_in_flight`
    of its route's copies are under way in its worker. A copy has `timeout` seconds until its answer has come: without
    it, what `timeout.total` of the other service says, or else `timeout.response`. It has all fields that the route's
    service gets, but `remove_headers`.
    """

    service: Name
    """Who gets copies; `mirror: NAME` is short for it. Its instances, `load_balancing`, `tls`, `preserve_host`, health
    checks and limits are its own.
    """
    version: str | None = None
    """A version of that service."""
    share: Share = 1.0
    """The part of the requests that is copied."""
    methods: Annotated[tuple[Method, ...], NotEmpty("write methods: [GET, HEAD], or leave it out to copy all")] = ()
    """The only ones that are copied."""
    max_body: Size = 64 * 1024
    """Longer bodies are not copied; 0: only requests without one."""
    max_in_flight: Annotated[Whole, Field(ge=1, le=100_000)] = 100
    """Copies of the route's requests that may be under way at once, in each worker; those beyond are dropped."""
    timeout: Duration | None = None
    """How long a copy may take, from the end of the request to the end of its answer."""
    remove_headers: tuple[
        Annotated[HeaderName, AfterValidator(partial(editable, where=("request", "remove")))], ...
    ] = ()
    """Fields of the request that copies do not have."""


def _long_mirror(value: Any) -> Any:
    if isinstance(value, str) and "://" in value:
        raise ValueError("expected the name of a service: write its url under services")
    return {"service": value} if isinstance(value, str) else value


def _none_if_off(value: Any) -> Any:
    return None if is_word(value, False) else value


_Mirror = Annotated[MirrorSettings, BeforeValidator(_long_mirror, json_schema_input_type=str | MirrorSettings)]
MirrorField = Annotated[
    _Mirror | tuple[_Mirror, ...] | None,
    BeforeValidator(_none_if_off, json_schema_input_type=Literal[False] | _Mirror | tuple[_Mirror, ...]),
    NotEmpty("write mirror: SERVICE, or mirror: {service: SERVICE, share: 10%}"),
]
"""One of them, or several."""


def mirrors_of(written: MirrorSettings | tuple[MirrorSettings, ...] | None) -> tuple[MirrorSettings, ...]:
    """All that are written."""
    return (written,) if isinstance(written, MirrorSettings) else written or ()


def mirror_findings(
    at: KeyPath,
    written: MirrorSettings | tuple[MirrorSettings, ...] | None,
    services: Mapping[str, ServiceSettings],
    own: Container[tuple[str | None, str | None]],
) -> Iterator[Finding]:
    """Services that are none, that have no instances of their own, or to which the requests go anyway.

    `at` is where they are written, `own` are the services, with their versions, that the route leads to.
    """
    mirrors = mirrors_of(written)
    paths = [at if isinstance(written, MirrorSettings) else (*at, index) for index in range(len(mirrors))]
    anyway = "requests go to {} anyway, which would get them twice: name another service"
    yield from other_service_findings(zip(paths, mirrors, strict=True), services, own, anyway, "gets copies already")


class OtherService(Protocol):
    """A service that a route names beside its own."""

    @property
    def service(self) -> str: ...

    @property
    def version(self) -> str | None: ...


def other_service_findings(
    written: Iterable[tuple[KeyPath, OtherService]],
    services: Mapping[str, ServiceSettings],
    own: Container[tuple[str | None, str | None]],
    anyway: str,
    again: str,
) -> Iterator[Finding]:
    """The same of any others: what is said of one that is the route's `own`, and of one that is named `again`."""
    seen: set[tuple[str, str | None]] = set()
    for path, other in written:
        service = services.get(other.service)
        if service is None:
            message = f'there is no service "{other.service}"'
            yield Finding((*path, "service"), message, nearest(other.service, services))
        elif other.version is not None and other.version not in service.versions:
            message = f'the service {other.service} has no version "{other.version}"'
            yield Finding((*path, "version"), message, nearest(other.version, service.versions))
        elif other.version is None and not service.has_instances:
            versions = ", ".join(service.versions)
            message = f"only the versions of {other.service} have instances; write version: one of {versions}"
            yield Finding((*path, "service"), message)
        elif (other.service, other.version) in own:
            yield Finding((*path, "service"), anyway.format(other.service))
        elif (other.service, other.version) in seen:
            yield Finding((*path, "service"), f"{other.service} {again}: write it once")
        seen.add((other.service, other.version))
