"""A plan in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from portico.plan.compare import Plan

_MARKS: Final = {"added": "+", "removed": "-", "changed": "~"}


def lines(plan: Plan) -> Iterator[str]:
    """A plan as people read it: a line for each change, those below it indented, then how many there are."""
    if not plan.changes:
        yield "no changes"
        return
    for change in plan.changes:
        effect = f", {change.effect}" if change.effect else ""
        where = f" ({change.where})" if change.where else ""
        yield f"{_MARKS[change.kind]} {change.what}{effect}{where}"
        yield from (f"    {line}" for line in change.details)
        if change.warning:
            yield f"    warning: {change.warning}"
    yield summary(plan)


def summary(plan: Plan) -> str:
    """How many changes there are, of which kind and with which effect, in one line."""
    kinds = Counter(str(change.kind) for change in plan.changes)
    effects = Counter(str(change.effect) for change in plan.changes if change.effect)
    said = [", ".join(f"{number} {word}" for word, number in counted.items()) for counted in (kinds, effects)]
    warnings = _count(plan.warnings, "warning") if plan.warnings else ""
    return f"{_count(plan.changes, 'change')}: {'; '.join(filter(None, (*said, warnings)))}"


def _count(things: Sequence[object], word: str) -> str:
    return f"{len(things)} {word}{'' if len(things) == 1 else 's'}"
