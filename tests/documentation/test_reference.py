"""The reference leaves nothing out, and says what the code says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import portico
from portico.config.environment import DEFAULTS, OVERRIDES, POLICY_DEFAULTS
from portico.config.schema import json_schema, plain_schema
from portico.core.errors import REASONS
from portico.observe.access_log import AccessRecord

from .configuration import MORE, Reference
from .reference import PAGES
from .stage import ROOT

REFERENCE = ROOT / "docs" / "reference"
SCHEMA = plain_schema()


def read(page: str) -> str:
    return (REFERENCE / page).read_text(encoding="utf-8")


def rows(text: str) -> dict[str, list[str]]:
    """Every table row by the words of its first cell, as its other cells."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("| `"):
            first, *others = (cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|")))
            for word in re.findall(r"`(\w+)`", first):
                found.setdefault(word, others)
    return found


@pytest.mark.parametrize("page", PAGES)
def test_what_is_written_from_the_code_is_up_to_date(page: str) -> None:
    assert (ROOT / page).read_text(encoding="utf-8") == PAGES[page](), "make docs writes it"


def test_every_key_has_a_meaning_in_one_line() -> None:
    sections = {"the file": SCHEMA, **SCHEMA["$defs"]}
    without = [
        f"{name}.{key}: write what it means in a text below the field"
        for name, section in sections.items()
        for key, value in section.get("properties", {}).items()
        if not re.fullmatch(r"[^\n]{3,}[.!]", value.get("description") or "")
    ]
    assert without == []


def test_editors_get_the_meanings_too() -> None:
    assert "one per core" in json_schema()["$defs"]["GatewaySettings"]["properties"]["workers"]["description"]


def test_no_key_is_described_twice() -> None:
    """Tables of keys are in the reference alone."""
    tables = [
        f"{page.name}: {line}"
        for page in (ROOT / "docs").glob("*.md")
        for line in page.read_text(encoding="utf-8").splitlines()
        if line.startswith("| key |") and "default" in line
    ]
    assert tables == []


def test_pages_that_show_more_are_for_sections_that_there_are() -> None:
    assert {*MORE} - {*Reference().paths()} == set()


@pytest.mark.parametrize(
    ("value", "described"),
    [
        ("gateway.workers", "| whole number, 1 to 256, `auto` | `1` |"),
        ("gateway.redis_timeout", "| duration, 1ms to 1s | `20ms` |"),
        ("gateway.limits.header_size", "| size, 1KiB to 1MiB | `32KiB` |"),
        ("gateway.listen.port", "| whole number, 0 to 65535 | required |"),
        ("services.NAME.health_check.expect", "| whole number, text, list of whole number, text | `[200-299]` |"),
        ("policies.auth.name_encoding", "| `percent`, `rfc8187` | `percent` |"),
    ],
)
def test_a_key_is_described_by_its_type_and_default(value: str, described: str) -> None:
    path, _, key = value.rpartition(".")
    section = read("configuration.md").partition(f"\n## {path}\n")[2].partition("\n## ")[0]
    assert f"| `{key}` {described}" in section


@pytest.mark.parametrize(("reason", "status"), [*REASONS.items()])
def test_every_reason_has_its_status(reason: str, status: int) -> None:
    assert rows(read("reasons.md"))[reason][0] == str(status)


def test_no_other_reason_is_listed() -> None:
    assert {*rows(read("reasons.md"))} == {*REASONS}


def test_every_variable_is_listed() -> None:
    assert {*rows(read("environment.md"))} == {*OVERRIDES, *DEFAULTS, *POLICY_DEFAULTS, "PORTICO_CONFIG"}


def test_every_field_of_the_access_log_is_listed() -> None:
    assert {*rows(read("log.md"))} == {*AccessRecord.__struct_fields__}


def test_every_metric_has_its_labels() -> None:
    listed = {name.removesuffix("_total"): re.findall(r"`(\w+)`", cells[0]) for name, cells in METRICS.items()}
    in_code = dict(metrics_in_code())
    assert {*listed} == {*in_code}
    assert {name: labels for name, labels in in_code.items() if labels is not None and labels != listed[name]} == {}


METRICS = {name: cells for name, cells in rows(read("metrics.md")).items() if name.startswith("gateway_")}
_LABELS = {"_counter": ["service"], "_sum": [], "_gauge": []}


def metrics_in_code() -> Iterator[tuple[str, list[str] | None]]:
    """The names of all families without `_total`, and their labels; None where these are not written in the call."""
    for file in Path(portico.__file__).parent.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        tree = ast.parse(text if '"gateway_' in text else "")
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            maker = getattr(call.func, "id", getattr(call.func, "attr", ""))
            if call.args and (maker.endswith("MetricFamily") or maker in {*_LABELS, "own_counter"}):
                for name in names_in(call.args[0]):
                    yield name, _LABELS.get(maker, labels_of(call))


def names_in(argument: ast.expr) -> list[str]:
    if isinstance(argument, ast.Constant) and str(argument.value).startswith("gateway_"):
        return [str(argument.value)]
    if isinstance(argument, ast.JoinedStr) and isinstance(argument.values[0], ast.Constant):
        beginning = str(argument.values[0].value)
        return [name.removesuffix("_total") for name in METRICS if beginning and name.startswith(beginning)]
    return []


def labels_of(call: ast.Call) -> list[str] | None:
    written: Any = next((word.value for word in call.keywords if word.arg == "labels"), [*call.args, None][2:3])
    written = written[0] if isinstance(written, list) and written else written
    if not written:
        return []
    return [str(ast.literal_eval(each)) for each in written.elts] if hasattr(written, "elts") else None
