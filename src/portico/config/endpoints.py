"""Who may use the gateway's own endpoints."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, model_validator

from portico.config.section import Section, is_word
from portico.core.networks import NetworkField

PATHS: Final = {"/": "root", "/health": "health", "/metrics": "metrics"}
"""The endpoints that the control process answers, and their keys."""


def _access(value: Any) -> Any:
    return "off" if is_word(value, False) else value.lower() if isinstance(value, str) else value


Access = Annotated[
    Literal["public", "internal", "admin", "off"], BeforeValidator(_access, json_schema_input_type=str | bool)
]
"""Everybody, or clients in named networks, on the gateway's port; the admin API's alone; or nobody."""


class HealthEndpoint(Section):
    """`/health`: with `detail: states` it leaves out addresses and errors of instances."""

    access: Access = "public"
    detail: Literal["full", "states"] = "full"


HealthField = Annotated[
    HealthEndpoint,
    BeforeValidator(
        lambda value: value if isinstance(value, (dict, HealthEndpoint)) else {"access": value},
        json_schema_input_type=str | bool | HealthEndpoint,
    ),
]


class EndpointSettings(Section):
    """Who gets an answer at `/`, `/health`, `/metrics` and `/docs`; `networks` are the ones that count as internal.

    The admin API has `/health` and `/metrics`, too, for whoever may use it. A path that is not public is a service's
    like any other where a route leads to one.
    """

    root: Access = "public"
    health: HealthField = HealthEndpoint()
    metrics: Access = "public"
    docs: Access = "public"
    networks: tuple[NetworkField, ...] = ()

    @model_validator(mode="after")
    def _names_networks(self) -> Self:
        if not self.networks and "internal" in (self.root, self.health.access, self.metrics, self.docs):
            raise ValueError("internal needs networks: name those of your own, such as networks: [10.0.0.0/8]")
        return self

    def access(self, path: str) -> str:
        """That of one of `PATHS`."""
        value = getattr(self, PATHS[path])
        return value.access if isinstance(value, HealthEndpoint) else str(value)

    def served(self) -> list[str]:
        """Those of `PATHS` that are answered on the gateway's port."""
        return [path for path in PATHS if self.access(path) in ("public", "internal")]


ALL_OFF: Final = EndpointSettings(root="off", health=HealthEndpoint(access="off"), metrics="off", docs="off")
