"""The names of Kong's entities, each once."""

from __future__ import annotations

import re
from dataclasses import dataclass, field


@dataclass(slots=True)
class Names:
    """Portico's names are Kong's as well: letters, digits and `. - _`. An upstream's has to be a host's, too."""

    _counts: dict[tuple[str, str], int] = field(default_factory=dict)

    def free(self, kind: str, name: str) -> str:
        """`NAME`, or `NAME-2` where an entity of that kind has it."""
        number = self._counts.get((kind, name), 0) + 1
        self._counts[kind, name] = number
        return name if number == 1 else self.free(kind, f"{name}-{number}")

    def upstream(self, name: str) -> str:
        """That of an upstream: no address, and no label of it ends with a hyphen."""
        labels = (label.strip("-_") or "x" for label in re.split(r"\.+", name))
        return self.free("upstream", ".".join((*labels, "upstream")).lower())
