"""No key is dropped silently: what is written is in a target's table of rendered keys, or it is listed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest

from portico.config import json_schema
from portico.config.problems import KeyPath
from portico.render.envoy.keys import TABLE as ENVOY
from portico.render.haproxy.keys import TABLE as HAPROXY
from portico.render.nginx.keys import TABLE as NGINX
from portico.render.written import RENDERED, UNKNOWN, shape_of, unsaid

SCHEMA: Final = json_schema()
DEPTH: Final = 9
TABLES: Final = {"nginx": NGINX, "haproxy": HAPROXY, "envoy": ENVOY}
each_table: Final = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)


def keys(schema: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    """Every key of the configuration, with NAME for names and 0 for indexes; what contains itself is not followed."""
    schema = resolved(schema)
    for each in (
        schema,
        *map(resolved, (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ()))),
    ):
        for key, part in each.get("properties", {}).items():
            yield (*path, key)
            if len(path) < DEPTH:
                yield from keys(part, (*path, key))
        for part in (each.get("additionalProperties"), *each.get("patternProperties", {}).values()):
            if isinstance(part, dict) and len(path) < DEPTH:
                yield from keys(part, (*path, "NAME"))
        if isinstance(each.get("items"), dict) and len(path) < DEPTH:
            yield from keys(each["items"], (*path, 0))


def resolved(schema: Any) -> Any:
    while "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    return schema


ALL: Final = sorted({*keys(SCHEMA)}, key=str)
SHAPES: Final = {shape_of(path) for path in ALL}


def tree_of(path: KeyPath, value: Any) -> Any:
    """A configuration in which only this is written."""
    for part in reversed(path):
        value = {part: value} if isinstance(part, str) else [value]
    return value


def test_the_model_has_many_keys() -> None:
    assert len(SHAPES) > 300


@each_table
def test_each_key_is_rendered_or_listed(table: Mapping[str, str]) -> None:
    for path in ALL:
        listed = [*unsaid(tree_of(path, "x"), table)]
        shape = shape_of(path)
        above = [
            shape[: at if at >= 0 else None] for at in [i for i, letter in enumerate(shape) if letter == "."] + [-1]
        ]
        is_rendered = any(table.get(each) == RENDERED for each in above)
        is_short = any(each.startswith(f"{shape}.") for each in table)
        assert listed or is_rendered or is_short, path


@each_table
def test_the_table_names_keys_that_there_are(table: Mapping[str, str]) -> None:
    assert {shape for shape in table if shape not in SHAPES} == set()


@pytest.mark.parametrize(
    "path",
    [
        ("services", "a", "new"),
        ("services", "a", "versions", "v1", "new"),
        ("routes", 0, "new"),
        ("routes", 0, "policies", "cors", "new"),
        ("gateway", "listen", 0, "new"),
        ("gateway", "limits", "new"),
        ("policies", "new"),
        ("new",),
    ],
)
@pytest.mark.parametrize("value", [True, False, 0, "x", [], {}, {"x": 1}])
def test_a_key_of_which_nobody_has_thought_is_listed(path: KeyPath, value: Any) -> None:
    ((listed, why),) = unsaid(tree_of(path, value), NGINX)
    assert listed[: len(path)] == path
    assert why == UNKNOWN


def test_what_is_off_anyway_is_not_listed() -> None:
    assert [*unsaid({"services": {"a": {"health_check": False, "sticky": False}}}, NGINX)] == []
