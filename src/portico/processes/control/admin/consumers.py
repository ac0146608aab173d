"""Consumers over the admin API: who may sign in or hold a key, without anything that proves it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from portico.config.consumers import ConsumerSettings
from portico.processes.control.admin.models import Page, Shown
from portico.processes.control.admin.places import Places
from portico.processes.control.state import State


class ConsumerModel(Shown):
    """A consumer of the configuration."""

    name: str
    scopes: list[str]
    """What it has where it shows no token that says so itself."""
    signs_in: bool
    """Whether it has a password."""
    keys: int
    """How many API keys it has in the file."""
    made_keys: int
    """How many it has beside them that hold now (`GET /admin/keys`)."""
    certificates: list[str]
    """The names of its certificates."""
    rate_limit: dict[str, Any] | None
    """Its own numbers of limits."""
    where: str | None
    """File and line of it; null where they are not known."""


class ConsumersPage(Page):
    """All consumers of the configuration, in its order."""

    consumers: list[ConsumerModel]


def consumer_routes(state: State, places: Places) -> APIRouter:
    """`/admin/consumers`."""
    router = APIRouter(prefix="/admin/consumers", tags=["consumers"])

    @router.get("")
    async def consumers() -> ConsumersPage:
        """Who may sign in or hold a key; no password, no key and no hash of one."""
        where, made = await places.where(), state.api_keys.held_by()
        shown = [
            _model(each, made.get(each.name, 0), where(("consumers", index)))
            for index, each in enumerate(state.config.consumers)
        ]
        return ConsumersPage(generation=state.generation, consumers=shown)

    return router


def _model(consumer: ConsumerSettings, made_keys: int, where: str | None) -> ConsumerModel:
    numbers = consumer.rate_limit.model_dump(exclude_unset=True, mode="json") if consumer.rate_limit else None
    return ConsumerModel(
        name=consumer.name,
        scopes=[*consumer.scopes],
        signs_in=consumer.password is not None,
        keys=len(consumer.keys),
        made_keys=made_keys,
        certificates=[*consumer.certificates],
        rate_limit=numbers,
        where=where,
    )
