"""Routes as they are written."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, Field

from portico.config.answers import RedirectField, RespondField
from portico.config.canary import CanaryField
from portico.config.levels import Policies
from portico.config.mirror import MirrorField
from portico.config.retries import RetryField
from portico.config.rewrites import KEEP, Rewrite
from portico.config.section import NoneIsEmpty, Section
from portico.config.services import MaintenanceField, PreserveHost, TimeoutField, Trailers, Upgrades
from portico.config.split import OtherwiseField, SideSettings, SideStickyField, SplitChoice, SplitField
from portico.core.conditions import FieldCondition, ParameterCondition, ParameterName
from portico.core.hosts import host_name
from portico.core.route_paths import is_prefix, route_path
from portico.core.settings import HeaderName, Method, Name, NotEmpty, Size


def _host(text: str) -> str:
    if text == "*":
        raise ValueError("a route without hosts takes every host; leave them out")
    return host_name(text, wildcard=True)


def _matches_all(example: str) -> NotEmpty:
    return NotEmpty(f"write {example}, or leave it out to match everything")


class RouteSettings(Section):
    """Which requests go to a service: those whose path, hosts, methods, headers and query are as written.

    Empty lists match everything. A route with `fallback` in place of a path gets what no other route takes. In place of
    a service, a route may answer itself, with `respond` or `redirect`. `rewrite` is the path that the service gets:
    `{path}` in it is what follows the prefix, `{name}` what a pattern captured, and `keep` leaves the path as it is,
    which is what holds where the path is no prefix. With `redirect_slash` browsers that navigate to the bare prefix are
    redirected to `/prefix/`. `encoded_slashes` says that the service takes no `%2F` for a slash. Without a name a
    route is named after its service and version.

    A `split` in place of the service shares the requests out among several. `sticky` has a client stay with one of
    them, and `otherwise` says what becomes of the share of one that has no healthy instance. A `canary` beside the
    service is a split of two whose weights move by themselves. Services named by `mirror` get copies of the requests.
    """

    name: Name | None = None
    service: str | None = None
    split: SplitField = None
    canary: CanaryField = None
    sticky: SideStickyField = None
    otherwise: OtherwiseField = "others"
    respond: Annotated[RespondField, NotEmpty("write respond: {status: 200, body: text}")] = None
    redirect: Annotated[RedirectField, NotEmpty("write redirect: {to: /new/{path}}")] = None
    version: str | None = None
    mirror: MirrorField = None
    path: Annotated[str, AfterValidator(route_path)] | None = None
    fallback: bool = False
    hosts: Annotated[tuple[Annotated[str, AfterValidator(_host)], ...], _matches_all("hosts: [api.example.com]")] = ()
    methods: Annotated[tuple[Method, ...], _matches_all("methods: [GET]")] = ()
    headers: Annotated[dict[HeaderName, FieldCondition], _matches_all("headers: {X-Name: value}")] = Field(
        default_factory=dict
    )
    query: Annotated[dict[ParameterName, ParameterCondition], _matches_all("query: {name: value}")] = Field(
        default_factory=dict
    )
    rewrite: Rewrite | None = None
    timeout: TimeoutField | None = None
    retries: RetryField | None = None
    redirect_slash: bool | None = None
    encoded_slashes: bool = False
    preserve_host: PreserveHost | None = None
    body_size: Size | None = None
    upgrades: Upgrades | None = None
    trailers: Trailers | None = None
    maintenance: MaintenanceField = None
    policies: Annotated[Policies, NoneIsEmpty] = Policies()

    @property
    def place(self) -> str:
        """Its path; that of a fallback, which has none, is all of them."""
        return self.path or "/"

    @property
    def becomes(self) -> str:
        """Its rewrite, written or not."""
        return self.rewrite or ("/{path}" if is_prefix(self.place) and not self.fallback else KEEP)

    @property
    def choice(self) -> SplitChoice | None:
        """What it is split into; None where it is not."""
        if self.split:
            return SplitChoice(self.split, self.sticky, self.otherwise)
        if self.canary is not None and self.service is not None:
            old = SideSettings(service=self.service, version=self.version, weight=100)
            new = SideSettings(service=self.canary.to, version=self.canary.version, weight=0)
            return SplitChoice((old, new), self.sticky, self.otherwise, self.canary)
        return None

    @property
    def targets(self) -> tuple[tuple[str, str | None], ...]:
        """The services that it leads to, with the versions that it names."""
        choice = self.choice
        if choice is not None:
            return tuple((side.service, side.version) for side in choice.sides)
        return () if self.service is None else ((self.service, self.version),)

    @property
    def narrows(self) -> bool:
        """Whether it takes some requests for its path only."""
        return bool(self.hosts or self.methods or self.headers or self.query)


ABOUT_SERVICES: Final = (
    *("version", "rewrite", "timeout", "retries", "redirect_slash", "encoded_slashes", "preserve_host"),
    *("upgrades", "trailers", "mirror"),
)
"""The keys that mean nothing on a route that answers itself."""
