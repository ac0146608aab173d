"""As many requests as the gateway can answer, by wrk."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from benchmarks.address import Address
from benchmarks.load import Outcome, first_number, generate, template_file
from benchmarks.request import Request

_SCRIPT = Path(__file__).with_suffix(".lua")


@dataclass(frozen=True)
class Wrk:
    """wrk with one thread: each connection sends its next request as soon as it has its response."""

    request: Request
    connections: int = 32
    options: tuple[str, ...] = ("-t1", "--timeout", "10s")

    def run(self, address: Address, seconds: float, directory: Path) -> Outcome:
        template = template_file(self.request, directory)
        load = [*self.options, f"-c{self.connections}", f"-d{max(1, round(seconds))}s", "-s", str(_SCRIPT)]
        script = [str(template), str(first_number()), str(self.request.spread)]
        return generate(["wrk", *load, address.url, "--", *script], seconds)


def missing_generator() -> str | None:
    """What to say where wrk is not installed."""
    return None if shutil.which("wrk") else "wrk is missing: apt install wrk"
