"""Where each part of a configuration was written: in the file, or in the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from portico.config.document import Document
from portico.config.problems import ENVIRONMENT, Finding, KeyPath, Problem, dotted
from portico.config.substitution import files_at, variables_at


@dataclass(frozen=True, slots=True)
class Origin:
    """The file, if there is one, and the paths of values that came from variables which stand for keys.

    `environ` holds the variables that `${NAME}` may have been replaced by.
    """

    document: Document | None = None
    variables: Mapping[KeyPath, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)

    def problem(self, finding: Finding) -> Problem:
        """A finding with its file, line and column, or with the name of its variable."""
        if finding.path[:1] == (ENVIRONMENT,):
            return _of_variable(str(finding.path[1]), finding)
        for path, variable in self.variables.items():
            if finding.path[: len(path)] == path:
                return _of_variable(variable, finding)
        if self.document is None:
            return Problem(None, None, None, dotted(finding.path), finding.message, finding.suggestion)
        problem = self.document.problem(finding)
        names = variables_at(self.document, finding.path, self.environ)
        names = [] if "environment variable" in problem.message else names
        sources = [f"the environment: {', '.join(names)}"] if names else []
        files = [file for file in files_at(self.document, finding.path) if file not in problem.message]
        sources += [f"the file {file}" for file in files]
        return replace(problem, message=f"{problem.message} (from {' and '.join(sources)})") if sources else problem


def _of_variable(variable: str, finding: Finding) -> Problem:
    return Problem("environment", None, None, variable, finding.message, finding.suggestion)
