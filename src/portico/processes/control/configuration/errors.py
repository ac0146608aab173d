"""What a request about the configuration fails with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from portico.config import Problem


class RefusedError(Exception):
    """Nothing has changed. `status` and `detail` are for the problem document, and `more` are its other members."""

    def __init__(self, status: int, detail: str, more: Mapping[str, Any] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.more = more or {}


def described(problem: Problem) -> dict[str, Any]:
    """A problem as JSON has it."""
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "key": problem.key,
        "message": problem.message,
        "suggestion": problem.suggestion,
        **({"rule": problem.rule} if problem.rule else {}),
    }


def invalid(problems: Sequence[Problem | str]) -> RefusedError:
    """A document that is wrong; a problem that is a text has no place of its own."""
    listed = [each if isinstance(each, Problem) else Problem(None, None, None, "", each) for each in problems]
    return RefusedError(422, "\n".join(map(str, problems)), {"problems": [*map(described, listed)]})
