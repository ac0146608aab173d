"""From a file and the environment to a configuration, or to everything that is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from portico.config.document import Document, parse_document
from portico.config.environment import Completed, complete
from portico.config.levels import ENVIRONMENT
from portico.config.model import POLICY_DEFAULTS, Config
from portico.config.problems import ConfigError, Finding, Problem, dotted
from portico.config.pruning import Indexes, is_consequence, original, removable, without
from portico.config.sample import SAMPLE
from portico.config.substitution import plain_data
from portico.config.words import LOCATED, findings_of

MOST_ROUNDS = 4


def load_config(path: Path | None, environ: Mapping[str, str]) -> Config:
    """Read `path`; without one, the three sample services are the configuration. Raises ConfigError."""
    if path is None:
        return _Loading(complete(SAMPLE, environ), None, []).config()
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _unreadable(path, f"not UTF-8 text: byte {error.start} does not belong there") from None
    except FileNotFoundError:
        raise _unreadable(path, "there is no such file; write one or name another with --config FILE") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise _unreadable(path, f"cannot be read: {reason}") from None
    return load_text(text, str(path), environ)


def load_text(text: str, filename: str, environ: Mapping[str, str]) -> Config:
    """Read a configuration from text; `filename` is for messages. Raises ConfigError with every problem found."""
    document = parse_document(text, filename)
    tree, unset = plain_data(document, environ)
    if tree is None:
        tree = {}
    if not isinstance(tree, dict):
        raise ConfigError([document.problem(Finding((), "expected keys and values at the top, such as services:"))])
    return _Loading(complete(tree, environ), document, unset).config()


def _unreadable(path: Path, message: str) -> ConfigError:
    return ConfigError([Problem(str(path), None, None, "", message)])


class _Loading:
    """One attempt to make a configuration of a tree, with all problems found on the way."""

    def __init__(self, completed: Completed, document: Document | None, unset: Sequence[Finding]) -> None:
        self.completed = completed
        self.document = document
        self.findings = list(unset)
        self.wrong = {finding.path for finding in unset}

    def config(self) -> Config:
        """Values that are wrong by themselves are removed until the rest can be checked as a whole."""
        for _ in range(MOST_ROUNDS):
            rest, indexes = without(self.wrong, self.completed.tree)
            try:
                config = Config.model_validate(rest, context={POLICY_DEFAULTS: self.completed.policy_defaults})
            except ValidationError as error:
                self._record(error, rest, indexes)
                if error.errors(include_url=False, include_input=False)[0]["type"] == LOCATED:
                    break
            else:
                break
        if self.findings:
            raise ConfigError(sorted({self._problem(finding): None for finding in self.findings}, key=_order))
        config._document = self.document
        return config

    def _record(self, error: ValidationError, rest: Any, indexes: Indexes) -> None:
        wrong = frozenset(self.wrong)
        for finding in findings_of(error, rest, Config):
            path = original(finding.path, indexes)
            if is_consequence(path, wrong, self.completed.tree):
                self.wrong.add(path[:2])
            else:
                self.findings.append(replace(finding, path=path))
                self.wrong.add(removable(path))

    def _problem(self, finding: Finding) -> Problem:
        if finding.path[:1] == (ENVIRONMENT,):
            return self._environment_problem(str(finding.path[1]), finding)
        for path, variable in self.completed.origins.items():
            if finding.path[: len(path)] == path:
                return self._environment_problem(variable, finding)
        if self.document is None:
            return Problem(None, None, None, dotted(finding.path), finding.message, finding.suggestion)
        return self.document.problem(finding)

    def _environment_problem(self, variable: str, finding: Finding) -> Problem:
        return Problem("environment", None, None, variable, finding.message, finding.suggestion)


def _order(problem: Problem) -> tuple[int, int, str]:
    return problem.line or 0, problem.column or 0, problem.key
