"""A service that is in maintenance: its requests are answered by the gateway until that is over."""

from __future__ import annotations

from math import ceil
from typing import Annotated, ClassVar

from pydantic import Field

from portico.core.errors import Answer, Refusal
from portico.core.exchange import Exchange
from portico.core.settings import Duration
from portico.policies.error_pages import Representations
from portico.policies.policy import Policy


class MaintenanceSettings(Representations):
    """503 for every request: clients may ask again after `retry_after`. Without a form of its own it has that of 503.

    `detail` is what problem documents and pages say.
    """

    drops_empty: ClassVar[bool] = True

    retry_after: Duration = 300.0
    """What `Retry-After` says."""
    detail: Annotated[str, Field(min_length=1, max_length=1000)] = "this service is in maintenance; try again later"
    """What the problem document and pages say."""


def refuse_in_maintenance(settings: MaintenanceSettings) -> Policy:
    """The policy that takes the place of all that guard the service."""
    lines = (b"Retry-After: %d" % ceil(settings.retry_after),)

    def refuse(exchange: Exchange) -> Answer:  # noqa: ARG001
        return Refusal("maintenance", settings.detail, lines)

    return refuse
