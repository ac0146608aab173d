"""As many requests as the gateway can answer, by wrk."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from benchmarks.address import Address
from benchmarks.load import Outcome, first_number, generate, template_file
from benchmarks.request import Request
from benchmarks.tokens import token_file

SCRIPT = Path(__file__).with_suffix(".lua")
_sent: Counter[Path] = Counter()
"""How many requests a gateway has had, by its directory."""


@dataclass(frozen=True)
class Wrk:
    """wrk with one thread: each connection sends its next request as soon as it has its response."""

    request: Request
    connections: int = 32
    options: tuple[str, ...] = ("-t1", "--timeout", "10s")

    def run(self, address: Address, seconds: float, directory: Path) -> Outcome:
        outcome = generate(self.command(address, seconds, directory), seconds)
        _sent[directory] += outcome.requests + self.connections
        return outcome

    def command(self, address: Address, seconds: float, directory: Path) -> list[str]:
        """The generator's, with its files in `directory`; it goes on with the tokens that it has not sent lately."""
        load = [*self.options, f"-c{self.connections}", f"-d{max(1, round(seconds))}s", "-s", str(SCRIPT)]
        script = [str(template_file(self.request, directory)), str(first_number()), str(self.request.spread)]
        if self.request.tokens:
            script += [str(token_file(self.request.tokens, directory)), str(_sent[directory])]
        return ["wrk", *load, address.url, "--", *script]


def missing_generator() -> str | None:
    """What to say where wrk is not installed."""
    return None if shutil.which("wrk") else "wrk is missing: apt install wrk"
