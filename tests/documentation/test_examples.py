"""Every example of the documentation is what it says: configurations load, Python runs, JSON parses."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from typer.main import get_command

from portico.cli.main import app
from portico.config import Config, ConfigError, load_text

from .examples import LANGUAGES, PLAYED_ELSEWHERE, REASONS, Example, examples, pages, summary
from .markdown import blocks
from .stage import ROOT

ENVIRON = {
    "SECRET_KEY": "0123456789abcdef0123456789abcdef",
    "IDENTITY_KEYS": "fedcba9876543210fedcba9876543210",
    "INTROSPECTION_SECRET": "what the issuer gave the gateway",
}
COMMANDS: Any = get_command(app)
_COMMAND = re.compile(r"(?:^|[\s`($;&|])portico ([a-z][a-z-]*)((?: +[a-zA-Z0-9-][^`\s;&|#)]*)*)", re.MULTILINE)
_OPTION = re.compile(r"(--[a-z-]+|-[a-z])\b")


def of(language: str) -> Iterator[Any]:
    for example in examples(language):
        yield pytest.param(example, id=example.where)


def whole(text: str) -> str:
    """A configuration; one that shows policies alone gets a service."""
    written = yaml.safe_load(text)
    has_services = isinstance(written, dict) and {"services", "include"} & {*written}
    return text if has_services else f"services: {{shop: {{url: 'http://localhost:8001'}}}}\n{text}"


@pytest.mark.parametrize("example", [*of("yaml")])
def test_a_configuration_loads(example: Example) -> None:
    text, note = example.block.text, example.block.note
    if note.partition(" ")[0] == "other":
        assert [*yaml.safe_load_all(text)]
    elif note == "wrong":
        with pytest.raises(ConfigError):
            load_text(whole(text), "example.yaml", ENVIRON)
    elif not example.reason:
        config = load_text(whole(text), "example.yaml", ENVIRON)
        assert isinstance(config, Config)
        assert config.all_routes


@pytest.mark.parametrize("page", [page for page in pages() if any(each.page == page for each in examples("python"))])
def test_python_runs(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each page from its top to its bottom, as one module."""
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    names: dict[str, Any] = {"__name__": "page"}
    for example in examples("python"):
        if example.page == page:
            code = compile(example.block.text, example.where, "exec", dont_inherit=True)
            if not example.reason:
                exec(code, names)
    assert len(names) > 1 or all(each.reason for each in examples("python") if each.page == page)


@pytest.mark.parametrize("example", [*of("json"), *of("toml")])
def test_data_parses(example: Example) -> None:
    read = json.loads if example.block.language == "json" else tomllib.loads
    assert read(example.block.text)


@pytest.mark.parametrize("page", pages())
def test_every_command_is_there(page: str) -> None:
    """Also in sentences, and in examples that are not run."""
    text = (ROOT / page).read_text(encoding="utf-8")
    assert [found for name, rest in _COMMAND.findall(in_code(text)) if (found := unknown(name, rest))] == []


def in_code(text: str) -> str:
    """What a page has as code: its blocks of commands, and what stands between backticks."""
    shown = [block.text for block in blocks(text) if block.language == "sh"]
    entered = re.findall(r"^\$ (.+)$", text, re.MULTILINE)
    return "\n".join(
        [*shown, *entered, *re.findall(r"`[^`\n]+`", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))]
    )


def unknown(name: str, rest: str) -> str:
    """What is wrong with a command, or nothing."""
    command = COMMANDS
    for word in [name, *rest.split()]:
        if hasattr(command, "commands"):
            if word.startswith(("-", "[")) or word.isupper():
                break
            if word not in command.commands:
                return f"portico {name}{rest}"
            command = command.commands[word]
    options = {each for parameter in command.params for each in [*parameter.opts, *parameter.secondary_opts]}
    return " ".join(each for each in _OPTION.findall(rest) if each not in {*options, "--help", "--version"})


def test_what_is_not_run_says_why() -> None:
    skipped = [each for language in LANGUAGES for each in examples(language) if each.reason]
    assert {each.reason for each in skipped} <= {*REASONS}
    assert {each.page for each in skipped if each.reason == "elsewhere"} == {*PLAYED_ELSEWHERE}
    assert all((ROOT / "tests" / test).is_file() for test in PLAYED_ELSEWHERE.values())


def test_every_note_means_something() -> None:
    notes = {block.note for page in pages() for block in blocks((ROOT / page).read_text(encoding="utf-8"))}
    known = {"", "terminal", "wrong", "other", *(f"not run: {reason}" for reason in REASONS)}
    assert {note for note in notes - known if not re.fullmatch(r"(?:file|other) [\w./-]+", note)} == set()
    every = [comment for page in pages() for comment in re.findall("<!-- example", (ROOT / page).read_text())]
    assert len(every) == sum(
        bool(block.note) for page in pages() for block in blocks((ROOT / page).read_text(encoding="utf-8"))
    ), "a comment stands right before its block"


@pytest.mark.parametrize("page", pages())
def test_no_example_is_overlooked(page: str) -> None:
    """Fences begin a line, and a language has one name."""
    text = (ROOT / page).read_text(encoding="utf-8")
    assert re.findall(r"^ +(?:```|~~~).*|^~~~.*|^```(?:bash|shell|console|zsh|yml|py)\b", text, re.MULTILINE) == []
    assert len(blocks(text)) * 2 == len(re.findall(r"^```", text, re.MULTILINE))


def test_their_number_is_told() -> None:
    assert re.fullmatch(r"examples that tests play: \d+ of yaml, .*; \d+ say why not", summary())
