"""What came of one application."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

from .application import Situation

OK = "ok"


@dataclass
class Outcome:
    """Versions of what was run, and by situation `ok` or what went wrong; `problem` where none could be run."""

    versions: dict[str, str] = field(default_factory=dict)
    situations: dict[Situation, str] = field(default_factory=dict)
    problem: str = ""

    @property
    def is_well(self) -> bool:
        return not self.problem and all(each == OK for each in self.situations.values())

    def as_json(self) -> str:
        return json.dumps(asdict(self))


def from_json(text: str) -> Outcome:
    """What `as_json` gave."""
    found = json.loads(text)
    found["situations"] = {Situation(name): each for name, each in found["situations"].items()}
    return Outcome(**found)
