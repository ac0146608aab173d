"""Services that are not in the file: they are found in a registry, and get a route by a pattern."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field

from portico.config.discovery import AllowField, DiscoverSettings, Source, long_discover
from portico.config.routes import RouteSettings
from portico.config.section import NoneIsEmpty, Section, Whole, names_like
from portico.config.services import ServiceDefaults, ServiceSettings
from portico.core.route_paths import path_prefix
from portico.core.settings import Duration, NotEmpty

_DEFAULT_PATH: Final = "/api/{name}"


def _path(text: str) -> str:
    segments = text.split("/")
    if segments.count("{name}") != 1 or text.count("{name}") != 1:
        raise ValueError("{name} has to stand in it once, as a whole segment: /api/{name}")
    index = segments.index("{name}")
    plain = path_prefix("/".join([*segments[:index], "name", *segments[index + 1 :]])).split("/")
    return "/".join([*plain[:index], "{name}", *plain[index + 1 :]])


class DiscoverySettings(Section):
    """Services that register under a name that matches `services` are reached at `path`, without being in the file.

    `service` holds their settings. `max_services` is how many there are at most; one that has had no instance for
    `forget_after` seconds is removed. `allow` holds for written services with `discover` too, unless they have their
    own.
    """

    source: Source
    """Where they register: in the Redis of `gateway.redis_url`, or over the admin API of this gateway, which keeps them
    in memory.
    """
    services: tuple[Annotated[str, names_like("service")], ...] = ("*",)
    """Names that are admitted; `*` and `?` stand for other characters."""
    path: Annotated[str, AfterValidator(_path)] = _DEFAULT_PATH
    """Their route, with `{name}` as one whole segment; the rewrite is `/{path}`."""
    allow: AllowField = None
    """Where instances may be; those elsewhere get no requests. In a service: what the top says, where nothing is
    written. Link-local addresses and those of a cloud's metadata have to be named here one by one, or as a network of
    nothing else.
    """
    max_services: Annotated[Whole, Field(ge=1, le=10_000)] = 100
    """How many there are at most; those that come first stay."""
    forget_after: Duration = 300.0
    """How long one without instances is answered for, with 503, before its route goes."""
    service: Annotated[ServiceDefaults, NoneIsEmpty] = ServiceDefaults()
    """What each of them is configured as: the keys of a service but for `url`, `instances`, `discover`, `versions` and
    `default_routes`.
    """

    def admits(self, name: str) -> bool:
        """Whether a service of this name is accepted."""
        return any(fnmatchcase(name, pattern) for pattern in self.services)

    def found_service(self) -> ServiceSettings:
        """The configuration of each of them."""
        values: dict[str, Any] = {key: getattr(self.service, key) for key in self.service.model_fields_set}
        values |= {"discover": DiscoverSettings(source=self.source), "default_routes": self.path == _DEFAULT_PATH}
        return ServiceSettings.model_construct(set(values), **values)  # its values were validated already

    def found_routes(self, names: Iterable[str]) -> list[RouteSettings]:
        """The routes to services of these names, unless they are the default routes."""
        if self.path == _DEFAULT_PATH:
            return []
        return [RouteSettings(name=name, service=name, path=self.path.replace("{name}", name)) for name in names]


DiscoveryField = Annotated[
    DiscoverySettings | None,
    BeforeValidator(long_discover, json_schema_input_type=bool | Source | DiscoverySettings),
    NotEmpty("write discover: redis or discover: admin, or leave it out"),
]
