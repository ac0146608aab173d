"""The documentation shows configurations that load, and leaves nothing out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from portico.config import Config, json_schema, load_text
from portico.config.environment import DEFAULTS, OVERRIDES, POLICY_DEFAULTS
from portico.core.errors import REASONS
from portico.observe.access_log import AccessRecord

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
REFERENCE = "\n".join(page.read_text(encoding="utf-8") for page in sorted(DOCS.rglob("*.md")))
ENVIRON = {
    "SECRET_KEY": "0123456789abcdef0123456789abcdef",
    "IDENTITY_KEYS": "fedcba9876543210fedcba9876543210",
    "INTROSPECTION_SECRET": "what the issuer gave the gateway",
}

PAGES = (
    "README.md",
    *(
        f"docs/{page}.md"
        for page in (
            *("access", "balancing", "canary", "compression", "configuration", "errors", "failover", "forward-auth"),
            *("health", "keys", "listeners", "mirror", "overload", "routing", "services", "sign-in", "split", "tls"),
            *("tokens", "transform", "watching"),
        )
    ),
)

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def examples() -> Iterator[Any]:
    """Every yaml block, named by its file and line."""
    for name in PAGES:
        text = (ROOT / name).read_text(encoding="utf-8")
        for block in _BLOCK.finditer(text):
            if block[1] == "yaml":
                yield pytest.param(block[2], id=f"{name}:{text.count(chr(10), 0, block.start()) + 1}")


def property_names(schema: Any) -> set[str]:
    """The keys of all sections in a schema, however deep."""
    if isinstance(schema, list):
        return set().union(*map(property_names, schema))
    if not isinstance(schema, dict):
        return set()
    inner = set().union(*map(property_names, schema.values()))
    properties = schema.get("properties")
    return inner | set(properties) if isinstance(properties, dict) else inner


def words_in_code() -> set[str]:
    """The words that the reference writes as code within its sentences and tables; its examples do not count."""
    prose = _BLOCK.sub("", REFERENCE)
    return {word for span in re.findall(r"`([^`\n]+)`", prose) for word in re.findall(r"\w+", span)}


def rows(text: str) -> dict[str, list[str]]:
    """Every table row by the words of its first cell, as its other cells."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("| `"):
            first, *others = (cell.strip() for cell in line.strip("|").split(" | "))
            for word in re.findall(r"`(\w+)`", first):
                found.setdefault(word, others)
    return found


@pytest.mark.parametrize("text", [*examples()])
def test_an_example_is_a_whole_configuration(text: str) -> None:
    config = load_text(text, "example.yaml", ENVIRON)
    assert isinstance(config, Config)
    assert config.all_routes


def test_there_are_examples_in_each_file() -> None:
    names = {str(example.id).partition(":")[0] for example in examples()}
    assert names == {*PAGES}


def test_every_key_is_documented() -> None:
    assert property_names(json_schema()) - words_in_code() == set()


@pytest.mark.parametrize(("reason", "status"), [*REASONS.items()])
def test_every_reason_is_documented_with_its_status(reason: str, status: int) -> None:
    assert rows((DOCS / "reference" / "reasons.md").read_text(encoding="utf-8"))[reason][0] == str(status)


def test_every_variable_is_documented() -> None:
    assert {*OVERRIDES, *DEFAULTS, *POLICY_DEFAULTS, "PORTICO_CONFIG"} - words_in_code() == set()


def test_every_field_of_the_access_log_is_documented() -> None:
    assert set(AccessRecord.__struct_fields__) - words_in_code() == set()
