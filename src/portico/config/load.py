"""From a file and the environment to a configuration, or to everything that is wrong with them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from portico.config.answer_files import read_answers
from portico.config.document import parse_document
from portico.config.environment import Completed, complete, read_environment
from portico.config.include import add_included, add_texts
from portico.config.model import POLICY_DEFAULTS, Config, Moment
from portico.config.openapi_files import read_documents
from portico.config.origin import Origin
from portico.config.pages import read_pages
from portico.config.policy_documents import document_findings
from portico.config.problems import ConfigError, Finding, Problem, nearest
from portico.config.pruning import Indexes, is_consequence, original, removable, without
from portico.config.reading import STREAMS, read_text
from portico.config.sample import SAMPLE
from portico.config.secret_files import SecretFiles
from portico.config.source import Source
from portico.config.substitution import plain_data
from portico.config.words import LOCATED, findings_of
from portico.core.slices import collecting_later

MOST_ROUNDS = 4


def load_config(path: Path | None, environ: Mapping[str, str]) -> Config:
    """Read `path`; without one, the configuration is that of the demo. Raises ConfigError."""
    read_at = time.time()
    config = _read(path, environ)
    config._read_at = Moment(read_at)
    return config


def _read(path: Path | None, environ: Mapping[str, str]) -> Config:
    if path is None:
        environment = read_environment(environ)
        completed = complete(SAMPLE, environment.values)
        origin = Origin(None, completed.origins)
        return _Loading(completed, origin, Path.cwd(), environment.wrong, environment.ignored).config()
    return load_text(read_text(path), str(path), environ)


def load_text(
    text: str, filename: str, environ: Mapping[str, str], included: Mapping[str, str] | None = None
) -> Config:
    """Read a configuration from text; `filename` is for messages, and its folder that of what it names.

    With `included` those are the texts of the files that it includes, by path, whatever is on disk. Raises ConfigError
    with every problem found.
    """
    with collecting_later():
        return _of_text(text, filename, environ, included)


def _of_text(text: str, filename: str, environ: Mapping[str, str], included: Mapping[str, str] | None) -> Config:
    document = parse_document(text, filename)
    environment = read_environment(environ)
    directory = Path.cwd() / ("" if filename.startswith(STREAMS) else Path(filename).parent)
    if included is None:
        included = add_included(document, directory, environment.values)
    else:
        problems: list[Problem] = []
        add_texts(document, included, problems)
        if problems:
            raise ConfigError(problems)
    secrets = SecretFiles(directory)
    tree, wrong = plain_data(document, environment.values, secrets)
    if not tree and not wrong:
        raise ConfigError([document.problem(Finding((), "nothing is written in it: at least services: is needed"))])
    if not isinstance(tree, dict):
        raise ConfigError([document.problem(Finding((), "expected keys and values at the top, such as services:"))])
    if tree and not any(key in Config.model_fields or nearest(key, Config.model_fields) for key in tree):
        message = "this is no configuration of Portico: services:, routes:, policies: or gateway: are at its top"
        raise ConfigError([document.problem(Finding((), message))])
    completed = complete(tree, environment.values)
    origin = Origin(document, completed.origins, environment.values)
    config = _Loading(completed, origin, directory, [*wrong, *environment.wrong], environment.ignored).config()
    config._secret_files = secrets.paths
    config._source = Source(filename, text, included)
    return config


class _Loading:
    """One attempt to make a configuration of a tree, with all problems found on the way."""

    def __init__(
        self,
        completed: Completed,
        origin: Origin,
        directory: Path,
        wrong: Sequence[Finding],
        ignored: Sequence[Finding],
    ) -> None:
        self.completed = completed
        self.origin = origin
        self.directory = directory
        self.ignored = tuple(ignored)
        self.findings = list(wrong)
        self.wrong = {finding.path for finding in wrong}

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
            raise ConfigError(sorted({self.origin.problem(finding): None for finding in self.findings}, key=_order))
        config._origin, config._ignored, config._directory = self.origin, self.ignored, self.directory
        config._pages, findings = read_pages(config)
        config._files, wrong = read_answers(config)
        config._documents, unread = read_documents(config)
        if findings := [*findings, *wrong, *unread]:
            raise ConfigError(sorted({self.origin.problem(finding): None for finding in findings}, key=_order))
        if findings := list(document_findings(config)):
            raise ConfigError(sorted({self.origin.problem(finding): None for finding in findings}, key=_order))
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


def _order(problem: Problem) -> tuple[str, int, int, str]:
    return problem.file or "", problem.line or 0, problem.column or 0, problem.key
