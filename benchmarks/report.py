"""What a run found, for the terminal and for results.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from benchmarks import machine, table
from benchmarks.peer import Peer
from benchmarks.result import Result
from benchmarks.rules import Cost
from benchmarks.rules import table as table_of_rules
from benchmarks.targets import targets

_NOTES = """\
Numbers are medians, and the targets' ratios the medians of the rounds' ratios: a machine whose speed changes from one
second to the next changes both sides of a round. A round measures every row of a scenario once, in an order that
rotates; each gateway has one worker, unless the row says otherwise, and the same backend. CPU is user and system time
of a gateway's whole process tree divided by the requests it answered. Requests/s and latencies describe a gateway
only where its core is busy: elsewhere the load generator or the backend is what they measure. A row with an answer that
is not 2xx is invalid; see `README.md`."""
_RULES = """\
## rules: what single rules of a route add

CPU of Portico's own code, played with the rule and without in turn, with neither sockets nor an event loop."""


@dataclass(frozen=True)
class Report:
    """The whole report; `versions` are those of the peers that were found, `absent` the others."""

    command: str
    seconds: float
    versions: Mapping[str, str]
    absent: Sequence[Peer]
    results: Sequence[Result]
    costs: Sequence[Cost] = ()

    def has_failed(self) -> bool:
        """Whether a peer that is installed could not be measured, or answered otherwise than with 2xx."""
        return any(r.unusable or not all(map(r.is_valid, r.samples)) for r in self.results)

    def for_terminal(self) -> str:
        """The medians and ratios of each scenario, and what they say about the targets."""
        sections = [*(_section(result) for result in self.results), *self._rules()]
        return "\n\n".join([*sections, *self._targets(), *self._absences(), f"It took {self._duration()}."])

    def as_markdown(self) -> str:
        """The whole record; of a peer that failed, only that it did: its output may hold paths of the machine."""
        when = (
            f"{datetime.now(UTC):%Y-%m-%d}, {len(self.results) + bool(self.costs)} scenarios in {self._duration()}. "
            f"To repeat it: `{self.command}`"
        )
        versions = "Peers: " + ", ".join(f"{name} {version}" for name, version in self.versions.items())
        facts = "\n".join(f"- {fact}" for fact in [*machine.facts(), versions, *self._absences()])
        sections = [*(_section(result, with_spread=True) for result in self.results), *self._rules()]
        return "\n\n".join(["# Results of the benchmark", when, *self._targets(), _NOTES, facts, *sections]) + "\n"

    def _targets(self) -> list[str]:
        found = targets(self.results, self.costs)
        return ["## Targets", found] if found else []

    def _rules(self) -> list[str]:
        return [_RULES, table_of_rules(self.costs)] if self.costs else []

    def _duration(self) -> str:
        return f"{self.seconds // 60:.0f} min {self.seconds % 60:.0f} s"

    def _absences(self) -> list[str]:
        wanted = {peer.name: peer.install for peer in self.absent}
        return [f"Missing: {name} (`{install}`)" for name, install in wanted.items()]


def _section(result: Result, with_spread: bool = False) -> str:
    scenario = result.scenario
    rounds = "1 round" if result.rounds == 1 else f"{result.rounds} rounds"
    held_back = f", each process with {result.share:g} of a core" if result.share else ""
    parts = [f"## {scenario.name}: {scenario.title}", f"{rounds} of {result.seconds:g} s{held_back}"]
    if result.samples:
        parts += [table.medians(result), "Ratios of the medians:", table.ratios(result) or "No baseline was measured."]
        parts += ["Least and greatest value:", table.spreads(result)] if with_spread and result.rounds > 1 else []
    parts += [f"Not measured: {row.label} {reason.splitlines()[0]}" for row, reason in result.unusable.items()]
    return "\n\n".join(parts)
