"""What `portico check` found, in the form that is asked for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import typer

from portico.cli.console import err, fail_usage, say

if TYPE_CHECKING:
    from portico.config import Problem

INVALID: Final = "invalid"
"""The rule of what makes a configuration one that cannot be used: it is always an error."""


class Form(StrEnum):
    """How findings are printed."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


class Severity(StrEnum):
    """What a finding is."""

    ERROR = "error"
    WARNING = "warning"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One finding with its rule and what it counts as."""

    severity: Severity
    rule: str
    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None
    key: str | None = None
    suggestion: str | None = None

    @property
    def text(self) -> str:
        """What is said of it, without its place."""
        hint = f'; did you mean "{self.suggestion}"?' if self.suggestion else ""
        return ": ".join(part for part in (self.key, self.message) if part) + hint

    def __str__(self) -> str:
        position = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        return f"{position}: {self.text}" if position else self.text


def verdict(problem: Problem, severity: Severity, rule: str) -> Verdict:
    """A problem of the configuration as one."""
    place = problem.file, problem.line, problem.column
    return Verdict(severity, rule, problem.message, *place, problem.key or None, problem.suggestion)


def severities(written: Iterable[str], rules: Iterable[str]) -> Mapping[str, Severity]:
    """What `--rule NAME=error` says, by rule. Ends the command where it says nothing that there is."""
    known, found = [*rules], {}
    for text in written:
        name, _, word = text.partition("=")
        if name not in known:
            fail_usage(f"portico: --rule {text}: there is no rule {name}; they are {', '.join(sorted(known))}")
        if word not in [*Severity]:
            fail_usage(f"portico: --rule {text}: write {name}=error, {name}=warning or {name}=off")
        found[name] = Severity(word)
    return found


def report(verdicts: Iterable[Verdict], form: Form) -> None:
    """Print them: as text on stderr, else on stdout."""
    if form is Form.JSON:
        typer.echo(json.dumps([_as_data(each) for each in verdicts], indent=2))
        return
    for line in _github(verdicts) if form is Form.GITHUB else ():
        typer.echo(line)
    for each in verdicts if form is Form.TEXT else ():
        mark = f"{each.severity}: " if each.severity is Severity.WARNING or each.rule != INVALID else ""
        rule = f" [{each.rule}]" if each.rule != INVALID else ""
        say(err, f"{mark}{each}{rule}")


def _as_data(each: Verdict) -> dict[str, Any]:
    return {
        "severity": each.severity,
        "rule": each.rule,
        "file": each.file,
        "line": each.line,
        "column": each.column,
        "key": each.key,
        "message": each.message,
        "suggestion": each.suggestion,
    }


def _github(verdicts: Iterable[Verdict]) -> Iterator[str]:
    """Annotations of a workflow of GitHub's: in their values these characters are written in percent."""
    for each in verdicts:
        places = {"file": each.file, "line": each.line, "col": each.column, "title": f"portico {each.rule}"}
        said = ",".join(f"{name}={_escaped(value, ':,')}" for name, value in places.items() if value is not None)
        yield f"::{each.severity} {said}::{_escaped(each.text)}"


def _escaped(value: object, more: str = "") -> str:
    text = str(value)
    for letter in f"%\r\n{more}":
        text = text.replace(letter, f"%{ord(letter):02X}")
    return text
