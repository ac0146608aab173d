"""How a service's instances share its requests."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from portico.config.section import Section
from portico.core.settings import HeaderName


class HeaderKey(Section):
    """Requests with the same value of a header go to the same instance."""

    header: HeaderName
    """The field whose value they have in common."""


def _cookie(name: str) -> str:
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
        raise ValueError("not the name of a cookie")
    return name


CookieName = Annotated[str, AfterValidator(_cookie)]
"""As in RFC 6265, section 4.1.1."""


class CookieKey(Section):
    """Requests with the same value of a cookie go to the same instance."""

    cookie: CookieName
    """The cookie whose value they have in common."""


class ConsistentHashSettings(Section):
    """What requests have in common that go to the same instance."""

    consistent_hash: Literal["client_ip"] | HeaderKey | CookieKey
    """What requests have in common that go to the same instance."""


Word = Literal["round_robin", "least_connections", "power_of_two", "random", "consistent_hash"]


def _long_hash(value: Any) -> Any:
    return ConsistentHashSettings(consistent_hash="client_ip") if value == "consistent_hash" else value


LoadBalancing = Annotated[Word | ConsistentHashSettings, AfterValidator(_long_hash)]
