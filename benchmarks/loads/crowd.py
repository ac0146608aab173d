"""As many requests of a crowd as the gateway can answer, by wrk: each is another user's, drawn at random."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.address import Address
from benchmarks.load import Outcome, first_number, generate
from benchmarks.loads.wrk import SCRIPT
from benchmarks.mixes import crowd
from benchmarks.request import Request


@dataclass(frozen=True)
class Crowd:
    """wrk with one thread, which sends what was made before; with tokens of an `algorithm`, HS256 unless it is said."""

    algorithm: str = ""
    connections: int = 32

    @property
    def request(self) -> Request:
        return Request("/items", tokens=self.algorithm)

    def run(self, address: Address, seconds: float, directory: Path) -> Outcome:
        file = self._file(directory)
        load = ["-t1", "--timeout", "10s", f"-c{self.connections}", f"-d{max(1, round(seconds))}s", "-s", str(SCRIPT)]
        return generate(["wrk", *load, address.url, "--", str(file), str(first_number()), "drawn"], seconds)

    def _file(self, directory: Path) -> Path:
        """The requests as they go over the wire, with a NUL between each and the next."""
        path = directory / "crowd.txt"
        if not path.exists():
            path.write_bytes(b"\0".join(head for head, _ in crowd(algorithm=self.algorithm)))
        return path
