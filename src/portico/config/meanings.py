"""What keys mean: a text below a field of a section is its description, read from the source when it is asked for.

Pydantic can do the same while it makes a class, which would cost every start of a process.
"""

from __future__ import annotations

import ast
import inspect
import sys
from functools import cache
from itertools import pairwise

from pydantic import BaseModel, WithJsonSchema
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema


def meanings(section: type[BaseModel]) -> dict[str, str]:
    """The texts below its fields, in one line each, by the fields' names; those of bases too."""
    found: dict[str, str] = {}
    for kind in reversed(section.__mro__):
        if issubclass(kind, BaseModel) and kind is not BaseModel:
            found.update(_written_in(kind))
    return found


def _written_in(kind: type[BaseModel]) -> dict[str, str]:
    body = _classes(kind.__module__).get(kind.__name__, [])
    return {
        field.target.id: " ".join(text.value.value.split())
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


@cache
def _classes(module: str) -> dict[str, list[ast.stmt]]:
    """The bodies of the classes of a module; none where it is installed without its source."""
    try:
        source = inspect.getsource(sys.modules[module])
    except (OSError, TypeError):
        return {}
    return {each.name: each.body for each in ast.parse(source).body if isinstance(each, ast.ClassDef)}


class DescribedSchema(GenerateJsonSchema):
    """A schema in which every key has its meaning as `description`, and durations and sizes have their bounds."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """That of one section."""
        made = super().model_schema(schema)
        section = schema["cls"]
        texts = meanings(section)
        for name, field in section.model_fields.items():
            described = made["properties"][field.alias or name]
            described.update(_bounds(field))
            if name in texts:
                described["description"] = texts[name]
        return made


def _bounds(field: FieldInfo) -> dict[str, float]:
    """Those that a field of a type with a schema of its own adds, in seconds or bytes: they hold for numbers."""
    own: dict[str, float] = {}
    has_schema = False
    for mark in field.metadata:
        if isinstance(mark, WithJsonSchema):
            own, has_schema = {}, True
        for word, bound in (("minimum", getattr(mark, "ge", None)), ("maximum", getattr(mark, "le", None))):
            if bound is not None:
                own[word] = bound
    return own if has_schema else {}
