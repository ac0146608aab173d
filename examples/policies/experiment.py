"""An experiment (A/B test): every browser gets a variant, keeps it by a cookie, and the service is told which it is.

    services:
      shop:
        url: http://localhost:8001
        policies:
          plugins:
            - use: "./policies/experiment.py:Experiment"
              with: {name: checkout, variants: {old: 90, new: 10}}

The service reads the variant in `X-Variant`, and notes it with whatever the experiment is to find out.
"""

from __future__ import annotations

import re
from random import SystemRandom
from typing import Annotated, Final

from pydantic import Field

import portico
from portico.plugin import Duration, Exchange, HeaderName, Policy, ResponseHead

Word = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
"""What may stand in a cookie and in a header field as it is."""
_random: Final = SystemRandom()


class Experiment(Policy):
    """Assigns a variant to who has none, by weights; who brings a cookie keeps that of the cookie."""

    class Settings(portico.Settings):
        """`variants` have weights. A variant that is taken out of them is assigned anew to those who had it.

        `secure`: browsers send the cookie back over HTTPS only. A client can set the cookie itself, and so choose its
        variant: an experiment guards nothing.
        """

        name: Word
        variants: Annotated[dict[Word, Annotated[int, Field(ge=0)]], Field(min_length=2)]
        header: HeaderName = "X-Variant"
        max_age: Duration = 30 * 86400.0
        secure: bool = True

    settings: Settings

    async def open(self) -> None:
        if not any(self.settings.variants.values()):
            raise ValueError("every variant has the weight 0: at least one needs more")
        self.cookie = f"experiment_{self.settings.name}"
        self.of_cookie = re.compile(rf"(?:^|;)[ \t]*{self.cookie}=([^;]*)")

    def request(self, exchange: Exchange) -> None:
        found = self.of_cookie.search(exchange.headers.get("Cookie", ""))
        variant = found[1].strip() if found else ""
        if variant not in self.settings.variants:  # whatever else a client writes there goes no further
            variants = self.settings.variants
            (variant,) = _random.choices([*variants], [*variants.values()])
            exchange.state[self.cookie] = variant
        exchange.upstream_headers.set(self.settings.header, variant)

    def response(self, exchange: Exchange, head: ResponseHead) -> None:
        vary = head.headers.get("Vary", "")
        if not re.search(r"(?:^|,)\s*(?:\*|cookie)\s*(?:,|$)", vary, re.IGNORECASE):
            head.headers.add("Vary", "Cookie")
        if (variant := exchange.state.get(self.cookie)) is None:
            return
        # A cache that kept this response would hand one client's cookie, and its variant, to everybody.
        head.headers.set("Cache-Control", _private(head.headers.get("Cache-Control", "")))
        secure = "; Secure" if self.settings.secure else ""
        age = int(self.settings.max_age)
        head.headers.add(
            "Set-Cookie", f"{self.cookie}={variant}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax{secure}"
        )


def _private(written: str) -> str:
    """Cache-Control for one client alone (RFC 9111, section 5.2.2), otherwise as the service wants it."""
    directives = [each.strip() for each in written.split(",") if each.strip()]
    names = [each.partition("=")[0].lower() for each in directives]
    if "no-store" in names:
        return written
    shared = ("public", "private", "s-maxage", "proxy-revalidate")
    return ", ".join(["private", *(each for each, name in zip(directives, names, strict=True) if name not in shared)])
