"""Who may use the gateway's own endpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, model_validator

from portico.config.section import Section, is_word
from portico.core.networks import NetworkField

PATHS: Final = {"/": "root", "/health": "health", "/metrics": "metrics", "/docs": "docs", "/openapi.json": "docs"}
"""The endpoints that the control process answers, and their keys."""
PAGE_FILES: Final = tuple(
    f"/docs/{name}"
    for name in ("swagger-ui.css", "swagger-ui-bundle.js", "start.js", "favicon.png", "oauth2-redirect.html")
)
"""What the page at `/docs` is made of. They are where it is."""
KEYS: Final = "/.well-known/jwks.json"
METADATA: Final = "/.well-known/oauth-authorization-server"
TOKEN_PATHS: Final = {
    "/auth/token": ("POST",),
    "/auth/revoke": ("POST",),
    "/auth/me": ("GET", "HEAD"),
    KEYS: ("GET", "HEAD"),
    METADATA: ("GET", "HEAD"),
}
"""Those at which tokens are issued, where they are, with their methods. Their key is `auth`."""


def _access(value: Any) -> Any:
    return "off" if is_word(value, False) else value.lower() if isinstance(value, str) else value


Access = Annotated[
    Literal["public", "internal", "admin", "off"], BeforeValidator(_access, json_schema_input_type=str | bool)
]
"""Everybody, or clients in named networks, on the gateway's port; the admin API's alone; or nobody."""
OpenAccess = Annotated[
    Literal["public", "internal", "off"], BeforeValidator(_access, json_schema_input_type=str | bool)
]
"""The same for what the admin API does not have."""


class HealthEndpoint(Section):
    """`/health`: with `detail: states` it leaves out addresses and errors of instances."""

    access: Access = "public"
    """Who gets `/health`: `public`, `internal`, `admin`, or `off`."""
    detail: Literal["full", "states"] = "full"
    """With `states` it has the status of services and instances, and neither addresses nor the texts of errors."""


HealthField = Annotated[
    HealthEndpoint,
    BeforeValidator(
        lambda value: value if isinstance(value, (dict, HealthEndpoint)) else {"access": value},
        json_schema_input_type=str | bool | HealthEndpoint,
    ),
]


class EndpointSettings(Section):
    """Who gets an answer at `/`, `/health`, `/metrics` and `/docs`; `networks` are the ones that count as internal.

    `auth` is for `/auth/token` and what belongs to it, where tokens are issued. The admin API has the others, too, for
    whoever may use it. A path that is not public is a service's like any other where a route leads to one.
    """

    root: Access = "public"
    """Who gets `/`, which lists the services: `public`, `internal`, `admin`, or `off`."""
    health: HealthField = HealthEndpoint()
    """Who gets `/health`, by the same words, and how much it says."""
    metrics: Access = "public"
    """Who gets `/metrics`, by the same words."""
    docs: Access = "public"
    """Who gets `/docs` and `/openapi.json`, the documents of all services in one, by the same words."""
    auth: OpenAccess = "public"
    """Who gets `/auth/token`, `/auth/revoke`, `/auth/me`, `/.well-known/jwks.json` and
    `/.well-known/oauth-authorization-server`, as far as they are there where tokens are issued: `public`, `internal`,
    or `off`.
    """
    networks: tuple[NetworkField, ...] = ()
    """Those whose clients are `internal`. Behind trusted proxies it is the client's address that counts."""

    @model_validator(mode="after")
    def _names_networks(self) -> Self:
        if not self.networks and "internal" in (self.root, self.health.access, self.metrics, self.docs, self.auth):
            raise ValueError("internal needs networks: name those of your own, such as networks: [10.0.0.0/8]")
        return self

    def access(self, path: str) -> str:
        """That of one of `PATHS`, `PAGE_FILES` or `TOKEN_PATHS`."""
        value = getattr(self, "docs" if path in PAGE_FILES else PATHS.get(path, "auth"))
        return value.access if isinstance(value, HealthEndpoint) else str(value)

    def served(self, token_paths: Sequence[str] = ()) -> list[str]:
        """Those of `PATHS`, and of `TOKEN_PATHS` these, that are answered on the gateway's port."""
        return [path for path in (*PATHS, *token_paths) if self.access(path) in ("public", "internal")]

    @property
    def page_files(self) -> tuple[str, ...]:
        """Those of `PAGE_FILES` that are answered there."""
        return PAGE_FILES if self.docs in ("public", "internal") else ()


ALL_OFF: Final = EndpointSettings(
    root="off", health=HealthEndpoint(access="off"), metrics="off", docs="off", auth="off"
)
