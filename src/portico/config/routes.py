"""Routes as they are written."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, ConfigDict, Field

from portico.config.answers import RedirectField, RespondField
from portico.config.canary import CanaryField
from portico.config.failover import FailoverField
from portico.config.levels import Policies
from portico.config.mirror import MirrorField
from portico.config.retries import RetryField
from portico.config.rewrites import KEEP, Rewrite
from portico.config.section import Many, NoneIsEmpty
from portico.config.services import MaintenanceField, PreserveHost, TimeoutField, Trailers, Upgrades
from portico.config.split import Otherwise, SideSettings, SideStickyField, SplitChoice, SplitField
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


class RouteSettings(Many):
    """Which requests go to a service: those whose path, hosts, methods, headers and query are as written.

    Empty lists match everything. A route with `fallback` in place of a path gets what no other route takes. In place of
    a service, a route may answer itself, with `respond` or `redirect`. `rewrite` is the path that the service gets:
    `{path}` in it is what follows the prefix, `{name}` what a pattern captured, and `keep` leaves the path as it is,
    which is what holds where the path is no prefix. With `redirect_slash` browsers that navigate to the bare prefix are
    redirected to `/prefix/`. `encoded_slashes` says that the service takes no `%2F` for a slash. Without a name a
    route is named after its service and version.

    A `split` in place of the service shares the requests out among several. `sticky` has a client stay with one of
    them, and `otherwise` says what becomes of the share of one that has no healthy instance. A `canary` beside the
    service is a split of two whose weights move by themselves. Services named by `mirror` get copies of the requests,
    those named by `failover` the requests themselves where the service fails.
    """

    model_config = ConfigDict(validate_default=False)  # each is what a value comes to; routes are many

    name: Name | None = None
    """For logs; unique. Where the default is taken, a number is added."""
    service: str | None = None
    """Where requests go."""
    split: SplitField = None
    """In place of a service: several, each of which gets a share of the requests."""
    canary: CanaryField = None
    """Beside the service: a new one, whose share of the requests grows step by step, or falls to nothing."""
    sticky: SideStickyField = None
    """How a client is known, who then stays on one side of the split, in all workers and gateways; `{cookie: auto,
    max_age: 30d}` has clients keep the cookie. Without it, each request is shared out by itself.
    """
    otherwise: Otherwise = "others"
    """What becomes of the share of a side none of whose instances can be used: the other sides have it, or it gets 503.
    """
    respond: Annotated[RespondField, NotEmpty("write respond: {status: 200, body: text}")] = None
    """In place of a service: what is written is sent."""
    redirect: Annotated[RedirectField, NotEmpty("write redirect: {to: /new/{path}}")] = None
    """In place of a service: clients are sent elsewhere."""
    version: str | None = None
    """A version of the service."""
    mirror: MirrorField = None
    """Services that get copies of the route's requests, whose answers are dropped."""
    failover: FailoverField = None
    """Services that are asked in place of the route's, one after the other, where that fails before its response has
    begun.
    """
    path: Annotated[str, AfterValidator(route_path)] | None = None
    """A prefix (`/users`), an exact path (`= /users`) or a pattern (`~ ^/users/(?P<id>[0-9]+)$`, `~*` where case means
    nothing), in ASCII, others as `%XX`. A slash at the end of a prefix means nothing. What is written as a pattern but
    as a prefix (`/users/[0-9]+`, `/users/:id`) is an error.
    """
    fallback: bool = False
    """In place of a path: the route takes what no other route takes."""
    hosts: Annotated[tuple[Annotated[str, AfterValidator(_host)], ...], _matches_all("hosts: [api.example.com]")] = ()
    """`api.example.com`, or `*.example.com` for everything below it, without scheme and port. Case and port of a
    request do not count. A name beyond ASCII is written as it is.
    """
    methods: Annotated[tuple[Method, ...], _matches_all("methods: [GET]")] = ()
    """Named in full; `GET` brings `HEAD` with it."""
    headers: Annotated[dict[HeaderName, FieldCondition], _matches_all("headers: {X-Name: value}")] = Field(
        default_factory=dict
    )
    """Each has to have this value, or match this pattern (`~ ^v[12]$`); what only looks like a pattern (`v*`, `^v`) is
    an error. A field on several lines is one value; where one line alone has that of a route, the request is refused
    with 400.
    """
    query: Annotated[dict[ParameterName, ParameterCondition], _matches_all("query: {name: value}")] = Field(
        default_factory=dict
    )
    """The same of query parameters, decoded; `true` for any value."""
    rewrite: Rewrite | None = None
    """The path that the service sees, with `{path}` and what a pattern captured (`/u/{id}`); `keep`: the path as the
    client sent it.
    """
    timeout: TimeoutField | None = None
    """In place of the service's, key by key."""
    retries: RetryField | None = None
    """In place of the service's, key by key."""
    redirect_slash: bool | None = None
    """In place of the service's."""
    encoded_slashes: bool = False
    """The service takes `%2F` in this route's paths for data, not for a slash."""
    preserve_host: PreserveHost | None = None
    """In place of the service's."""
    body_size: Size | None = None
    """In place of the service's."""
    upgrades: Upgrades | None = None
    """In place of the service's."""
    trailers: Trailers | None = None
    """In place of the service's."""
    maintenance: MaintenanceField = None
    """All requests of the route get 503 for now."""
    policies: Annotated[Policies, NoneIsEmpty] = Policies()
    """Policies for this route."""

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
        if (self.split or self.canary is not None) and (choice := self.choice) is not None:
            return tuple((side.service, side.version) for side in choice.sides)
        return () if self.service is None else ((self.service, self.version),)

    @property
    def narrows(self) -> bool:
        """Whether it takes some requests for its path only."""
        return bool(self.hosts or self.methods or self.headers or self.query)


ABOUT_SERVICES: Final = (
    *("version", "rewrite", "timeout", "retries", "redirect_slash", "encoded_slashes", "preserve_host"),
    *("upgrades", "trailers", "mirror", "failover"),
)
"""The keys that mean nothing on a route that answers itself."""
