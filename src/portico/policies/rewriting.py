"""Responses in which a service names itself: whether they are rewritten to what its clients can use. On by default.

It is no link of the chain: `proxy/rewriting.py` does it where a response is composed.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator

from portico.core.hosts import host_name
from portico.core.settings import Settings


class RewriteLocationSettings(Settings):
    """Location, Content-Location, Refresh and Link: on or off."""


def _word(value: Any) -> Any:
    return "off" if value is False else value  # YAML reads off as false


def _domain(text: str) -> str:
    return text if text in ("auto", "off") else host_name(text)


Word = Annotated[Literal["auto", "off"], BeforeValidator(_word, json_schema_input_type=Literal["auto", "off", False])]
Domain = Annotated[str, AfterValidator(_domain), BeforeValidator(_word, json_schema_input_type=str | Literal[False])]


class RewriteCookiesSettings(Settings):
    """`path`: whether the prefix that a route takes off is added to the Path of cookies.

    `domain`: what becomes of a Domain that is the service's own: nothing, so that the cookie is that of the public
    host alone (`auto`), this one, or `off`: it stays.
    """

    path: Word = "auto"
    """On routes that change the path, `Path` of a `Set-Cookie` goes the same way back: `/login` becomes
    `/api/shop/login`, and `/`, or whatever is above all that the route leads to, `/api/shop`. Otherwise the browser
    would not send the first one back, and services under one host would overwrite each other's cookies. `off` is for
    services that share cookies.
    """
    domain: Domain = "auto"
    """A `Domain` that covers a host of the service's instances and not the one that the client asked, so that browsers
    would refuse the cookie, goes: the cookie is that of the host alone. So does an address, `localhost`, or a name
    under `.internal` and its like, whose ever it is: no browser asks such a host from outside. With a host it becomes
    that one.
    """
