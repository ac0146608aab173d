"""Tokens that the gateway issues."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from portico.config.section import Section
from portico.core.settings import DurationOrZero


class TokenSettings(Section):
    """Tokens that the gateway issues at `/auth/token`.

    `refresh` is how long a refresh token is good for if it is not used; 0: there are none. `refresh_grace` is how long
    one that was used may come again, as it does from two tabs of a browser; 0: never.
    """

    refresh: DurationOrZero = 14 * 86_400.0
    refresh_grace: Annotated[DurationOrZero, Field(le=60)] = 10.0
