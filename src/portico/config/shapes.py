"""Inspecting types instead of values: which keys a section may have, and which values are secret."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from types import UnionType
from typing import Annotated, Any, TypeGuard, Union, get_args, get_origin

from pydantic import BaseModel, Secret, SecretStr
from pydantic.fields import FieldInfo

from portico.config.problems import KeyPath


def is_section(kind: Any) -> TypeGuard[type[BaseModel]]:
    """Whether a type is a section of keys and values, rather than text, a number or a list."""
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def alternatives(annotation: Any) -> Iterator[Any]:
    """The plain types that make up a union, without what Annotated adds."""
    if get_origin(annotation) is Annotated:
        yield from alternatives(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, UnionType):
        for member in get_args(annotation):
            yield from alternatives(member)
    else:
        yield annotation


def fields_of(section: type[BaseModel]) -> dict[str, FieldInfo]:
    """Its fields by the keys that are written."""
    return {field.alias or name: field for name, field in section.model_fields.items()}


def step(annotation: Any, part: str | int) -> Iterator[Any]:
    """The types of the value at key or index `part` of a value of type `annotation`."""
    for kind in alternatives(annotation):
        if is_section(kind):
            field = fields_of(kind).get(part) if isinstance(part, str) else None
            if field is not None:
                yield field.annotation
        elif get_origin(kind) is dict and isinstance(part, str):
            yield get_args(kind)[1]
        elif get_origin(kind) in (list, tuple) and isinstance(part, int):
            yield get_args(kind)[0]


def keys_at(annotation: Any, path: KeyPath) -> set[str]:
    """The keys that may be written in the section at `path`."""
    kinds = [annotation]
    for part in path:
        kinds = [found for kind in kinds for found in step(kind, part)]
    sections = [section for kind in kinds for section in alternatives(kind)]
    return {key for section in sections if is_section(section) for key in fields_of(section)}


def hide_secrets(annotation: Any, value: Any) -> Any:
    """Plain data with secrets as SecretStr, an empty one counts as not written, or as Secret."""
    if not _has_secrets(annotation):
        return value
    if isinstance(value, dict):
        hidden = {key: _hide_at(annotation, key, item) for key, item in value.items()}
        return {key: item for key, item in hidden.items() if item is not None or not _is_secret(annotation, key)}
    if isinstance(value, list):
        return [_hide_at(annotation, index, item) for index, item in enumerate(value)]
    return value


@cache
def _has_secrets(annotation: Any) -> bool:
    for kind in alternatives(annotation):
        inner = [field.annotation for field in kind.model_fields.values()] if is_section(kind) else get_args(kind)
        if kind is SecretStr or get_origin(kind) is Secret or any(map(_has_secrets, inner)):
            return True
    return False


def _is_secret(annotation: Any, part: str | int) -> bool:
    return any(SecretStr in alternatives(kind) for kind in step(annotation, part))


def _hide_at(annotation: Any, part: str | int, value: Any) -> Any:
    if isinstance(value, str) and _is_secret(annotation, part):
        return SecretStr(value) if value else None
    for kind in step(annotation, part):
        if get_origin(kind) is Secret and isinstance(value, dict):
            return Secret(value)
        value = hide_secrets(kind, value)
    return value
