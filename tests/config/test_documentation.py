"""The documentation leaves nothing out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from portico.config import json_schema
from portico.config.environment import DEFAULTS, OVERRIDES, POLICY_DEFAULTS
from portico.core.errors import REASONS
from portico.observe.access_log import AccessRecord

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
REFERENCE = "\n".join(page.read_text(encoding="utf-8") for page in sorted(DOCS.rglob("*.md")))
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


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


def test_every_key_is_documented() -> None:
    assert property_names(json_schema()) - words_in_code() == set()


@pytest.mark.parametrize(("reason", "status"), [*REASONS.items()])
def test_every_reason_is_documented_with_its_status(reason: str, status: int) -> None:
    assert rows((DOCS / "reference" / "reasons.md").read_text(encoding="utf-8"))[reason][0] == str(status)


def test_every_variable_is_documented() -> None:
    assert {*OVERRIDES, *DEFAULTS, *POLICY_DEFAULTS, "PORTICO_CONFIG"} - words_in_code() == set()


def test_every_field_of_the_access_log_is_documented() -> None:
    assert set(AccessRecord.__struct_fields__) - words_in_code() == set()
