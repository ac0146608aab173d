"""From a file and the environment to a configuration, or to everything that is wrong with them."""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from portico.config.document import parse_document
from portico.config.environment import Completed, complete, read_environment
from portico.config.model import POLICY_DEFAULTS, Config
from portico.config.origin import Origin
from portico.config.problems import ConfigError, Finding, Problem, nearest
from portico.config.pruning import Indexes, is_consequence, original, removable, without
from portico.config.sample import SAMPLE
from portico.config.substitution import plain_data
from portico.config.words import LOCATED, findings_of

MOST_ROUNDS = 4
_STREAMS = ("/dev/stdin", "/dev/fd/")


def load_config(path: Path | None, environ: Mapping[str, str]) -> Config:
    """Read `path`; without one, the configuration is that of the demo. Raises ConfigError."""
    if path is None:
        environment = read_environment(environ)
        completed = complete(SAMPLE, environment.values)
        origin = Origin(None, completed.origins)
        return _Loading(completed, origin, Path.cwd(), environment.wrong, environment.ignored).config()
    try:
        if not _may_be_read(path):
            raise _unreadable(path, "cannot be read: it is not a regular file")
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = data.count(b"\n", 0, error.start) + 1, error.start - data.rfind(b"\n", 0, error.start)
        message = f"not UTF-8 text: the byte {data[error.start]:#04x} does not belong there"
        raise ConfigError([Problem(str(path), line, column, "", message)]) from None
    except FileNotFoundError:
        message = "there is no such file; portico init writes one"
        raise _unreadable(path, message) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise _unreadable(path, f"cannot be read: {reason}") from None
    return load_text(text, str(path), environ)


def load_text(text: str, filename: str, environ: Mapping[str, str]) -> Config:
    """Read a configuration from text; `filename` is for messages. Raises ConfigError with every problem found."""
    document = parse_document(text, filename)
    environment = read_environment(environ)
    tree, wrong = plain_data(document, environment.values)
    if not tree and not wrong:
        raise ConfigError([document.problem(Finding((), "nothing is written in it: at least services: is needed"))])
    if not isinstance(tree, dict):
        raise ConfigError([document.problem(Finding((), "expected keys and values at the top, such as services:"))])
    if tree and not any(key in Config.model_fields or nearest(key, Config.model_fields) for key in tree):
        message = "this is no configuration of Portico: services:, routes:, policies: or gateway: are at its top"
        raise ConfigError([document.problem(Finding((), message))])
    completed = complete(tree, environment.values)
    origin = Origin(document, completed.origins, environment.values)
    directory = Path.cwd() / ("" if filename.startswith(_STREAMS) else Path(filename).parent)
    return _Loading(completed, origin, directory, [*wrong, *environment.wrong], environment.ignored).config()


def _may_be_read(path: Path) -> bool:
    """Whether reading it can end, or says itself why not: a named pipe without a writer would be waited for."""
    mode = path.stat().st_mode
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode) or str(path).startswith(_STREAMS)


def _unreadable(path: Path, message: str) -> ConfigError:
    return ConfigError([Problem(str(path), None, None, "", message)])


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


def _order(problem: Problem) -> tuple[int, int, str]:
    return problem.line or 0, problem.column or 0, problem.key
