"""What the gateway answers itself, as data."""

from __future__ import annotations

from portico.core.errors import Answer, Refusal
from portico.snapshot.explain.explanation import Answered
from portico.snapshot.explain.question import shown


def answered(answer: Answer) -> Answered:
    """An answer, without its body."""
    headers = [
        [*map(shown, (name, value.strip()))] for name, _, value in (line.partition(b":") for line in answer.lines)
    ]
    detail = answer.detail if isinstance(answer, Refusal) else ""
    return Answered(status=answer.status, reason=answer.reason, detail=detail, headers=headers, body="")
