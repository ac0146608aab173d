"""What `--help` shows: every command, in a group, with what it does and how it is typed."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from portico.cli.main import app

ROOT: Any = get_command(app)


def commands(command: Any = ROOT, *words: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with what is typed for it, groups too."""
    yield words, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, *words, name)


ALL = [*commands()]


@pytest.mark.parametrize(("words", "command"), ALL, ids=[" ".join(words) or "portico" for words, _ in ALL])
def test_each_command_has_help(words: tuple[str, ...], command: Any) -> None:
    shown = CliRunner().invoke(app, [*words, "-h"])
    assert shown.exit_code == 0
    assert command.help
    assert command.help.split()[0] in shown.output
    for parameter in command.params:
        assert parameter.help, f"{parameter.name} says nothing"


def test_each_command_stands_in_a_group() -> None:
    panels = [command.rich_help_panel for words, command in ALL if len(words) == 1]
    assert all(isinstance(panel, str) for panel in panels)


@pytest.mark.parametrize(
    "example",
    [line for _, command in ALL for line in (command.epilog or "").splitlines() if line.startswith("portico ")],
)
def test_examples_can_be_typed(example: str) -> None:
    _, *typed = shlex.split(example.partition(" > ")[0])
    command, context = ROOT, None
    while typed and typed[0] in getattr(command, "commands", {}):
        command = command.commands[typed.pop(0)]
    with command.make_context("example", typed, parent=context, resilient_parsing=False) as made:
        assert not made.args
