"""Maintenance: everybody but a few gets a page that says so, for as long as a file is there.

    policies:
      plugins:
        - use: "./policies/maintenance.py:Maintenance"
          before: auth                          # nobody needs a token to be told
          with: {switch: /run/portico/maintenance, allow: [10.0.0.0/8]}

`touch /run/portico/maintenance` begins it and `rm` ends it, at once and in every worker; so does `closed: true` with a
reload. The gateway's own `/health`, `/livez`, … answer as ever: a balancer is to go on sending clients here.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Annotated

from pydantic import Field, IPvAnyNetwork

import portico
from portico.plugin import Exchange, Policy, Verdict, answer, refuse

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Back soon</title>
<h1>Back soon</h1><p>We are working on it. Please try again in a few minutes.
"""


class Maintenance(Policy):
    """Answers 503 with `Retry-After`: a page to browsers, a problem document to programs."""

    class Settings(portico.Settings):
        """`allow` are the networks of those who go on working; behind proxies, `trusted_proxies` has to name these.

        `page` is a file with HTML, read once for every configuration.
        """

        switch: Path | None = None
        closed: bool = False
        allow: list[IPvAnyNetwork] = []
        page: Path | None = None
        retry_after: Annotated[int, Field(ge=1)] = 300

    settings: Settings

    async def open(self) -> None:
        if self.settings.switch is not None and not self.settings.switch.is_absolute():
            raise ValueError(f"{self.settings.switch}: write the whole path of the switch")
        self.page = PAGE if self.settings.page is None else self.settings.page.read_text(encoding="utf-8")

    def request(self, exchange: Exchange) -> Verdict:
        switch = self.settings.switch
        is_on = self.settings.closed or (switch is not None and switch.exists())  # a microsecond: the kernel caches it
        if not is_on or self.is_allowed(exchange.client_ip):
            return None
        fields = {"Retry-After": str(self.settings.retry_after), "Cache-Control": "no-store", "Vary": "Accept"}
        if _takes_html(exchange.headers.get("Accept", "")):
            return answer(503, self.page, {**fields, "Content-Type": "text/html; charset=utf-8"})
        return refuse(503, "maintenance", "this service is being worked on; try again later", fields)

    def is_allowed(self, client_ip: str) -> bool:
        """Whether a client works on: it is from one of the networks."""
        try:
            address = ip_address(client_ip)
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped  # what a socket for both shows of 10.1.2.3 is ::ffff:10.1.2.3
        return any(address in network for network in self.settings.allow)


def _takes_html(accept: str) -> bool:
    """Whether a client names HTML among what it accepts, as browsers do and programs do not."""
    return re.search(r"(?:^|,)\s*text/html\s*(?:[;,]|$)", accept, re.IGNORECASE) is not None
