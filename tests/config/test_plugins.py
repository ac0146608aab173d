"""Users' policies that a file names: what is wrong with them is told with its place, as anything else is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from portico.config import check_plugins, load_text

POLICY = """
import functools

from pydantic import SecretStr

from portico.plugin import Policy, Settings, answer

class Block(Policy):
    class Settings(Settings):
        oldest: int
        words: list[str] = []
        key: SecretStr = SecretStr("")

    def finished(self, exchange):
        pass

class Allow(Policy):
    def finished(self, exchange):
        pass

class Late(Policy):
    async def response(self, exchange, head):
        pass

class Odd(Policy):
    Settings = dict

class Picky(Policy):
    class Settings(Settings):
        def model_post_init(self, context):
            raise LookupError("nothing pleases it")

    def finished(self, exchange):
        pass

class Misspelt(Policy):
    def on_request(self, exchange):
        pass

class Forgets(Policy):
    def response(self, exchange):
        pass

class Asks(Policy):
    def __init__(self, settings):
        pass

    @staticmethod
    def finished(exchange):
        pass

def with_stock(hook):
    @functools.wraps(hook)
    def call(self, exchange):
        return hook(self, exchange, {})
    return call

class Given(Policy):
    @with_stock
    def finished(self, exchange, stock):
        pass

class Static(Policy):
    @staticmethod
    def finished(exchange):
        pass

helper = answer
"""

USE = "3:11: policies.plugins[0].use: "
Problems = Callable[[str], list[str]]

CLASSES = "Block, Allow, Late, Odd, Picky, Misspelt, Forgets, Asks, Given, Static"


@pytest.fixture
def problems(tmp_path: Path) -> Problems:
    """What is wrong with the entries of a list, which begins in line 3, in column 5."""
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "block.py").write_text(POLICY)
    (tmp_path / "policies" / "raises.py").write_text("import json\n\njson.loads('')\n")
    (tmp_path / "policies" / "typo.py").write_text("x = (\n")
    (tmp_path / "policies" / "old.block.py").write_text(POLICY)
    (tmp_path / "policies" / "leaves.py").write_text("raise SystemExit(3)\n")

    def find(entry: str) -> list[str]:
        text = f"services: {{a: {{url: http://h}}}}\npolicies: {{plugins: [\n    {dedent(entry)}]}}\n"
        config = load_text(text, str(tmp_path / "portico.yaml"), {})
        return [line.removeprefix(f"{tmp_path}/portico.yaml:") for line in check_plugins(config)[0]]

    return find


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("{use: './policies/block.py:Allow'}", None),
        ("{use: 'policies/block.py:Allow'}", None),
        ("{use: './policies/block.py:Block', with: {oldest: '7'}}", None),
        (
            "{use: './policies/block.py:Block', with: {oldst: 1, oldest: 2}}",
            '3:47: policies.plugins[0].with.oldst: unknown key; did you mean "oldest"?',
        ),
        (
            "{use: './policies/block.py:Block', with: {oldest: 1, words: [a, 2]}}",
            "3:69: policies.plugins[0].with.words[1]: expected text; put it into quotes",
        ),
        (
            "{use: './policies/block.py:Block', with: {}}",
            '3:40: policies.plugins[0].with: the key "oldest" has to be written',
        ),
        ("{use: './policies/block.py:Block'}", '3:5: policies.plugins[0].with: the key "oldest" has to be written'),
        (
            "{use: './policies/block.py:Blok'}",
            f'{USE}./policies/block.py has no class Blok; it has {CLASSES}; did you mean "./policies/block.py:Block"?',
        ),
        (
            "{use: './policies/blok.py:Block'}",
            f'{USE}there is no file policies/blok.py; did you mean "./policies/block.py:Block"?',
        ),
        (
            "{use: './policies/block.py'}",
            f"{USE}name the class, too: ./policies/block.py:Class",
        ),
        (
            "{use: './policies/block.py:helper'}",
            f"{USE}helper is no policy: derive it from portico.plugin.Policy; it has {CLASSES}",
        ),
        (
            "{use: './policies/block.py:Late'}",
            f"{USE}Late.response is async, which only request(), open() and close() may be",
        ),
        (
            "{use: './policies/block.py:Misspelt'}",
            f"{USE}Misspelt has no hook: define one of request, response, body and finished, by exactly this name",
        ),
        (
            "{use: './policies/block.py:Forgets'}",
            f"{USE}Forgets.response is called as response(exchange, head), which it does not take",
        ),
        (
            "{use: './policies/block.py:Asks'}",
            f"{USE}Asks() is made without arguments: settings and context are there from open() on",
        ),
        ("{use: './policies/block.py:Given'}", None),
        ("{use: './policies/block.py:Static'}", None),
        (
            "{use: './policies/block.py:Odd'}",
            f"{USE}Odd.Settings has to be a class that is derived from portico.Settings",
        ),
        (
            "{use: './policies/block.py:Picky'}",
            "3:5: policies.plugins[0].with: Picky.Settings failed: LookupError: nothing pleases it",
        ),
        (
            "{use: './policies/raises.py:Block'}",
            f"{USE}./policies/raises.py cannot be imported: JSONDecodeError: "
            "Expecting value: line 1 column 1 (char 0) (raises.py, line 3)",
        ),
        (
            "{use: './policies/typo.py:Block'}",
            f"{USE}./policies/typo.py cannot be imported: SyntaxError: '(' was never closed (typo.py, line 1)",
        ),
        (
            "{use: './policies/old.block.py:Block'}",
            f"{USE}./policies/old.block.py cannot be imported: a module has no dot in its name; call it old_block.py",
        ),
        (
            "{use: './policies/leaves.py:Block'}",
            f"{USE}./policies/leaves.py cannot be imported: SystemExit: 3 (leaves.py, line 1)",
        ),
        (
            "{use: 'no_such_package.policies:Block'}",
            f"{USE}there is no module no_such_package: install it where the gateway runs, "
            "or name a file beside the configuration, ./no_such_package/policies.py:Block",
        ),
        (
            "{use: 'portico.nothing:Block'}",
            f"{USE}portico has no module portico.nothing",
        ),
        (
            "{use: 'a b:Block'}",
            f"{USE}expected package.module:Class, ./file.py:Class or the name of an entry point",
        ),
        (
            "{use: nothing}",
            f"{USE}there is no entry point nothing in the group portico.policies; "
            "no package that is installed here has one. A class is named as package.module:Class or ./file.py:Class",
        ),
    ],
)
def test_what_is_wrong_is_told_where_it_is_written(
    problems: Problems, tmp_path: Path, entry: str, expected: str | None
) -> None:
    found = [line.replace(f"{tmp_path}/", "") for line in problems(entry)]
    assert found == ([] if expected is None else [expected])


def test_secrets_are_in_no_message(problems: Problems) -> None:
    (line,) = problems("{use: './policies/block.py:Block', with: {oldest: hunter2, key: hunter3}}")
    assert line == "3:55: policies.plugins[0].with.oldest: expected a whole number"


def test_every_level_is_looked_at_once(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(POLICY)
    wrong = "{plugins: [{use: './own.py:Block', with: {oldest: x}}]}"
    text = f"""\
    policies: {wrong}
    services:
      a: {{url: http://h, policies: {wrong}, versions: {{v1: {{policies: {wrong}}}}}}}
      b: {{url: http://h, policies: {{plugins: false}}}}
    routes: [{{path: /r, service: b, policies: {wrong}}}]
    discover: {{source: admin, service: {{policies: {wrong}}}}}
    """
    config = load_text(dedent(text), str(tmp_path / "portico.yaml"), {})
    assert [line.split(": ")[1] for line in check_plugins(config)[0]] == [
        f"{level}policies.plugins[0].with.oldest"
        for level in ("", "services.a.", "services.a.versions.v1.", "routes[0].", "discover.service.")
    ]


def test_lists_replace_those_of_the_levels_above(tmp_path: Path) -> None:
    text = """\
    policies: {plugins: [{use: 'a:A'}, {use: 'a:A'}]}
    services:
      a: {url: http://h}
      b: {url: http://h, policies: {plugins: [{use: 'b:B', before: auth}]}}
      c: {url: http://h, policies: {plugins: false}}
      d: {url: http://h, policies: {plugins: true}}
      e: {url: http://h, policies: {plugins: []}}
    """
    config = load_text(dedent(text), str(tmp_path / "portico.yaml"), {})
    uses = {
        route.name: ([each.use for each in route.policies["plugins"][0]], route.policies["plugins"][1])
        for route in config.all_routes
        if "plugins" in route.policies
    }
    assert uses == {
        "a": (["a:A", "a:A"], "gateway"),
        "b": (["b:B"], "service:b"),
        "d": (["a:A", "a:A"], "service:d"),
    }
    assert set(config.plugins) == {"gateway", "service:b", "service:d"}
